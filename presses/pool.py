"""Replace every m neighbouring audio tokens by their mean: nothing is dropped, detail in time is.

The plain average pooling that token compressors are compared with. It takes `m=` where other presses take `ratio=`,
and its ratio is what that removes: 1 - 1/m.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class Pool(PruningPress):
    """The hidden states at layer K in n = L/m nearly equal bins; a bin's mean stands where its middle token stood."""

    staged: ClassVar[bool] = False
    m: int = 0

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        m = args.get("m")
        if "ratio" in args:
            raise MarathonError("press=pool takes m=, the number of neighbours in a mean, not ratio=")
        if not isinstance(m, int) or isinstance(m, bool) or m < 1:
            raise MarathonError(f"press=pool: m={m}: must be a whole number of at least 1")
        return {**args, "ratio": 1 - 1 / m}

    def select(self, view: PruningView) -> LongTensor:
        edges = _edges(len(view.audio), view.keep)
        return cast("LongTensor", view.audio[(edges[:-1] + edges[1:] - 1).to(view.audio.device) // 2])

    def merged(self, view: PruningView, kept: LongTensor) -> Tensor:
        import torch

        edges = _edges(len(view.audio), view.keep)
        bins = torch.repeat_interleave(torch.arange(view.keep), edges[1:] - edges[:-1]).to(view.hidden.device)
        states = view.hidden[view.audio].float()
        sums = torch.zeros(view.keep, states.shape[1], device=states.device).index_add_(0, bins, states)
        return (sums / bins.bincount()[:, None]).to(view.hidden.dtype)


def _edges(length: int, parts: int) -> Tensor:
    """Where each of `parts` nearly equal bins of `length` begins, and the end."""
    import torch

    return torch.arange(parts + 1) * length // parts
