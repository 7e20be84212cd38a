"""Reads descriptions of released data sets (known/*.yaml): layouts, row counts, durations, known faults."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from marathon_eval.task.yaml.data_config import Keys
from marathon_eval.task.yaml.keys import parsed_config
from marathon_eval.task.yaml.loader import load_document

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.fault import Fault


class Expected(Keys):
    """Describes one task: where its rows are, and what doctor expects of them.

    `metadata` is the name of a JSON file with rows; `tree` is a pattern on the paths of files that are rows.
    """

    metadata: str | None = None
    tree: str | None = None
    transcripts: bool = False
    choices: list[str] = Field([])
    rows: int | None = None
    rate: int | None = None
    seconds: tuple[float, float] | None = None
    promised_seconds: float = Field(0, description="the shortest duration that the data set promises")
    label: str | None = Field(
        None,
        description="the key of a row's class; an empty text means no class, absent means the answer's text",
    )
    speaker: str | None = None
    also_true: str | None = Field(None, description="the key of a list of options that are true as well")
    mono: bool = Field(True, description="a file with more than one channel is a fault")
    same_options: bool = Field(True, description="all rows have equally many options")
    fixed_order: bool = Field(False, description="all rows have their options in the same order on purpose")


class KnownFault(Keys):
    """Describes a fault that a release is known to have, and why."""

    name: str
    task: str | list[str]
    kind: str
    match: str = Field(
        "", description="a regular expression that must match the fault's `where` or `seen` text"
    )
    why: str

    def covers(self, fault: Fault) -> bool:
        """Return whether this known fault explains a fault."""
        tasks = [self.task] if isinstance(self.task, str) else self.task
        same = fault.kind == self.kind and fault.task in tasks
        return same and any(re.search(self.match, text) for text in (fault.where, fault.seen))


class Dataset(Keys):
    """Describes a released data set: its tasks and its known faults."""

    dataset: str
    tasks: dict[str, Expected]
    known: list[KnownFault] = Field([])

    def known_as(self, fault: Fault) -> KnownFault | None:
        """Return the known fault that explains a fault, or None."""
        return next((known for known in self.known if known.covers(fault)), None)


def load_known(paths: Iterable[Path] | None = None) -> Dataset:
    """Merge the shipped descriptions, or those in `paths`, into one. Raises MarathonError with file and line."""
    files = sorted((Path(__file__).parent / "known").glob("*.yaml")) if paths is None else list(paths)
    parts = [parsed_config(load_document(path, Path), Dataset) for path in files]
    return Dataset(
        dataset=" + ".join(part.dataset for part in parts),
        tasks={name: task for part in parts for name, task in part.tasks.items()},
        known=[known for part in parts for known in part.known],
    )
