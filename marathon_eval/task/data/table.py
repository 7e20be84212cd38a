"""Holds the rows of one split, and paths of audio that `datasets` stores."""

from __future__ import annotations

from dataclasses import dataclass

from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import Source

#: Formats of data files that rows.py reads, and those that `datasets` reads.
FORMATS = ("json", "jsonl", "csv", "parquet")
BUILDERS = ("arrow", "text", "audiofolder")


@dataclass(frozen=True)
class StoredAudio:
    """Holds the path of audio in the cache of `datasets`. A type of its own, which text in a row cannot imitate."""

    path: str


@dataclass(frozen=True)
class Table:
    """Holds all rows of one split and the source of their files; `source` is None for rows loaded by `datasets`."""

    rows: list[Row]
    source: Source | None
    label: str
    sha256: str | None
