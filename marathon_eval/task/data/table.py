"""Holds the rows of one split, and names the formats that they are read from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import Source

#: Formats of data files that rows.py reads, and those that `datasets` reads.
FORMATS = ("json", "jsonl", "csv", "tsv", "parquet")
BUILDERS = ("arrow", "text", "audiofolder")


@dataclass(frozen=True)
class Table:
    """Holds all rows of one split and the source of their files.

    `embedded` has the paths of audio that stood inside the table, by the name that rows have in its place. Without
    `sounds_needed` a row whose sound file is not there is no error: its answer is in a finished run.
    """

    rows: Sequence[Row]
    source: Source | None
    label: str
    sha256: str | None
    embedded: dict[str, str] = field(default_factory=dict)
    sounds_needed: bool = True
