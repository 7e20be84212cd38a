"""What is known beforehand of a released data set: layouts, counts, lengths, and its faults by name (known/*.yaml)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field

from marathon_eval.task.yaml.config import Keys
from marathon_eval.task.yaml.keys import parsed_config
from marathon_eval.task.yaml.loader import load_document

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.fault import Fault


class Expected(Keys):
    """One task: where its rows are (`metadata`, a file's name, and `tree`, a pattern on paths) and what to expect."""

    metadata: str | None = None
    tree: str | None = None
    transcripts: bool = False
    choices: list[str] = Field([])
    rows: int | None = None
    rate: int | None = None
    seconds: tuple[float, float] | None = None
    promised_seconds: float = Field(90, description="the length that the data set calls long")
    label: str | None = Field(
        None, description="the key of the class; empty for none, the answer's text where absent"
    )
    speaker: str | None = None
    also_true: str | None = Field(None, description="a list key: options named there are true as well")
    fixed_order: bool = Field(False, description="options stand in one order on purpose")


class KnownFault(Keys):
    """A fault that a release is known to have."""

    name: str
    task: str | list[str]
    kind: str
    match: str = Field("", description="a regular expression on the fault's place or what was seen")
    why: str

    def covers(self, fault: Fault) -> bool:
        """Whether a found fault is this one."""
        tasks = [self.task] if isinstance(self.task, str) else self.task
        same = fault.kind == self.kind and fault.task in tasks
        return same and any(re.search(self.match, text) for text in (fault.where, fault.seen))


class Dataset(Keys):
    """A released data set."""

    dataset: str
    tasks: dict[str, Expected]
    known: list[KnownFault] = Field([])

    def known_as(self, fault: Fault) -> KnownFault | None:
        """The known fault that explains a found one."""
        return next((known for known in self.known if known.covers(fault)), None)


def load_known(paths: Iterable[Path] | None = None) -> Dataset:
    """The shipped descriptions, or those of the given YAMLs, as one. Raises MarathonError with file and line."""
    found = sorted((Path(__file__).parent / "known").glob("*.yaml")) if paths is None else list(paths)
    parts = [parsed_config(load_document(path, Path), Dataset) for path in found]
    return Dataset(
        dataset=" + ".join(part.dataset for part in parts),
        tasks={name: task for part in parts for name, task in part.tasks.items()},
        known=[known for part in parts for known in part.known],
    )
