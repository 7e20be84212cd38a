"""Analyses the training sounds once: a few thousand pieces, each with its class and its voice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from demo.fetch import Shelf, default_cache
from demo.voices import Speaker
from demo.waves import Wave
from nano import pieces
from nano.mels import Mel, log_mel

Random = np.random.Generator

#: How many pieces of each class (and, for speech, of each voice).
COUNTS = {"genre": 50, "place": 50, "event": 60, "room": 80, "acted": 8, "spoken": 20}
ROOM_SECONDS = 20.0


class Piece(NamedTuple):
    """Holds one sound; `kind` is genre, place, event, room, acted or spoken, `voice` is gender and name."""

    kind: str
    label: str
    voice: str
    mel: Mel


def bank(folder: Path, seed: int) -> list[Piece]:
    """Return the pieces of this seed, from the folder if they were made before."""
    file = folder / f"bank_{seed}.npz"
    if not file.is_file():
        made = list(_made(seed))
        folder.mkdir(parents=True, exist_ok=True)
        names = np.array(["|".join(piece[:3]) for piece in made])
        ends = np.cumsum([piece.mel.shape[1] for piece in made])
        np.savez(file, names=names, ends=ends, mel=np.concatenate([piece.mel for piece in made], axis=1))
    with np.load(file) as stored:
        mels = np.split(stored["mel"], stored["ends"][:-1], axis=1)
        split = (str(name).split("|") for name in stored["names"])
        return [Piece(kind, label, voice, mel) for (kind, label, voice), mel in zip(split, mels, strict=True)]


def _made(seed: int) -> Iterator[Piece]:
    random = np.random.default_rng([seed, 1])
    heard: dict[str, tuple[tuple[str, ...], Callable[[str], Wave]]] = {
        "genre": (pieces.GENRES, lambda label: pieces.music(random, label)),
        "place": (pieces.PLACES, lambda label: pieces.place(random, label)),
        "event": (pieces.SOUNDS, lambda label: pieces.event(random, label)),
        "room": (("room",), lambda label: pieces.room(random, ROOM_SECONDS)),
    }
    for kind, (labels, sound) in heard.items():
        for label in labels:
            for _ in range(COUNTS[kind]):
                yield Piece(kind, label, "", log_mel(sound(label)))
    yield from _said(random)


def _said(random: Random) -> Iterator[Piece]:
    speaker = Speaker(Shelf(default_cache()))
    for gender, names in pieces.VOICES["train"].items():
        for name in names:
            voice = f"{gender} {name}"
            for mood in pieces.MOODS:
                for _ in range(COUNTS["acted"]):
                    text = pieces.sentence(random, "train")
                    yield Piece(
                        "acted", mood, voice, log_mel(pieces.acted(random, speaker, name, mood, text))
                    )
            for _ in range(COUNTS["spoken"] if gender in pieces.GENDERS else 0):
                text = pieces.sentence(random, "train")
                yield Piece("spoken", gender, voice, log_mel(pieces.spoken(random, speaker, name, text)))
