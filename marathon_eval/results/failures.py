"""Groups the errors of failed rows by their kind, and lists the rows of a run that are not right."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from marathon_eval.results.files import read_samples
from marathon_eval.results.outcomes import (
    ERROR,
    GRADED,
    NAMES,
    RIGHT,
    UNANSWERED,
    UNSCORED,
    WRONG,
    outcome_of,
)

#: Parts of an error that differ between rows which failed for the same reason: paths, addresses, quotes, numbers other
#: than a server's status code.
_OWN_PARTS = re.compile(
    r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|(?:[A-Za-z]:)?(?:[\w.~-]*[\\/])+[^\s:;,]*"""
    r"""|\b[\w-]+\.(?:wav|mp3|flac|ogg|m4a|opus)\b|\b0x[0-9a-f]+\b|\b(?=[a-f]*\d)[0-9a-f]{8,}\b"""
    r"""|(?<!http )(?<!status )(?<!code )(?<!code: )\b\d+(?:\.\d+)?""",
    re.IGNORECASE,
)
_SEVERAL = re.compile("…(?: …)+")
#: Outcomes that `show RUN --wrong` lists. A graded answer is neither right nor wrong.
NOT_RIGHT = (WRONG, UNANSWERED, ERROR)


@dataclass
class FailureKind:
    """Holds the rows that failed for one reason: the first row's error, and the number of rows by task."""

    error: str
    first: str
    rows: dict[str, int] = field(default_factory=dict)

    @property
    def count(self) -> int:
        """The rows of all tasks."""
        return sum(self.rows.values())


@lru_cache(maxsize=4096)
def failure_kind(error: str) -> str:
    """Return what rows that failed for the same reason share: the error without its paths, quoted texts and numbers."""
    return _SEVERAL.sub("…", _OWN_PARTS.sub("…", " ".join(error.split())))


def failure_kinds(failed: Iterable[tuple[str, int, str | None]]) -> list[FailureKind]:
    """Group (task, row, error) by the error without its paths, quoted texts and numbers; the most frequent first."""
    kinds: dict[str, FailureKind] = {}
    for task, row, error in failed:
        text = " ".join((error or "no reason given").split())
        kind = kinds.setdefault(failure_kind(text), FailureKind(text, f"{task} {row}"))
        kind.rows[task] = kind.rows.get(task, 0) + 1
    return sorted(kinds.values(), key=lambda kind: -kind.count)


@dataclass(frozen=True)
class ListedRow:
    """Holds one row of a run with its outcome under the task's headline reading."""

    task: str
    row: int
    outcome: str
    target: str | list[str] | None
    answer: str | None
    response: str | list[str] | None
    error: str | None
    score: float | None
    audio: list[str]


#: Reads the lines of a run's folder and task.
ReadRows = Callable[[Path, str], Iterable[dict[str, Any]]]


def rows_not_right(
    folder: Path,
    results: Mapping[str, Any],
    tasks: Sequence[str],
    reading: str | None = None,
    read: ReadRows = read_samples,
) -> Iterator[ListedRow]:
    """Yield the wrong, unanswered and failed rows of these tasks. Raises MarathonError for files that cannot be read.

    `read` gives the lines of a task: those of a finished run, or of one that goes on (unfinished.py).
    """
    outcomes = {NAMES[code] for code in NOT_RIGHT}
    for task in tasks:
        for listed in listed_rows(folder, results, task, reading, read):
            if listed.outcome in outcomes:
                yield listed


def listed_rows(
    folder: Path,
    results: Mapping[str, Any],
    task: str,
    reading: str | None = None,
    read: ReadRows = read_samples,
) -> Iterator[ListedRow]:
    """Yield all rows of a task with their outcomes under a reading (default: the headline's). Raises MarathonError."""
    headline = results["tasks"][task]["headline"] or {}
    shown = reading or headline.get("reading") or next(iter(results["tasks"][task]["readings"]), "")
    for row in read(folder, task):
        yield listed_row(task, row, shown, headline.get("metric", ""))


def listed_row(task: str, row: Mapping[str, Any], reading: str, metric: str) -> ListedRow:
    """Return one line of samples_<task>.jsonl with its outcome under a reading; `metric` is the headline's."""
    found = outcome_of(row, reading, metric)
    scored = row["readings"].get(reading) or {}
    return ListedRow(
        task,
        row["doc_id"],
        NAMES[found.code],
        row["target"],
        scored.get("answer"),
        row["response"],
        row["error"],
        found.score,
        [clip["path"] for clip in row["audio"]],
    )


def verdict_words(row: Mapping[str, Any], reading: str, metric: str) -> str:
    """Return `right`, `wrong: read as 'C'`, `graded 0.71` and the like for one answer."""
    found = outcome_of(row, reading, metric)
    word = NAMES[found.code]
    if found.code == GRADED and found.score is not None:
        return f"{word} {found.score:.3g}"
    if found.code in (RIGHT, WRONG):
        answer = row["readings"][reading]["answer"]
        return f"{word}: read as {answer!r}"
    if found.code == UNSCORED:
        scored = row["readings"].get(reading) or {}
        return f"{word}: {scored.get('rule') or 'the metric has no value for it'}"
    return word
