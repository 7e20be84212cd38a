"""Recognises out-of-memory errors, frees memory, and computes how many tokens fit into the free memory."""

from __future__ import annotations

import gc

import torch

from marathon_eval.backends.hf.batching import CPU_TOKENS, FREE_SHARE

#: Messages of out-of-memory errors without their own exception type: of the CPU allocator, cuBLAS, driver calls.
SAID = (
    "not enough memory",
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
)


def out_of_memory(error: BaseException) -> bool:
    """Return whether the error means that memory ran out, so that a smaller batch might succeed."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)


def give_back() -> None:
    """Free unreferenced memory, including the GPU memory that PyTorch holds in reserve."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_gpu_bytes(device: torch.device) -> int:
    """Return the bytes available to the next batch: free GPU memory plus PyTorch's unused reserve."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def tokens_to_start_with(device: torch.device) -> int | None:
    """Return the first token budget of `auto`; None on a GPU, where the first request measures bytes per token."""
    return None if device.type == "cuda" else CPU_TOKENS


def affordable_tokens(device: torch.device, tokens: int, peak_bytes: int | None) -> int:
    """Return how many padded tokens fit, given that a batch of `tokens` took `peak_bytes` above the weights.

    Attention's memory grows faster than the number of tokens, so the longest request's bytes per token are an upper
    bound for batches of shorter ones.
    """
    if not peak_bytes:
        return CPU_TOKENS
    return int(FREE_SHARE * free_gpu_bytes(device) * tokens / peak_bytes)
