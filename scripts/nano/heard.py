"""Stores the trained encoder's outputs for the training sounds, so that long clips need no encoder."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nano.clips import ASKED, GROUPS, KINDS, Mixer
from nano.mels import PER_CHUNK
from nano.network import encoded

Random = np.random.Generator
#: Windows of two seconds kept for each class; encoded together in clips of CLIP windows.
KEPT, CLIP = 120, 6


class Heard:
    """Holds encoded windows [n, 50, HIDDEN] of every class."""

    def __init__(self, tower: Any, mixer: Mixer, random: Random) -> None:
        self.windows: dict[tuple[str, str], list[Tensor]] = defaultdict(list)
        with torch.no_grad():
            for kind in KINDS:
                for label in GROUPS[ASKED[kind]]:
                    for _ in range(KEPT // CLIP):
                        clip = mixer.clip(random, kind, label, CLIP * PER_CHUNK)
                        chunks = (
                            torch.from_numpy(clip.features).unflatten(1, (CLIP, PER_CHUNK)).transpose(0, 1)
                        )
                        self.windows[kind, label].append(encoded(tower, chunks).half())

    def clip(self, random: Random, kind: str, label: str, tokens: int) -> Tensor:
        """Return [tokens, HIDDEN]: windows of the class in random order; for speech, grouped by voice."""
        groups = self.windows[kind, label]
        found: list[Tensor] = []
        while sum(each.shape[0] * 50 for each in found) < tokens:
            found.append(groups[int(random.integers(len(groups)))])
        windows = torch.cat(found)
        order = torch.from_numpy(random.permutation(len(windows)))
        return windows[order].flatten(0, 1)[:tokens].float()
