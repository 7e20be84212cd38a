"""The attention that the last prompt token pays, read where the model computes it.

Works under every attention kernel: queries and keys are taken after rotation, as the model made them, so nothing needs
the whole T x T matrix. The tap stands in transformers' registry of attention functions while it is open, and
passes every other module's calls on untouched.
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
    """While open, `row` [B, T] holds the last token's softmax attention in `module`, mean over heads, in float32.

    `valid` [B, T] marks real tokens and must be set before the prefill; decoding steps are not looked at. `seconds` is
    what the looking took, for it is part of choosing.
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
        """Eager attention returns its weights [B, heads, queries, T] anyway."""
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
        """`query` [B, heads, D], `key` [B, key heads, T, D] -> [B, T]."""
        grouped = query.float().unflatten(1, (key.shape[1], -1))
        scale = query.shape[-1] ** -0.5 if scaling is None else scaling
        scores = torch.einsum("bkgd,bktd->bkgt", grouped, key.float()) * scale
        if self.valid is not None:
            scores = scores.masked_fill(~self.valid[:, None, None], -torch.inf)
        return scores.softmax(dim=-1).mean(dim=(1, 2))
