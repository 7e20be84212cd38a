"""What is left of a prompt's context once it went through the model, before anything is evicted from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import LongTensor, Tensor
from transformers import DynamicCache


@dataclass(frozen=True)
class Observed:
    """What one layer showed while the context went through it."""

    queries: Tensor | None
    """[heads, w, d] the last w queries, rotated."""
    unrotated: Tensor | None
    """[heads, T, d] every query before rotation."""
    scores: Tensor | None = None
    """[key heads, T] what a press that scores beside the model made of the layer."""


@dataclass(frozen=True)
class Context:
    """A prefilled prompt prefix of `length` tokens; `cache` is never changed, cells take copies of what they keep."""

    cache: DynamicCache
    length: int
    audio: LongTensor
    observed: Sequence[Observed]
    logits: Tensor
    """[vocabulary] at the prefix's last token: the first answer token's, when the prefix is the whole prompt."""
