"""Records the logits from which a local model's answers were chosen, step by step, and compares two runs of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from marathon_eval.api.model import Response
from marathon_eval.backends.hf.engine.finite_logits import FiniteLogits
from marathon_eval.backends.hf.engine.token_chooser import Chooser


class RecordedLogits:
    """Collects the logits [B, vocabulary] of every step while a test runs, with and without an eviction press."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        #: What each step was given, in time: the logits [B, vocabulary] of one of `generate`'s, without a chooser, or those
        #: [vocabulary] that an answer's own chooser got.
        self.steps: list[tuple[Chooser | None, Tensor]] = []
        look, choose = FiniteLogits.__call__, Chooser.__call__

        def generated(watch: FiniteLogits, ids: Tensor, scores: Tensor) -> Any:
            self.steps.append((None, scores.detach().float()))
            return look(watch, ids, scores)

        def chosen(chooser: Chooser, logits: Tensor) -> int | None:
            self.steps.append((chooser, logits.detach().float()))
            return choose(chooser, logits)

        monkeypatch.setattr(FiniteLogits, "__call__", generated)
        monkeypatch.setattr(Chooser, "__call__", chosen)

    def of(self, responses: Sequence[Response]) -> list[Tensor]:
        """Return the logits [steps, vocabulary] of each response, given all responses since the last call, in order."""
        rows: list[Tensor] = []
        waiting = list(responses)
        while waiting:
            chooser, _ = self.steps[0]
            if (
                chooser is not None
            ):  # answers of one batch take turns, and the first step is the first answer's
                rows.append(torch.stack([logits for one, logits in self.steps if one is chooser]))
                self.steps = [step for step in self.steps if step[0] is not chooser]
                del waiting[0]
                continue
            size = int(waiting[0].usage.details["batch"])
            batch, waiting = waiting[:size], waiting[size:]
            lengths = [int(response.usage.output_tokens or 0) for response in batch]
            calls, self.steps = self.steps[: max(lengths)], self.steps[max(lengths) :]
            rows += [torch.stack([calls[t][1][row] for t in range(n)]) for row, n in enumerate(lengths)]
        assert not self.steps, "more steps were recorded than the responses have tokens"
        return rows


def difference(first: Tensor, second: Tensor) -> float:
    """Return the largest difference of two answers' logits, as a share of their spread, while their tokens agree.

    The step at which the tokens part is compared too: the prompt and the tokens before it are the same.
    """
    worst = 0.0
    for a, b in zip(first, second, strict=False):
        worst = max(worst, float((a - b).abs().max() / a.std()))
        if int(a.argmax()) != int(b.argmax()):
            break
    return worst
