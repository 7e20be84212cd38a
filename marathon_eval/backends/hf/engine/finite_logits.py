"""Detects logits that are not finite numbers, from which any token would be a meaningless answer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LogitsProcessor


def broken_logits(token: int) -> str:
    """Return the error of a response whose logits are NaN or infinite at its token `token`, counted from 0."""
    return (
        f"the model's logits at token {token + 1} are not finite numbers (NaN or infinite), so it has no answer; "
        "a dtype of more range (float32, bfloat16) or other weights may help"
    )


def are_finite(logits: Tensor) -> Tensor:
    """Return for logits [..., vocabulary] whether the largest is a finite number [...]; it waits for no device.

    NaN anywhere makes the maximum NaN.
    """
    return torch.isfinite(logits.max(dim=-1).values)


class FiniteLogits(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped
    """Records for each row of a batch the first step whose logits are not finite; it waits for no device.

    Logits are passed on unchanged, except to sampling, which stops the process at NaN: there such a row gets zeros.
    """

    def __init__(self, sampling: bool = False) -> None:
        self.sampling = sampling
        self.steps = 0
        self._first: Tensor | None = None

    def __call__(self, input_ids: Tensor, scores: Any) -> Any:
        bad = ~are_finite(scores)
        if self._first is None:
            self._first = torch.full_like(bad, -1, dtype=torch.long)
        self._first = torch.where(bad & (self._first < 0), self.steps, self._first)
        self.steps += 1
        return torch.where(bad[:, None], torch.zeros_like(scores), scores) if self.sampling else scores

    def broken_at(self, row: int, tokens: int) -> int | None:
        """Return the first of a row's `tokens` steps whose logits were not finite; later steps are padding."""
        first = -1 if self._first is None else int(self._first[row])
        return first if 0 <= first < tokens else None


class FinitePasses(LogitsProcessor):  # type: ignore[misc]  # transformers is untyped
    """Records the first token with logits that are not finite, in a `generate` that decodes a batch in several passes.

    Whisper's does: it decodes again what its last timestamp left over, with fewer rows in each pass. A row whose last
    token is `end` is complete, and its logits do not count.
    """

    def __init__(self, end: int) -> None:
        self.end = end
        self.begin = 0
        self._first: Tensor | None = None

    def set_begin_index(self, begin_index: int) -> None:
        """Take the length of the prompt of the pass that begins; transformers calls it before each pass."""
        self.begin = begin_index

    def __call__(self, input_ids: Tensor, scores: Any) -> Any:
        bad = (~are_finite(scores) & (input_ids[:, -1] != self.end)).any()
        if self._first is None:
            self._first = torch.full_like(bad, -1, dtype=torch.long)
        self._first = torch.where(bad & (self._first < 0), input_ids.shape[1] - self.begin, self._first)
        return scores

    def broken_at(self) -> int | None:
        """Return the token, counted from 0 in its pass, at which a row's logits were first not finite."""
        first = -1 if self._first is None else int(self._first)
        return first if first >= 0 else None
