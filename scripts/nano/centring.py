"""Between the encoder's training and the language model's: what the encoder says is brought to where it is expected.

The encoder learns to tell classes apart, which leaves a large part common to all that it says: what it denies. Taken
out of its last layer's bias, and scaled, its tokens are close to the class vectors that the language model has learnt.
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
    """Change the last layer so that a class that is not spoken of has a share of 0 in the mean, and one that is, of 1."""
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
    """[CLASSES] in the mean over a clip's tokens."""
    chunks = torch.from_numpy(features).unflatten(1, (WINDOWS, PER_CHUNK)).transpose(0, 1)
    return encoded(tower, chunks).mean(dim=(0, 1)) @ learner.classes.T / (EMBEDDED**2 * HIDDEN)


def _denied(kind: str) -> list[int]:
    """The classes that a clip of this kind says nothing of."""
    spoken_of = SPEECH if ASKED[kind] in SPEECH else (ASKED[kind],)
    return [place for group, span in SPAN.items() if group not in spoken_of for place in range(*span)]
