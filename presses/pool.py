"""Replaces every m neighbouring audio tokens by their mean: no token is dropped, but time resolution is lost.

This is the average pooling that token compressors are compared with. The press takes `m=` where other presses take
`ratio=`; its ratio is the fraction that the pooling removes, 1 - 1/m.
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
    """Averages the hidden states at layer K in n = L/m nearly equal bins; each mean takes its bin's middle position.

    Parameters
    ----------
    m : int, at least 1, required
        Number of neighbouring audio tokens that are averaged into one.
    """

    staged: ClassVar[bool] = False
    m: int = 0

    @classmethod
    def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
        m = args.get("m")
        if "ratio" in args:
            raise MarathonError(
                "press=pool takes no ratio=; it takes m=, the number of tokens averaged into one"
            )
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
    """Return the start of each of `parts` nearly equal bins of `length` items, and the end of the last bin."""
    import torch

    return torch.arange(parts + 1) * length // parts
