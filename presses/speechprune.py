"""Keeps the audio tokens that are like the question, second by second, then those that other audio attends to.

Lin et al., SpeechPrune: Context-aware Token Pruning for Speech Information Retrieval,
https://arxiv.org/abs/2412.12009. The rule reads the embeddings before the first layer alone. In the paper its first
phase cuts the audio down to what a model's window holds, and the second removes the pruning rate of that; here `ratio`
counts all removed tokens, and `first` divides them between the phases. The paper does not say which tokens take the
places that rounding down, or a second with fewer tokens than its budget, leaves free: here the best of all others.
It averages the attention over its axis 1; over keys every token's mean is the same, so it is taken over queries.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.api.press_ranking import highest_scores
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor, Tensor

#: Audio tokens per second where a model does not say which seconds its tokens stand for.
_RATE = 25
#: Rows of the attention among audio tokens in memory at once.
_BLOCK = 128


@dataclass(frozen=True)
class SpeechPrune(PruningPress):
    """Keeps tokens by their likeness to the question, then by the attention they get, estimated from signs.

    Phase 1: s_j is the mean cosine of audio token j's embedding to those of the question. Seconds share the places by a
    softmax over their sums of s, rounded down, and in each the highest s stay; places left free go to the highest s of
    all others. Phase 2: with W_Q and W_K of the first layer, queries are sign(h) sign(W_Q)' and keys sign(h) sign(W_K)';
    the n tokens stay that get the most softmax attention from the tokens of phase 1, mean over these and over heads.

    Parameters
    ----------
    layer : int, default 0, must be 0
        The rule reads embeddings and the first layer's weights.
    first : float, default 0.5, 0 to 1
        The share of the removed tokens that phase 1 removes.
    """

    differs: ClassVar[str] = (
        "`ratio` counts both phases, free places go to the best tokens left, attention is averaged over queries"
    )
    only_layer: ClassVar[int | None] = 0
    staged: ClassVar[bool] = False
    needs_question: ClassVar[bool] = True
    needs_projections: ClassVar[bool] = True
    layer: int = 0
    first: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.first <= 1:
            raise MarathonError(f"press={self.name()}: first={self.first}: must be 0 to 1")

    def select(self, view: PruningView) -> LongTensor:
        import torch

        if view.question is None or view.projections is None:
            raise ValueError("speechprune needs the question's places and the first layer's projections")
        length, states = len(view.audio), view.hidden[view.audio].float()
        left = length - int((length - view.keep) * self.first + 1e-6)
        seconds = torch.arange(length) / _RATE if view.seconds is None else view.seconds
        likeness = _likeness(states, view.hidden[view.question].float()).cpu().double()
        kept = _by_seconds(likeness, seconds, left).to(states.device)
        if view.keep < left:
            kept = kept[highest_scores(_received(states[kept], *view.projections), view.keep)]
        return cast("LongTensor", view.audio[kept])


def _likeness(states: Tensor, question: Tensor) -> Tensor:
    """Return the mean cosine [L] of each state [L, h] to those of the question [Q, h]."""
    from torch.nn.functional import normalize

    return normalize(states, dim=-1) @ normalize(question, dim=-1).mean(dim=0)


def _by_seconds(likeness: Tensor, seconds: Tensor, count: int) -> Tensor:
    """Return the `count` places, ascending, that phase 1 keeps; `seconds` [L] are those at which tokens begin."""
    import torch

    # a token at a second's very edge belongs to what follows, also where its time was rounded
    _, frame = (seconds + 1e-6).long().unique(return_inverse=True)
    sums = torch.zeros(int(frame.max()) + 1, dtype=likeness.dtype).index_add_(0, frame, likeness)
    budgets = (count * sums.softmax(dim=0)).long()
    best = highest_scores(likeness, len(likeness))
    best = best[frame[best].argsort(stable=True)]
    # seconds follow each other in `best`, so that a token's rank is its distance from its second's first
    ranks = torch.empty_like(best)
    starts = frame.bincount().cumsum(dim=0) - frame.bincount()
    ranks[best] = torch.arange(len(best)) - starts[frame[best]]
    # a mean cosine is at most 1: every token within its second's budget comes before every other
    places = highest_scores(likeness + 4 * (ranks < budgets[frame]), count)
    return places.sort().values


def _received(states: Tensor, queries: Tensor, keys: Tensor) -> Tensor:
    """Return the logarithm [n] of the attention that each of the states [n, h] gets, summed over queries and heads.

    Logits of signs are so large that nearly all attention is 0 in any number; its logarithm still tells it apart.
    """
    import torch

    signs, groups = states.sign(), len(queries) // len(keys)
    total = torch.full((len(states),), -torch.inf, dtype=torch.float64, device=states.device)
    for head, weights in enumerate(queries):
        key = signs @ keys[head // groups].to(signs).sign().T
        for rows in (signs @ weights.to(signs).sign().T).split(_BLOCK):
            # whole numbers, which single precision holds exactly
            logits = (rows @ key.T).double() / key.shape[1] ** 0.5
            total = torch.logaddexp(total, logits.log_softmax(dim=-1).logsumexp(dim=0))
    # rounded, so that equal scores are equal in whatever order they were added
    return total.round(decimals=6)
