"""Joins pieces to training clips, and records what can be heard at every audio token."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nano.bank import Piece
from nano.mels import BINS, PER_TOKEN, features, overlaid
from nano.pieces import GENDERS, GENRES, MOODS, PLACES, SOUNDS

Random = np.random.Generator

#: What may be heard, in five groups; within a group at most one at a time.
GROUPS = {"genre": GENRES, "place": PLACES, "event": SOUNDS, "mood": MOODS, "gender": GENDERS}
SPAN: dict[str, tuple[int, int]] = {}
for _name, _labels in GROUPS.items():
    _first = max((last for _, last in SPAN.values()), default=0)
    SPAN[_name] = (_first, _first + len(_labels))
CLASSES = max(last for _, last in SPAN.values())
KINDS = ("genre", "place", "event", "acted", "spoken")
#: The group that a clip's question is about.
ASKED = {"genre": "genre", "place": "place", "event": "event", "acted": "mood", "spoken": "gender"}


def place_of(group: str, label: str) -> int:
    """Return the class's column."""
    return SPAN[group][0] + GROUPS[group].index(label)


class Clip(NamedTuple):
    """Holds `features` [BINS, T] and `heard` [T / 4, groups]: the class in its group, -1 for none, -2 for unknown."""

    features: NDArray[np.float32]
    heard: NDArray[np.int64]


class Mixer:
    """Joins clips of one class."""

    def __init__(self, bank: Sequence[Piece]) -> None:
        self.pieces: dict[tuple[str, str], list[Piece]] = defaultdict(list)
        self.voices: dict[tuple[str, str], dict[str, list[Piece]]] = defaultdict(lambda: defaultdict(list))
        for piece in bank:
            self.pieces[piece.kind, piece.label].append(piece)
            self.voices[piece.kind, piece.label][piece.voice].append(piece)

    def clip(self, random: Random, kind: str, label: str, frames: int) -> Clip:
        """Return a clip of the given number of mel frames."""
        if kind == "event":
            mel, sounding = self._events(random, label, frames)
        else:
            mel, sounding = self._joined(random, kind, label, frames)
        return Clip(features(_roughened(random, mel, kind)), self._heard(kind, label, sounding))

    def _joined(
        self, random: Random, kind: str, label: str, frames: int
    ) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """Join cuts of the class's pieces, for speech of one voice; return also who sounds at each token."""
        voices = self.voices[kind, label]
        voice = str(random.choice(sorted(voices)))
        mels: list[NDArray[np.float16]] = []
        length = 0
        while length < frames:
            piece = voices[voice][int(random.integers(len(voices[voice])))].mel
            first = int(random.integers(max(1, piece.shape[1] // 2))) if not mels else 0
            mels.append(piece[:, first:])
            length += mels[-1].shape[1]
        mel: NDArray[np.float32] = np.concatenate(mels, axis=1)[:, :frames].astype(np.float32)
        who = np.full(frames // PER_TOKEN, voice.split(" ")[0] or "it")
        if voice:
            loudest = mel.max(axis=0).reshape(-1, PER_TOKEN).max(axis=1)
            who[loudest < mel.max() - 3.5] = ""
        return mel, who

    def _events(
        self, random: Random, label: str, frames: int
    ) -> tuple[NDArray[np.float32], NDArray[np.str_]]:
        """Return a room in which the event occurs, rarely or often."""
        mel, _ = self._joined(random, "room", "room", frames)
        active = np.zeros(frames, bool)
        share, sounds = random.uniform(0.1, 0.7), self.pieces["event", label]
        while not active.any() or active.mean() < share:
            sound = sounds[int(random.integers(len(sounds)))].mel
            first = int(random.integers(max(1, frames - min(sound.shape[1], frames // 2))))
            overlaid(mel, sound, first)
            active[first : first + sound.shape[1]] = True
        tokens = active.reshape(-1, PER_TOKEN).mean(axis=1)
        return mel, np.where(tokens >= 0.5, "it", "")

    def _heard(self, kind: str, label: str, who: NDArray[np.str_]) -> NDArray[np.int64]:
        heard = np.full((len(who), len(GROUPS)), -1, np.int64)
        column = {group: number for number, group in enumerate(GROUPS)}
        sounding = who != ""
        if kind != "spoken":
            heard[sounding, column[ASKED[kind]]] = GROUPS[ASKED[kind]].index(label)
        else:
            heard[:, column["mood"]] = -2
        heard[who == "Other", column["gender"]] = -2
        for number, gender in enumerate(GENDERS):
            heard[who == gender, column["gender"]] = number
        return heard


def _roughened(random: Random, mel: NDArray[np.float32], kind: str) -> NDArray[np.float32]:
    """Change loudness and tone; the loudness of a voice stays informative of its mood."""
    gain = random.uniform(-0.12, 0.12) if kind == "acted" else random.uniform(-0.5, 0.5)
    tilt = np.linspace(-1, 1, BINS, dtype=np.float32)[:, None] * np.float32(random.uniform(-0.25, 0.25))
    if kind in ("acted", "spoken"):
        mel = _stretched(mel, random.uniform(0.95, 1.05))
    return mel + np.float32(gain) + tilt


def _stretched(mel: NDArray[np.float32], factor: float) -> NDArray[np.float32]:
    """Shift all frequencies up or down by a few bands, like another throat."""
    at = np.clip(np.arange(BINS) * factor, 0, BINS - 1.001)
    low, share = at.astype(int), (at % 1)[:, None].astype(np.float32)
    return np.asarray(mel[low] * (1 - share) + mel[low + 1] * share, np.float32)
