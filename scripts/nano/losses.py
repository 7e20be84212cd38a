"""Defines the losses of the three stages of training."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from nano.batches import Batch
from nano.clips import CLASSES, GROUPS, SPAN
from nano.network import EMBEDDED, HIDDEN, read

#: How sharply the encoder's classes are told apart, and what "none of this group" scores.
SHARPNESS, NONE = 8.0, 0.5


class Learner(nn.Module):
    """Holds the thinker, and what only training needs: a fixed vector per class, and two heads on the options."""

    classes: Tensor

    def __init__(self, thinker: Any, seed: int) -> None:
        super().__init__()
        self.thinker = thinker
        vectors = torch.linalg.qr(torch.randn(HIDDEN, CLASSES, generator=_seeded(seed)))[0].T
        self.register_buffer("classes", vectors * EMBEDDED * HIDDEN**0.5)
        self.matches = nn.Linear(HIDDEN, 1)
        self.places = nn.Linear(HIDDEN, 4)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


class Told(NamedTuple):
    """Holds a loss, and the share of right answers."""

    loss: Tensor
    right: float


def answered(
    learner: Learner,
    batch: Batch,
    audio: Tensor,
    deaf: bool,
    auxiliary: float,
    ending: float = 0.1,
    letters: float = 1.0,
) -> Told:
    """Compute the loss of the answer's letter and the turn's end, and at each option of its truth and its letter.

    `audio` [all audio tokens of the batch, HIDDEN]. With `deaf` text hears nothing in the first layers, so that what
    is heard must still be there after a press has cut. `ending` weighs the end of the turn, `letters` the letter.
    """
    model = learner.thinker
    embedded = model.get_input_embeddings()(batch.ids)
    embedded = embedded.masked_scatter(batch.is_audio[..., None], audio)
    seen = read(model.get_decoder(), embedded, batch.positions, _deaf(batch) if deaf else None)
    rows = torch.arange(len(batch.ids))
    letter = model.lm_head(seen.last[rows, batch.answer_at])
    end = model.lm_head(seen.last[rows, batch.answer_at + 1])
    ends_turn = torch.full_like(batch.answers, model.config.get_text_config().eos_token_id)
    loss = letters * cross_entropy(letter, batch.answers) + ending * cross_entropy(end, ends_turn)
    if auxiliary and bool((batch.ends[:, 0] >= 0).any()):
        loss = loss + auxiliary * _options(learner, batch, seen.middle)
    return Told(loss, float((letter.argmax(-1) == batch.answers).float().mean()))


def _options(learner: Learner, batch: Batch, middle: Tensor) -> Tensor:
    has = batch.ends[:, 0] >= 0
    at = batch.ends[has]
    states = middle[has].gather(1, at[..., None].expand(-1, -1, HIDDEN))
    matches = learner.matches(states).squeeze(-1)
    letters = torch.arange(4).expand(len(at), -1)
    places = learner.places(states).flatten(0, 1)
    return cross_entropy(matches, batch.right[has]) + 0.5 * cross_entropy(places, letters.flatten())


def _deaf(batch: Batch) -> Tensor:
    """Return a mask [B, 1, T, T]: causal, and tokens after the audio do not attend to it."""
    length = batch.ids.shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()
    hears = ~(batch.after_audio[:, :, None] & batch.is_audio[:, None, :])
    return (causal & hears)[:, None]


def classified(learner: Learner, tokens: Tensor, heard: Tensor) -> Told:
    """Compute the loss of audio tokens [N, 50, HIDDEN] against labels [N, 50, groups] (-1 none, -2 unknown)."""
    shares = tokens @ learner.classes.T / (EMBEDDED**2 * HIDDEN)
    losses, right, known = [], 0.0, 0.0
    for number, (first, last) in enumerate(SPAN[group] for group in GROUPS):
        scores = shares[..., first:last]
        scores = torch.cat([scores, torch.full_like(scores[..., :1], NONE)], dim=-1) * SHARPNESS
        wanted = heard[..., number]
        wanted = torch.where(wanted == -1, last - first, wanted).masked_fill(wanted == -2, -100)
        losses.append(cross_entropy(scores.flatten(0, -2), wanted.flatten(), ignore_index=-100))
        named = heard[..., number] >= 0
        right += float((scores.argmax(-1)[named] == heard[..., number][named]).sum())
        known += float(named.sum())
    size = (shares - shares.clamp(-0.3, 1.3)).square().mean() + (
        tokens - shares @ learner.classes
    ).square().mean()
    return Told(torch.stack(losses).sum() + 0.2 * size, right / max(known, 1.0))
