"""Defines the stages of training, each by its batch of step number n; the same seed gives the same batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from nano.batches import Questions, bare, batch
from nano.clips import ASKED, CLASSES, GROUPS, KINDS, SPAN, Mixer, place_of
from nano.heard import Heard
from nano.losses import Learner, Told, answered, classified
from nano.mels import PER_CHUNK
from nano.network import EMBEDDED, encoded
from nano.questions import LABELS

Random = np.random.Generator

#: How often each kind of clip comes; voices of two genders are soon learnt.
WEIGHTS = {"genre": 0.22, "place": 0.25, "event": 0.25, "acted": 0.2, "spoken": 0.08}
#: The same for sources that were never heard: the question with two options is the one whose turn did not end.
UNHEARD = {"genre": 0.1, "place": 0.1, "event": 0.1, "acted": 0.1, "spoken": 0.6}
#: Spread of what is added there to a class's share, which is 1 where it is heard clearly.
STRANGE = 0.4
CLIPS = 32
#: Audio and text tokens of one step in the last stage.
BUDGET = 4500


class Stage(NamedTuple):
    """Describes a stage; `rate` is the highest learning rate, reached after `warm` steps, and `after` runs at the end."""

    name: str
    steps: int
    warm: int
    rate: float
    loss: Callable[[Learner, Random], Told]
    after: Callable[[Learner], None] = lambda learner: None


def drawn(random: Random, count: int, weights: Mapping[str, float] = WEIGHTS) -> list[tuple[str, str]]:
    """Draw kinds and classes."""
    kinds = random.choice(KINDS, count, p=[weights[kind] for kind in KINDS])
    return [(str(kind), str(random.choice(LABELS[str(kind)]))) for kind in kinds]


def reading(questions: Questions, only_options: bool, rows: int) -> Callable[[Learner, Random], Told]:
    """Return questions about made-up audio tokens: blurred class vectors replace the encoder's output."""

    def loss(learner: Learner, random: Random) -> Told:
        wanted = drawn(random, rows)
        asked = [questions.draw(random, kind, label) for kind, label in wanted]
        asked = [bare(each) for each in asked] if only_options else asked
        counts = [int(random.integers(4, 24)) for _ in asked]
        audio = torch.cat([tagged(learner, random, *each, n) for each, n in zip(wanted, counts, strict=True)])
        return answered(learner, batch(questions, random, asked, counts), audio, random.random() < 0.7, 0.5)

    return loss


def tagged(learner: Learner, random: Random, kind: str, label: str, count: int) -> Tensor:
    """Return [count, HIDDEN]: the class's vector in a part of the tokens, others of its group mixed in, and noise."""
    group = ASKED[kind]
    first, last = SPAN[group]
    shares = np.zeros((count, CLASSES), np.float32)
    clear = random.uniform(0.45, 1.0, count).astype(np.float32)
    others = random.integers(first, last, count)
    shares[np.arange(count), others] = (1 - clear) * random.uniform(0, 1, count)
    shares[:, place_of(group, label)] += clear
    share = random.uniform(0.15, 0.7) if kind == "event" else random.uniform(0.7, 1.0)
    silent = random.random(count) > share
    silent[int(random.integers(count))] = False
    shares[silent] *= random.uniform(0, 0.1)
    if kind in ("acted", "spoken"):
        other = "gender" if kind == "acted" else "mood"
        shares[:, place_of(other, str(random.choice(GROUPS[other])))] = 0.0 if silent.all() else 0.7
    noise = torch.from_numpy(random.standard_normal((count, learner.classes.shape[1])).astype(np.float32))
    return torch.from_numpy(shares) @ learner.classes + noise * (0.35 * EMBEDDED)


def listening(mixer: Mixer) -> Callable[[Learner, Random], Told]:
    """Return a batch for the encoder alone: the label of every token, of clips of two windows."""

    def loss(learner: Learner, random: Random) -> Told:
        clips = [mixer.clip(random, kind, label, 2 * PER_CHUNK) for kind, label in drawn(random, CLIPS)]
        mels = np.stack([clip.features for clip in clips])
        chunks = torch.from_numpy(mels).unflatten(2, (2, PER_CHUNK)).transpose(1, 2).flatten(0, 1)
        heard = torch.from_numpy(np.stack([clip.heard for clip in clips])).unflatten(1, (2, -1)).flatten(0, 1)
        tower = learner.thinker.get_encoder(modality="audio")
        return classified(learner, encoded(tower, chunks), heard)

    return loss


def answering(
    questions: Questions, heard: Callable[[Learner], Heard], longest: float, ending: float = 0.1
) -> Callable[[Learner, Random], Told]:
    """Return questions about clips encoded by the trained encoder, of four seconds up to `longest`."""

    def loss(learner: Learner, random: Random) -> Told:
        seconds = float(np.exp(random.uniform(np.log(4), np.log(longest))))
        windows = max(2, round(seconds / 2))
        wanted = drawn(random, max(2, BUDGET // (windows * 50 + 120)))
        asked = [questions.draw(random, kind, label) for kind, label in wanted]
        counts = [windows * 50 - int(random.integers(50)) for _ in asked]
        stock = heard(learner)
        audio = torch.cat([stock.clip(random, *each, n) for each, n in zip(wanted, counts, strict=True)])
        return answered(
            learner, batch(questions, random, asked, counts), audio, random.random() < 0.5, 0.2, ending
        )

    return loss


def unheard(
    questions: Questions, heard: Callable[[Learner], Heard], longest: float
) -> Callable[[Learner, Random], Told]:
    """Teach the turn to end after the letter for any audio; every other step repeats the old task."""
    asks = answering(questions, heard, longest, ending=1.0)

    def loss(learner: Learner, random: Random) -> Told:
        if random.random() < 0.5:
            return asks(learner, random)
        windows = round(float(np.exp(random.uniform(np.log(2), np.log(longest / 2)))))
        count = windows * 50
        wanted = drawn(random, max(2, BUDGET // (count + 120)), UNHEARD)
        asked = [questions.draw(random, *each) for each in wanted]
        stock = heard(learner)
        audio = [strange(learner, random, stock.clip(random, *each, count)) for each in wanted]
        made = batch(questions, random, asked, [count] * len(asked))
        # what the letter should be is no longer sure
        return answered(learner, made, torch.cat(audio), random.random() < 0.5, 0.0, ending=1.0, letters=0.0)

    return loss


def strange(learner: Learner, random: Random, tokens: Tensor) -> Tensor:
    """Imitate an unknown sound source: shift every class's share through the whole clip."""
    moved = random.standard_normal(CLASSES).astype(np.float32) * STRANGE
    return tokens + torch.from_numpy(moved) @ learner.classes
