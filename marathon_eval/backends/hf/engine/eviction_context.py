"""Defines the prefilled context of a prompt: its cache and what presses observed, before anything is evicted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import LongTensor, Tensor
from transformers import DynamicCache

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.press import Decoder


@dataclass(frozen=True)
class Observed:
    """Holds what was observed in one layer during the prefill; T counts no silent tokens (`Context.silent`)."""

    queries: Tensor | None
    """[heads, w, d], the last w queries, rotated."""
    unrotated: Tensor | None
    """[heads, T, d], every query before rotation."""
    scores: Tensor | None = None
    """[key heads, T], the key scores of a press that scores during the prefill (kvpress)."""
    queries_s: float = 0.0
    unrotated_s: float = 0.0
    scores_s: float = 0.0
    received: Tensor | None = None
    """[key heads, T], the attention that keys received from all queries in sum."""
    received_s: float = 0.0
    """Seconds that queries, unrotated, scores and received took."""


class LayerTokens(NamedTuple):
    """Says which tokens of one layer's cache a press sees: all but silent ones."""

    shown: Tensor
    """[cached] whether a press sees the token."""
    is_audio: Tensor
    """[seen] whether a token that a press sees is audio."""
    left_out: Tensor
    """Positions of the context that a press does not see: silent tokens, and what was dropped before."""


@dataclass(frozen=True)
class Context:
    """Holds a prefilled prompt prefix of `length` tokens; `cache` never changes, and presses copy what they keep."""

    cache: DynamicCache
    length: int
    audio: LongTensor
    observed: Sequence[Observed]
    silent: LongTensor
    """Positions of the audio tokens that stand for no sound, ascending; they are not in `audio`."""
    logits: Tensor
    """[vocabulary], at the prefix's last token; if the prefix is the whole prompt, they give the first answer."""
    cuts: Mapping[int, LongTensor] = field(default_factory=dict)
    """Where a pruning press cut first: by layer, the positions that are left from there on, ascending."""
    select_s: float = 0.0
    """Seconds that the pruning press took."""

    def tokens(self, layer: int) -> LayerTokens:
        """Return which tokens a layer's cache holds, and which of them a press sees."""
        cut = max((each for each in self.cuts if each <= layer), default=None)
        present = torch.zeros(self.length, dtype=torch.bool, device=self.audio.device)
        present[slice(None) if cut is None else self.cuts[cut]] = True
        seen, audio = present.clone(), torch.zeros_like(present)
        seen[self.silent] = False
        audio[self.audio] = True
        return LayerTokens(seen[present], audio[seen & present], (~seen).nonzero().squeeze(1))

    @property
    def shown(self) -> LongTensor | None:
        """Return the positions that presses see, ascending: all but those of silent tokens; None if there are none."""
        return positions_without_silence(self.length, self.silent)

    @property
    def observed_s(self) -> float:
        """Return the seconds of the prefill that observing took; they count as the press's time."""
        watched = sum(
            layer.queries_s + layer.unrotated_s + layer.scores_s + layer.received_s for layer in self.observed
        )
        return watched + self.select_s


def heard_audio(
    decoder: Decoder, ids: Tensor, length: int, silent: NDArray[np.bool_] | None
) -> tuple[LongTensor, LongTensor]:
    """Return the positions below `length` of the audio tokens in a prompt [1, T], and apart those of silent ones.

    `silent` says which of the prompt's audio tokens stand for no sound; None: all stand for some.
    """
    mask = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids, device=ids.device))
    audio = mask[:length].nonzero().squeeze(1)
    apart = torch.zeros_like(audio).bool() if silent is None else torch.from_numpy(silent).to(ids.device)
    return cast("LongTensor", audio[~apart]), cast("LongTensor", audio[apart])


def positions_without_silence(length: int, silent: LongTensor) -> LongTensor | None:
    """Return the positions below `length` that are not in `silent`, ascending; None if all are."""
    if not len(silent):
        return None
    seen = torch.ones(length, dtype=torch.bool, device=silent.device)
    seen[silent] = False
    return cast("LongTensor", seen.nonzero().squeeze(1))
