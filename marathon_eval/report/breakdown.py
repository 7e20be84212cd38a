"""One cell's answers to one task taken apart: confusion, letter positions, clip duration, classes, timing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from marathon_eval.report.sample_columns import CellColumns, ReadingColumns, TaskColumns
from marathon_eval.results.outcomes import ERROR, GRADED, RIGHT, UNANSWERED, UNSCORED, outcome_counts
from marathon_eval.scoring.stats import wilson

NO_ANSWER, OTHER = "no answer", "other"
#: More labels than this are no classes but open answers.
MOST_LABELS = 30
MOST_DURATION_BINS = 6


@dataclass(frozen=True)
class Share:
    """`right` of `n` rows, with a 95 % Wilson interval; rows of one clip count as independent here."""

    name: str
    right: int
    n: int
    low: float
    high: float

    @classmethod
    def of(cls, name: str, right: int, n: int) -> Share:
        interval = wilson(right, n)
        return cls(name, right, n, round(interval.low, 4), round(interval.high, 4))


@dataclass(frozen=True)
class Breakdown:
    """Empty tuples where a part does not apply (no classes, no letters, no durations, no right or wrong)."""

    counts: dict[str, int]
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    letters: tuple[tuple[str, int, int], ...]
    by_duration: tuple[Share, ...]
    by_class: tuple[Share, ...]
    by_field: dict[str, tuple[Share, ...]]
    majority: float | None


@dataclass(frozen=True)
class _Row:
    target: str
    answer: str | None
    code: str
    seconds: float | None
    fields: dict[str, Any]


def broken_down(task: TaskColumns, cell: CellColumns, reading: str) -> Breakdown:
    """All parts under one reading; failed rows are counted and otherwise left out."""
    codes = cell.readings[reading].codes if reading in cell.readings else []
    rows = list(_scored_rows(task, cell, cell.readings.get(reading, ReadingColumns())))
    labels = _labels(rows)
    judged = [] if any(row.code == GRADED for row in rows) else rows
    return Breakdown(
        counts=outcome_counts(codes),
        labels=labels,
        answers=(*labels, OTHER, NO_ANSWER) if labels else (),
        confusion=_confusion(rows, labels),
        letters=_letters(rows, labels),
        by_duration=_by_duration(judged),
        by_class=_shares((row.target, row) for row in judged) if labels else (),
        by_field=_by_field(judged),
        majority=_majority(rows) if labels else None,
    )


def _scored_rows(task: TaskColumns, cell: CellColumns, reading: ReadingColumns) -> Iterable[_Row]:
    for place, answer, code in zip(cell.places, reading.answers, reading.codes, strict=False):
        target = task.targets[place]
        if code not in (ERROR, UNSCORED) and target is not None:
            yield _Row(target, answer, code, task.seconds[place], task.fields[place])


def _labels(rows: Sequence[_Row]) -> tuple[str, ...]:
    found = sorted({row.target for row in rows})
    open_answers = len(found) > MOST_LABELS or 2 * len(found) > len(rows) > 4
    return () if open_answers or any(row.code == GRADED for row in rows) else tuple(found)


def _confusion(rows: Sequence[_Row], labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Counts [gold label, answer]: the labels, then OTHER, then NO_ANSWER."""
    pairs = Counter((row.target, _column(row, labels)) for row in rows)
    return tuple(tuple(pairs[gold, given] for given in (*labels, OTHER, NO_ANSWER)) for gold in labels)


def _column(row: _Row, labels: Sequence[str]) -> str:
    if row.code == UNANSWERED or row.answer is None:
        return NO_ANSWER
    # a right answer may be spelled otherwise than the gold label
    return row.target if row.code == RIGHT else row.answer if row.answer in labels else OTHER


def _letters(rows: Sequence[_Row], labels: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """(letter, times gold, times answered): a model that likes one position shows here."""
    if not labels or not all(len(label) == 1 and label.isalpha() for label in labels):
        return ()
    gold = Counter(row.target for row in rows)
    given = Counter(row.answer for row in rows)
    letters = sorted({*labels, *(a for a in given if a is not None and len(a) == 1)})
    return tuple((letter, gold[letter], given[letter]) for letter in letters)


def _by_duration(rows: Sequence[_Row]) -> tuple[Share, ...]:
    """Bins of about equally many rows, equal durations never split."""
    known = sorted((row.seconds, row.code == RIGHT) for row in rows if row.seconds is not None)
    if not known:
        return ()
    wanted = min(MOST_DURATION_BINS, max(1, len(known) // 20))
    edges = sorted({known[len(known) * part // wanted][0] for part in range(1, wanted)})
    bins: list[list[tuple[float, bool]]] = [[] for _ in range(len(edges) + 1)]
    for seconds, right in known:
        bins[sum(edge <= seconds for edge in edges)].append((seconds, right))
    return tuple(
        Share.of(f"{part[0][0]:.0f}–{part[-1][0]:.0f} s", sum(right for _, right in part), len(part))
        for part in bins
        if part
    )


def _by_field(rows: Sequence[_Row]) -> dict[str, tuple[Share, ...]]:
    """Every breakdown field with 2 to MOST_LABELS different values."""
    names = dict.fromkeys(name for row in rows for name in row.fields)
    found = {}
    for name in names:
        values = {_name(row.fields.get(name)) for row in rows}
        if 1 < len(values) <= MOST_LABELS:
            found[name] = _shares((_name(row.fields.get(name)), row) for row in rows)
    return found


def _name(value: Any) -> str:
    return "none" if value is None else str(value)


def _shares(named: Iterable[tuple[str, _Row]]) -> tuple[Share, ...]:
    counts: dict[str, list[int]] = {}
    for name, row in named:
        entry = counts.setdefault(name, [0, 0])
        entry[0] += row.code == RIGHT
        entry[1] += 1
    return tuple(Share.of(name, right, n) for name, (right, n) in sorted(counts.items()))


def _majority(rows: Sequence[_Row]) -> float | None:
    """Accuracy of always answering the most frequent gold label."""
    return max(Counter(row.target for row in rows).values()) / len(rows) if rows else None
