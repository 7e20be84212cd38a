"""Computes flash attention 2 in plain torch, so that transformers' own flash path runs on a CPU.

The two kernels follow the interface of https://github.com/Dao-AILab/flash-attention: half precision only, no mask but a
causal one aligned to the last key and a window, several sequences joined in one row for padded batches.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import marathon_eval.backends.hf.engine  # noqa: F401 - hides a torchvision that would break the next import

from transformers import modeling_flash_attention_utils, modeling_utils  # isort: skip

HALF = (torch.bfloat16, torch.float16)


def attended(
    query: Tensor, key: Tensor, value: Tensor, scale: float | None, causal: bool, window: tuple[int, int]
) -> Tensor:
    """Attend from `query` [T, heads, D] to `key` and `value` [N, key heads, D]; rows that see no key are zero."""
    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = torch.einsum("qhd,khd->hqk", query.float(), key.float())
    scores = scores * (query.shape[-1] ** -0.5 if scale is None else scale)
    old = key.shape[0] - query.shape[0]
    seen = torch.ones(query.shape[0], key.shape[0], dtype=torch.bool)
    seen = seen.tril(old) if causal else seen
    if window[0] >= 0:
        seen = seen.triu(old - window[0])
    scores = scores.masked_fill(~seen, -torch.inf)
    weights = scores.softmax(dim=-1).nan_to_num()
    return torch.einsum("hqk,khd->qhd", weights, value.float()).to(query.dtype)


def flash_attn_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    deterministic: bool = False,
) -> Tensor:
    """Attend in a batch without padding: q [B, T, heads, D]. Raises as the real kernel does."""
    _refuse(q, softcap)
    return torch.stack(
        [attended(*row, softmax_scale, causal, window_size) for row in zip(q, k, v, strict=True)]
    )


def flash_attn_varlen_func(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    cu_seqlens_q: Tensor,
    cu_seqlens_k: Tensor,
    max_seqlen_q: int,
    max_seqlen_k: int,
    dropout_p: float = 0.0,
    softmax_scale: float | None = None,
    causal: bool = False,
    window_size: tuple[int, int] = (-1, -1),
    softcap: float = 0.0,
    deterministic: bool = False,
) -> Tensor:
    """Attend in sequences that are joined in one row: q [all tokens, heads, D]."""
    _refuse(q, softcap)
    asked, known = cu_seqlens_q.tolist(), cu_seqlens_k.tolist()
    if asked[-1] != len(q) or known[-1] != len(k):
        raise RuntimeError(f"sequences end at {asked[-1]} and {known[-1]} of {len(q)} and {len(k)} tokens")
    spans = zip(asked, asked[1:], known, known[1:], strict=False)
    parts = [attended(q[a:b], k[c:d], v[c:d], softmax_scale, causal, window_size) for a, b, c, d in spans]
    return torch.cat(parts)


def _refuse(query: Tensor, softcap: float) -> None:
    if query.dtype not in HALF:
        raise RuntimeError("FlashAttention only support fp16 and bf16 data type")
    if softcap:
        raise RuntimeError("these kernels know no soft cap")


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `attn_implementation=flash_attention_2` run on the CPU with these kernels until `monkeypatch` is undone."""
    utilities = modeling_flash_attention_utils
    process = utilities._lazy_define_process_function(flash_attn_varlen_func)
    kernels = (flash_attn_func, flash_attn_varlen_func, None, utilities._pad_input, utilities._unpad_input)

    def load(*args: Any, **kwargs: Any) -> Any:
        return kernels, (process, dict)

    monkeypatch.setattr(utilities, "lazy_import_flash_attention", load)
    monkeypatch.setattr(modeling_utils, "lazy_import_flash_attention", load)
    monkeypatch.setattr(
        modeling_utils.PreTrainedModel, "_flash_attn_can_dispatch", lambda self, *args, **kwargs: True
    )
