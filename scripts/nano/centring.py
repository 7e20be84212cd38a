"""Adjusts the encoder after its training, so that its outputs are close to what the language model has learnt.

The encoder learns to tell classes apart. Its outputs then share a large common part, which stands for the classes
that are absent. This part is subtracted from the bias of its last layer, and the outputs are scaled; its tokens are
then close to the class vectors that the language model has learnt.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nano.clips import ASKED, CLASSES, GROUPS, KINDS, SPAN, Mixer, place_of
from nano.losses import Learner
from nano.mels import PER_CHUNK
from nano.network import EMBEDDED, HIDDEN, encoded

Random = np.random.Generator
WINDOWS = 4
#: What is said of speech in any case: it has a voice and a mood.
SPEECH = ("mood", "gender")


def centred(learner: Learner, mixer: Mixer, random: Random) -> None:
    """Change the last layer so that the mean share of an absent class is 0, and that of a present class 1."""
    tower = learner.thinker.get_encoder(modality="audio")
    denied: list[list[float]] = [[] for _ in range(CLASSES)]
    said = []
    with torch.no_grad():
        for kind in KINDS:
            for label in GROUPS[ASKED[kind]]:
                shares = _shares(
                    learner, tower, mixer.clip(random, kind, label, WINDOWS * PER_CHUNK).features
                )
                for place in _denied(kind):
                    denied[place].append(float(shares[place]))
                if kind != "event":
                    here = place_of(ASKED[kind], label)
                    said.append((here, float(shares[here])))
        means = torch.tensor([float(np.mean(each)) for each in denied])
        scale = 1 / float(np.mean([share - float(means[place]) for place, share in said]))
        tower.proj.bias -= means @ learner.classes
        tower.proj.bias *= scale
        tower.proj.weight *= scale


def _shares(learner: Learner, tower: Any, features: Any) -> torch.Tensor:
    """Return the mean share of each class over a clip's tokens [CLASSES]."""
    chunks = torch.from_numpy(features).unflatten(1, (WINDOWS, PER_CHUNK)).transpose(0, 1)
    return encoded(tower, chunks).mean(dim=(0, 1)) @ learner.classes.T / (EMBEDDED**2 * HIDDEN)


def _denied(kind: str) -> list[int]:
    """Return the classes that are absent from a clip of this kind."""
    spoken_of = SPEECH if ASKED[kind] in SPEECH else (ASKED[kind],)
    return [place for group, span in SPAN.items() if group not in spoken_of for place in range(*span)]
