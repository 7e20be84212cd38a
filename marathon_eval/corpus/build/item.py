"""One recording to be built, and the pieces of source audio in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Piece:
    """A stretch of a source (its own frames) and where it lies in the output (output frames).

    Fades are in output frames; `level_db` is the active level it is brought to, None for as it is.
    """

    source: str
    start: int
    stop: int
    rate: int
    at: int
    length: int
    fade_in: int = 0
    fade_out: int = 0
    level_db: float | None = None
    fields: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Item:
    """One audio file to be: its path below the layout's root, its frames, its pieces and what is known of it."""

    audio: str
    rate: int
    frames: int
    pieces: tuple[Piece, ...]
    fields: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        return self.frames / self.rate
