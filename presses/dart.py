"""Removes duplicates: keeps a few pivot tokens and the audio tokens that are least similar to them (DART).

Wen et al., Stop Looking for Important Tokens in Multimodal Language Models: Duplication Matters More,
https://arxiv.org/abs/2502.11494. As in AudioMarathon, the pivots are the tokens with the largest key norm, some among
the audio tokens and some among the text tokens after them. Unlike the released code, this press meets the budget
exactly: if the budget does not divide evenly among the pivots, the first pivots pick one token more. Audio pivots pick
before text pivots, those with larger norms first. `compat=audiomarathon` follows the released code
(https://github.com/DabDans/AudioMarathon, Modeling/modeling_qwen2_5_omni_dart.py) in the number of picks per pivot and in
the pivots' order: every pivot picks the same number, in the order in which CPython walks the set of their positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.api.press_ranking import highest_scores

if TYPE_CHECKING:
    from torch import LongTensor, Tensor


@dataclass(frozen=True)
class Dart(PruningPress):
    """Keeps tokens with the largest L1 key norm in layer K-1 as pivots, and per pivot those with the lowest cosine.

    The cosine is that of the hidden states at layer K after the decoder's final norm: cos(norm(h_pivot), norm(h_j)).

    Parameters
    ----------
    audio_pivots : int, default 4, at least 1
        Number of pivots among the audio tokens; they are kept and count towards the budget.
    text_pivots : int, default 4, at least 0
        Number of pivots among the text tokens after the audio.
    """

    version: ClassVar[int] = 2
    differs: ClassVar[str] = (
        "the budget is met exactly: the first pivots pick one token more where it does not divide"
    )
    released: ClassVar[bool] = True
    compat_version: ClassVar[int] = 2
    audio_pivots: int = 4
    text_pivots: int = 4
    at_least: ClassVar[Mapping[str, int]] = {"audio_pivots": 1, "text_pivots": 0}

    def kept(self, length: int, ratio: float) -> int:
        if not self.compat or ratio == 0:
            return super().kept(length, ratio)
        # the released code keeps the audio pivots and the same number of picks for every pivot
        pivots = self.audio_pivots + self.text_pivots
        return min(length, self.audio_pivots + pivots * int(length * (1 - ratio) / pivots))

    def select(self, view: PruningView) -> LongTensor:
        import torch

        norms = view.keys.abs().sum(dim=(0, 2), dtype=torch.float32)
        audio_pivots = self._largest(view.audio, norms, min(self.audio_pivots, view.keep))
        after = torch.arange(int(view.audio[-1]) + 1, len(norms), device=norms.device)
        text_pivots = self._largest(after, norms, min(self.text_pivots, len(after)))
        if self.compat:
            chosen_positions = _released(view, audio_pivots.tolist(), text_pivots.tolist())
            return cast("LongTensor", torch.tensor(chosen_positions, device=view.audio.device))
        pivots = torch.cat([audio_pivots, text_pivots])
        states = torch.nn.functional.normalize(view.normed.float(), dim=-1)
        cosine = states[pivots] @ states[view.audio].T
        cosine.masked_fill_(torch.isin(view.audio, audio_pivots), torch.inf)
        chosen = [audio_pivots]
        for row, share in enumerate(_shares(view.keep - len(audio_pivots), len(pivots))):
            picked = highest_scores(-cosine[row], share)
            cosine[:, picked] = torch.inf
            chosen.append(view.audio[picked])
        return cast("LongTensor", torch.cat(chosen))

    def _largest(self, positions: Tensor, norms: Tensor, count: int) -> Tensor:
        """Return the `count` positions with the largest norms; the released code breaks ties as topk does."""
        found = norms[positions]
        return positions[found.topk(count).indices if self.compat else highest_scores(found, count)]


def _released(view: PruningView, audio_pivots: list[int], text_pivots: list[int]) -> list[int]:
    """Return the positions that the released code keeps, its order of pivots and of equally similar tokens included.

    That order is CPython's for sets of integers; it depends on the positions in the prompt without padding.
    """
    import torch

    pivots = list(set(audio_pivots + text_pivots))
    left = set(view.audio.tolist()) - set(audio_pivots)
    chosen = list(audio_pivots)
    for pivot, share in zip(pivots, _shares(view.keep - len(audio_pivots), len(pivots)), strict=True):
        candidates = list(left)
        cosine = torch.nn.functional.cosine_similarity(view.normed[pivot], view.normed[candidates], dim=-1)
        picked = [candidates[i] for i in (-cosine).topk(share).indices.tolist()]
        left.difference_update(picked)
        chosen += picked
    return chosen


def _shares(total: int, parts: int) -> list[int]:
    """Divide `total` into `parts` nearly equal whole numbers, the larger ones first: (7, 3) gives [3, 2, 2]."""
    return [total // parts + (part < total % parts) for part in range(parts)]
