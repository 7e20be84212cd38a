"""Keeps the keys to which the last token of the context attends most.

Oren et al., Transformers are Multi-State RNNs, https://arxiv.org/abs/2401.06104. With `evict=context` the last token
is the last audio token, so the rule cannot depend on the question; with `evict=prompt` it is the prompt's last token.
`evict=decode` is the published rule: the budget counts keys of all tokens, and one leaves at every decoding step.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import EvictionPress, EvictionView, StepView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class Tova(EvictionPress):
    """Scores a key by the attention of the last query, averaged over all heads; the last key is always kept.

    Takes no parameters beyond those of `EvictionPress`.
    """

    version: ClassVar[int] = 2
    differs: ClassVar[str] = "unless evict=decode, audio keys alone are evicted, and once"
    while_decoding: ClassVar[bool] = True
    window: int = field(default=1, init=False, metadata={"argument": False})

    def score(self, view: EvictionView) -> Tensor:
        scores = view.attention[:, -1].mean(dim=0)
        scores[-1] = scores[:-1].max() + 1 if len(scores) > 1 else 1.0
        return scores

    def select_step(self, view: StepView) -> LongTensor:
        kept = highest_scores(view.last.mean(dim=0), view.keep).sort().values
        return cast("LongTensor", kept.expand(len(view.received), -1))
