"""Reads the attention of the last prompt token while the model runs, under every attention kernel.

The tap takes the rotated queries and keys that the model computed, so no T x T matrix is needed. While open, it
replaces the kernel in transformers' registry of attention functions; calls of other modules pass through unchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from marathon_eval.backends.hf.engine.prompt_pass import synced


@dataclass
class LastTokenAttention(AbstractContextManager["LastTokenAttention"]):
    """Stores the last prompt token's softmax attention in `module` as `row` [B, T]: mean over heads, in float32.

    `valid` [B, T] marks real tokens and must be set before the prefill; decoding steps are not read. `seconds` is the
    time that reading took, which counts as the press's time.
    """

    module: torch.nn.Module
    config: Any
    valid: Tensor | None = None
    row: Tensor | None = None
    seconds: float = 0.0
    _undo: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        kernel = self.config._attn_implementation
        if kernel == "eager":
            handle = self.module.register_forward_hook(self._from_weights)
            self._undo.callback(handle.remove)
        else:
            original = ALL_ATTENTION_FUNCTIONS[kernel]
            ALL_ATTENTION_FUNCTIONS[kernel] = self._wrapped(original)
            self._undo.callback(ALL_ATTENTION_FUNCTIONS.__setitem__, kernel, original)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()
        self.valid = self.row = None
        self.seconds = 0.0

    def _from_weights(self, module: Any, args: Any, output: tuple[Any, ...]) -> None:
        """Read the weights [B, heads, queries, T] that eager attention returns."""
        if output[1].shape[2] > 1:
            started = synced(output[1])
            self.row = output[1][:, :, -1].float().mean(dim=1)
            self.seconds = synced(self.row) - started

    def _wrapped(self, original: Callable[..., Any]) -> Callable[..., Any]:
        def tapped(module: Any, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
            if module is self.module and query.shape[2] > 1:
                started = synced(query)
                self.row = self._attention(query[:, :, -1], key, kwargs.get("scaling"))
                self.seconds = synced(self.row) - started
            return original(module, query, key, *args, **kwargs)

        return tapped

    def _attention(self, query: Tensor, key: Tensor, scaling: float | None) -> Tensor:
        """Compute attention [B, T] from `query` [B, heads, D] and `key` [B, key heads, T, D]."""
        grouped = query.float().unflatten(1, (key.shape[1], -1))
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        scores = torch.einsum("bkgd,bktd->bkgt", grouped, key.float()) * scale
        if self.valid is not None:
            scores = scores.masked_fill(~self.valid[:, None, None], -torch.inf)
        return scores.softmax(dim=-1).mean(dim=(1, 2))
