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
    queries_s: float = 0.0
    unrotated_s: float = 0.0
    scores_s: float = 0.0
    """Seconds that each of the three took."""


@dataclass(frozen=True)
class Context:
    """A prefilled prompt prefix of `length` tokens; `cache` is never changed, cells take copies of what they keep."""

    cache: DynamicCache
    length: int
    audio: LongTensor
    observed: Sequence[Observed]
    logits: Tensor
    """[vocabulary] at the prefix's last token: the first answer token's, when the prefix is the whole prompt."""

    @property
    def observed_s(self) -> float:
        """Seconds of the prefill that went into looking: a press's own, though they pass inside the model."""
        return sum(one.queries_s + one.unrotated_s + one.scores_s for one in self.observed)
