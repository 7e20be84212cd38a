"""Describes an audio file before it is built: its path, its length, and the pieces of source audio in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Piece:
    """Describes a stretch of a source file (in the source's frames) and where it lies in the output (in output frames).

    Fades are in output frames; `level_db` is the active level that the piece is scaled to, None for no scaling.
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
    """Describes one planned audio file: its path below the layout's root, its frames, its pieces and its fields."""

    audio: str
    rate: int
    frames: int
    pieces: tuple[Piece, ...]
    fields: Mapping[str, Any]

    @property
    def seconds(self) -> float:
        return self.frames / self.rate
