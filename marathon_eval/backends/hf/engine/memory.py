"""Memory that does not suffice: what says so, how it is given back, and how many tokens fit into what is free."""

from __future__ import annotations

import gc

import torch

from marathon_eval.backends.hf.batching import CPU_TOKENS, FREE_SHARE

#: How PyTorch words it where the exception's type does not say it: the CPU's allocator, cuBLAS, a driver's call.
SAID = (
    "not enough memory",
    "can't allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "ALLOC_FAILED",
)


def out_of_memory(error: BaseException) -> bool:
    """Whether this error means that less at once might have fitted."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in SAID)


def give_back() -> None:
    """Free what nothing refers to any more, PyTorch's reserve on the GPU included."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def free_gpu_bytes(device: torch.device) -> int:
    """Bytes that the next batch could have: what the GPU has free, and what PyTorch holds in reserve."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def tokens_to_start_with(device: torch.device) -> int | None:
    """The budget of `auto` before anything was asked; None on a GPU, where the first request shows what a token takes."""
    return None if device.type == "cuda" else CPU_TOKENS


def affordable_tokens(device: torch.device, tokens: int, peak_bytes: int | None) -> int:
    """How many padded tokens fit, by a batch of `tokens` that took `peak_bytes` above the weights.

    Attention's share grows faster than its tokens, so that what the longest request took per token is an upper bound
    for shorter ones beside each other.
    """
    if not peak_bytes:
        return CPU_TOKENS
    return int(FREE_SHARE * free_gpu_bytes(device) * tokens / peak_bytes)
