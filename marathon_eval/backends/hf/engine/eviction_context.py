"""Defines the prefilled context of a prompt: its cache and what presses observed, before anything is evicted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import LongTensor, Tensor
from transformers import DynamicCache


@dataclass(frozen=True)
class Observed:
    """Holds what was observed in one layer during the prefill; T counts no padding (`Context.padding`)."""

    queries: Tensor | None
    """[heads, w, d], the last w queries, rotated."""
    unrotated: Tensor | None
    """[heads, T, d], every query before rotation."""
    scores: Tensor | None = None
    """[key heads, T], the key scores of a press that scores during the prefill (kvpress)."""
    queries_s: float = 0.0
    unrotated_s: float = 0.0
    scores_s: float = 0.0
    """Seconds that queries, unrotated and scores took."""


@dataclass(frozen=True)
class Context:
    """Holds a prefilled prompt prefix of `length` tokens; `cache` never changes, and presses copy what they keep."""

    cache: DynamicCache
    length: int
    audio: LongTensor
    observed: Sequence[Observed]
    padding: LongTensor
    """Positions of the audio tokens that stand for no sound, ascending; they are not in `audio`."""
    logits: Tensor
    """[vocabulary], at the prefix's last token; if the prefix is the whole prompt, they give the first answer."""

    @property
    def shown(self) -> LongTensor | None:
        """Return the positions that presses see, ascending: all but padding; None if there is no padding."""
        return sounding(self.length, self.padding)

    @property
    def observed_s(self) -> float:
        """Return the seconds of the prefill that observing took; they count as the press's time."""
        return sum(layer.queries_s + layer.unrotated_s + layer.scores_s for layer in self.observed)


def sounding(length: int, padding: LongTensor) -> LongTensor | None:
    """Return the positions below `length` that are not in `padding`, ascending; None if all are."""
    if not len(padding):
        return None
    seen = torch.ones(length, dtype=torch.bool, device=padding.device)
    seen[padding] = False
    return cast("LongTensor", seen.nonzero().squeeze(1))
