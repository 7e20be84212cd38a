"""DART: keep a few pivots and the audio tokens least like them, so that what goes is what stands there twice.

Wen et al., Stop Looking for Important Tokens in Multimodal Language Models: Duplication Matters More,
https://arxiv.org/abs/2502.11494. As in AudioMarathon, pivots are the tokens with the largest key norm, among the audio
and among the text after it. Ours hits the budget exactly: what does not divide evenly is spread over the first pivots.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class Dart(PruningPress):
    """Pivots by L1 key norm in layer K-1; each picks its share of tokens by lowest cosine to its normed state."""

    released: ClassVar[bool] = True
    audio_pivots: int = 4
    text_pivots: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.audio_pivots < 1 or self.text_pivots < 0:
            raise MarathonError(
                f"press=dart: audio_pivots={self.audio_pivots},text_pivots={self.text_pivots}: "
                "at least 1 audio pivot and 0 text pivots"
            )

    def kept(self, length: int, ratio: float) -> int:
        if not self.compat or ratio == 0:
            return super().kept(length, ratio)
        # released: the audio pivots, and as many picks as divide evenly among all pivots
        pivots = self.audio_pivots + self.text_pivots
        return min(length, self.audio_pivots + pivots * int(length * (1 - ratio) / pivots))

    def select(self, view: PruningView) -> LongTensor:
        import torch

        norms = view.keys.abs().sum(dim=(0, 2), dtype=torch.float32)
        audio_pivots = _largest(view.audio, norms, min(self.audio_pivots, view.keep))
        after = torch.arange(int(view.audio[-1]) + 1, len(norms), device=norms.device)
        pivots = torch.cat([audio_pivots, _largest(after, norms, min(self.text_pivots, len(after)))])
        states = torch.nn.functional.normalize(view.normed.float(), dim=-1)
        likeness = states[pivots] @ states[view.audio].T
        likeness.masked_fill_(torch.isin(view.audio, audio_pivots), torch.inf)
        kept = [audio_pivots]
        for row, share in enumerate(_shares(view.keep - len(audio_pivots), len(pivots))):
            picked = likeness[row].topk(share, largest=False).indices
            likeness[:, picked] = torch.inf
            kept.append(view.audio[picked])
        return cast("LongTensor", torch.cat(kept))


def _largest(positions: Tensor, norms: Tensor, count: int) -> Tensor:
    return positions[norms[positions].topk(count).indices]


def _shares(total: int, parts: int) -> list[int]:
    """`total` in `parts` nearly equal whole shares, the larger ones first: (7, 3) is [3, 2, 2]."""
    return [total // parts + (part < total % parts) for part in range(parts)]
