"""Rows of a data file, and audio that is stored inside one."""

from __future__ import annotations

from dataclasses import dataclass

from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import Source


@dataclass(frozen=True)
class StoredAudio:
    """Audio that a `datasets` column keeps in its own cache: a path that no row's text can forge."""

    path: str


@dataclass(frozen=True)
class Table:
    """All rows of one split, and where their files are; `source` None where `datasets` read them."""

    rows: list[Row]
    source: Source | None
    label: str
    sha256: str | None
