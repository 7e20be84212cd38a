"""Records the logits from which a model chooses its tokens, and compares two recordings of one answer."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

#: The largest difference of two computations of one logit, as a share of the logits' standard deviation, that rounding
#: explains: kernels, batches and loops add the same numbers in another order.
ROUNDING = {torch.float32: 2e-3, torch.bfloat16: 0.25, torch.float16: 0.05}


@contextmanager
def head_logits(model: Any) -> Iterator[list[Tensor]]:
    """While open, append the logits [B, vocabulary] of the last position of every pass through the model's output head."""
    seen: list[Tensor] = []

    def look(module: Any, args: Any, output: Tensor) -> None:
        seen.append(output[:, -1].detach().float().cpu())

    handle = model.get_output_embeddings().register_forward_hook(look)
    try:
        yield seen
    finally:
        handle.remove()


def logit_difference(first: Sequence[Tensor] | Tensor, second: Sequence[Tensor] | Tensor) -> float:
    """Return the largest difference of two answers' logits [steps, vocabulary], as a share of their standard deviation.

    Steps are compared up to and with the first at which the chosen tokens differ; NaN and infinity give infinity.
    """
    worst = 0.0
    for a, b in zip(first, second, strict=False):
        apart = float((a - b).abs().max() / a.std().clamp(min=1e-12))
        worst = max(worst, apart if math.isfinite(apart) else math.inf)
        if int(a.argmax()) != int(b.argmax()):
            break
    return worst
