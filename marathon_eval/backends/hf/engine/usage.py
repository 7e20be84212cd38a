"""Measures a response's cost inside one generate call: encoder, prefill and decode seconds, memory, KV cache bytes.

A second generate call to time decoding would run the prefill twice. Instead a stopping criterion, which is called
once per token, records the time of the first token, and hooks time the encoder.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor
from transformers import StoppingCriteria


def now(device: torch.device) -> float:
    """Return the time in seconds, after the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


class FirstToken(StoppingCriteria):  # type: ignore[misc]  # transformers is untyped
    """Records the time of the first token; never stops generation."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.at: float | None = None

    def __call__(self, input_ids: Tensor, scores: Any, **kwargs: Any) -> Tensor:
        if self.at is None:
            self.at = now(self.device)
        return torch.zeros(len(input_ids), dtype=torch.bool, device=input_ids.device)


@dataclass
class EncoderWatch(AbstractContextManager["EncoderWatch"]):
    """Measures the audio encoder's seconds, and counts its audio tokens if its output shows them, while open."""

    encoder: torch.nn.Module
    device: torch.device
    seconds: float = 0.0
    tokens: int | None = None
    _started: float = 0.0
    _undo: ExitStack = field(default_factory=ExitStack, init=False)

    def __enter__(self) -> Self:
        self._undo.callback(self.encoder.register_forward_pre_hook(self._before).remove)
        self._undo.callback(self.encoder.register_forward_hook(self._after).remove)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def _before(self, module: Any, args: Any) -> None:
        self._started = now(self.device)

    def _after(self, module: Any, args: Any, output: Any) -> None:
        self.seconds += now(self.device) - self._started
        states = getattr(output, "last_hidden_state", None)
        if isinstance(states, Tensor) and states.dim() == 2:
            self.tokens = (self.tokens or 0) + len(states)


def kv_bytes_per_token(cache: Any) -> list[int]:
    """Return the bytes of keys and values of one token of one sample, per layer of a filled cache; 0 for one without keys."""
    return [
        sum(part.nbytes // (part.shape[0] * part.shape[-2]) for part in (layer.keys, layer.values))
        if has_keys(layer)
        else 0
        for layer in cache.layers
    ]


def has_keys(layer: Any) -> bool:
    """Return whether a layer of a filled cache holds keys; those of Mamba, feed-forward and experts hold none."""
    return getattr(layer, "keys", None) is not None


def reset_peak(device: torch.device) -> None:
    """Start measuring the peak of the GPU's memory; does nothing on a CPU."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_bytes(device: torch.device, weights_bytes: int) -> int | None:
    """Return the peak of GPU memory above the weights since `reset_peak`; None on a CPU, where it is unknown."""
    return torch.cuda.max_memory_allocated(device) - weights_bytes if device.type == "cuda" else None


def tokens_per_second(output_tokens: int, decode_s: float) -> dict[str, float]:
    """Return one sample's decoded tokens per second; empty if the prefill's first token was the only one.

    `decode_s` are the seconds in which the whole batch was decoded, the sample among the others.
    """
    if output_tokens < 2 or decode_s <= 0:
        return {}
    return {"tokens_per_s": round((output_tokens - 1) / decode_s, 3)}


def by_layers(per_layer: Sequence[int | None]) -> dict[str, int]:
    """Group equal neighbouring layers by their cached prompt tokens, such as `{"0-1": 2525, "2-27": 1275}`.

    None stands for a layer without keys, which is in no group.
    """
    groups: dict[str, int] = {}
    first = 0
    for layer, tokens in enumerate(per_layer):
        if layer + 1 == len(per_layer) or per_layer[layer + 1] != tokens:
            if tokens is not None:
                groups[f"{first}-{layer}"] = tokens
            first = layer + 1
    return groups
