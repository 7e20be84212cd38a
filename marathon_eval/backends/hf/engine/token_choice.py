"""Lets a pruning press choose the audio tokens of one sample that stay at a cut, and checks the choice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from marathon_eval.api.press import Decoder, PruningPress, PruningView
from marathon_eval.api.press_replies import checked_positions, press_reply
from marathon_eval.backends.hf.engine.attention_tap import LastTokenAttention
from marathon_eval.backends.hf.engine.prompt_pass import PromptPass, stored_keys


@dataclass(frozen=True)
class CutLayer:
    """Holds what the press reads at one cut: layer, ratio, hidden states [B, T, h], and cache."""

    layer: int
    ratio: float
    hidden: Tensor
    cache: DynamicCache


@dataclass(frozen=True)
class TokenChoice:
    """Builds the press's view of each sample and applies its choice; `seeds` holds one seed per sample."""

    decoder: Decoder
    press: PruningPress
    seeds: Sequence[int]
    taps: Mapping[int, LastTokenAttention]
    projections: tuple[Tensor, Tensor] | None = None

    def choose(
        self, current: PromptPass, cut: CutLayer, row: int, keep: Tensor, merged_hidden: Tensor
    ) -> None:
        """Mark sample `row`'s chosen tokens in `keep` [B, T]; write states that the press merged to `merged_hidden`.

        The press sees the sample without padding and without audio tokens that stand for no sound. Raises RowError
        when it does not choose exactly the budget.
        """
        shown = current.shown(row)
        audio: Any = current.prunable[row, shown].nonzero().squeeze(1)
        if not len(audio):
            return
        view = self._view(current, cut, row, shown, audio)
        chosen = checked_positions(self.press, view, press_reply(self.press, view, self.press.select))
        places = torch.arange(keep.shape[1], device=chosen.device)[shown][chosen]
        keep[row, places] = True
        merged = self.press.merged(view, chosen)
        if merged is not None:
            merged_hidden[row, places] = merged
        if current.loudness is not None and self.press.needs_loudness:
            current.loudness[row] = current.loudness[row][torch.isin(audio, chosen).cpu()]
        seconds = None if current.seconds is None else current.seconds[row]
        if current.seconds is not None and seconds is not None:
            current.seconds[row] = seconds[torch.isin(audio, chosen).cpu()]

    def _view(self, current: PromptPass, cut: CutLayer, row: int, shown: Any, audio: Any) -> PruningView:
        tap, number = self.taps.get(cut.layer), [layer for layer, _ in self.press.cuts].index(cut.layer)
        states, reads_attention = cut.hidden[row, shown], self.press.needs_attention
        attention = (
            tap.row[row, shown] if reads_attention and tap is not None and tap.row is not None else None
        )
        question: Any = None
        if current.question is not None:
            question = current.question[row, shown].nonzero().squeeze(1)
        return PruningView(
            hidden=states,
            norm=self.decoder.norm,
            keys=stored_keys(cut.cache, cut.layer - 1)[row, :, shown] if cut.layer else states[None],
            attention=attention,
            audio=audio,
            keep=self.press.kept(current.original[row], cut.ratio),
            loudness=None if current.loudness is None else current.loudness[row],
            left_out=current.left_out(row),
            question=question,
            seconds=None if current.seconds is None else current.seconds[row],
            projections=self.projections,
            # each cut draws with its own seed, and the first cut with the seed of a press that cuts once
            generator=torch.Generator().manual_seed(self.seeds[row] + number),
        )
