"""Breaks one run's answers to one task down: confusion, answer letters, accuracy by duration, class and field."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, NamedTuple

from marathon_eval.report.crossed import Crossed, crossed
from marathon_eval.report.sample_columns import CellColumns, ReadingColumns, TaskColumns
from marathon_eval.results.outcomes import ERROR, GRADED, RIGHT, UNANSWERED, UNSCORED, outcome_counts
from marathon_eval.scoring.intervals import count_interval
from marathon_eval.scoring.value_labels import value_key, value_labels

NO_ANSWER, OTHER = "no answer", "other"
#: A task with more different gold labels than this counts as one with open answers, not classes.
MOST_LABELS = 30
MOST_DURATION_BINS = 6
#: Up to so many different durations, in whole seconds, each is a bin of its own.
MOST_OWN_DURATIONS = 8


@dataclass(frozen=True)
class Share:
    """Counts `right` of `n` rows, with a 95 % interval that takes rows of one clip as independent; None: n too small.

    `ends` are the least and the greatest seconds of a share by duration.
    """

    name: str
    right: int
    n: int
    low: float | None
    high: float | None
    ends: tuple[float, float] | None = None

    @classmethod
    def of(cls, name: str, right: int, n: int, ends: tuple[float, float] | None = None) -> Share:
        """Compute the interval for the counts."""
        found = count_interval(right, n).ci95
        low, high = (None, None) if found is None else (round(found[0], 4), round(found[1], 4))
        return cls(name, right, n, low, high, ends)


@dataclass(frozen=True)
class MeanScore:
    """Holds the mean of the rows' own values of the headline's metric, over `n` graded rows of like duration."""

    name: str
    value: float
    n: int
    ends: tuple[float, float]


@dataclass(frozen=True)
class Breakdown:
    """Holds the parts of a breakdown; a part that does not apply (no classes, letters or durations) is empty.

    `confusion` has a row per label and a column per entry of `answers`; `letters` are (letter, times gold, times
    answered); `graded_by_duration` stands in place of `by_duration` for graded rows, such as those with an error rate;
    `many` has the number of values of breakdown columns that have too many; `crossed` is accuracy by two columns of numbers; `majority` is the accuracy (0-1) of always giving the label that is right in most rows.
    """

    counts: dict[str, int]
    labels: tuple[str, ...]
    answers: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    letters: tuple[tuple[str, int, int], ...]
    by_duration: tuple[Share, ...]
    by_class: tuple[Share, ...]
    by_field: dict[str, tuple[Share, ...]]
    graded_by_duration: tuple[MeanScore, ...]
    many: dict[str, int]
    crossed: Crossed | None
    majority: float | None


class _Row(NamedTuple):
    # a tuple, because a report makes one for each of 250,000 answers
    target: str
    answer: str | None
    code: str
    seconds: float | None
    fields: Mapping[str, Any]
    score: float | None
    golds: tuple[str, ...]


def broken_down(task: TaskColumns, cell: CellColumns, reading: str) -> Breakdown:
    """Break a run's answers down under one reading; failed rows appear in `counts` only."""
    codes = cell.readings[reading].codes if reading in cell.readings else []
    rows = list(_scored_rows(task, cell, cell.readings.get(reading, ReadingColumns())))
    labels = _labels(rows)
    graded = any(row.code == GRADED for row in rows)
    right_or_wrong = [] if graded else rows
    names = {
        name: value_labels(
            (value_key(task.asked(cell, place).fields.get(name)) for place in cell.places), "none"
        )
        for name in cell.breakdown
    }
    by_field, many = _by_field(right_or_wrong, names)
    return Breakdown(
        counts=outcome_counts(codes),
        labels=labels,
        answers=(*labels, OTHER, NO_ANSWER) if labels else (),
        confusion=_confusion(rows, labels),
        letters=_letters(rows, labels),
        by_duration=_by_duration(right_or_wrong),
        by_class=_shares((row.target, row) for row in right_or_wrong) if labels else (),
        by_field=by_field,
        graded_by_duration=_graded_by_duration(rows) if graded else (),
        many=many,
        crossed=crossed([(row.fields, row.code == RIGHT) for row in right_or_wrong], cell.breakdown),
        majority=_majority(rows) if labels else None,
    )


def _scored_rows(task: TaskColumns, cell: CellColumns, reading: ReadingColumns) -> Iterable[_Row]:
    for place, answer, code, score in zip(
        cell.places, reading.answers, reading.codes, reading.scores, strict=False
    ):
        asked = task.asked(cell, place)
        if code not in (ERROR, UNSCORED) and asked.target is not None:
            golds = asked.golds or (asked.target,)
            yield _Row(asked.target, answer, code, asked.seconds, asked.fields, score, golds)


def _labels(rows: Sequence[_Row]) -> tuple[str, ...]:
    """Return the different gold labels; none for a task with open or graded answers."""
    targets = sorted({row.target for row in rows})
    open_answers = len(targets) > MOST_LABELS or 2 * len(targets) > len(rows) > 4
    return () if open_answers or any(row.code == GRADED for row in rows) else tuple(targets)


def _confusion(rows: Sequence[_Row], labels: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """Count rows by [gold label, answer]; the columns are the labels, then OTHER, then NO_ANSWER."""
    pairs = Counter((row.target, _column(row, labels)) for row in rows)
    return tuple(tuple(pairs[gold, answer] for answer in (*labels, OTHER, NO_ANSWER)) for gold in labels)


def _column(row: _Row, labels: Sequence[str]) -> str:
    if row.code == UNANSWERED or row.answer is None:
        return NO_ANSWER
    # a right answer counts as the gold label, even if it is spelled differently
    return row.target if row.code == RIGHT else row.answer if row.answer in labels else OTHER


def _letters(rows: Sequence[_Row], labels: Sequence[str]) -> tuple[tuple[str, int, int], ...]:
    """Return (letter, times gold, times answered) per letter, which shows a model's preference for one position."""
    if not labels or not all(len(label) == 1 and label.isalpha() for label in labels):
        return ()
    gold = Counter(row.target for row in rows)
    answered = Counter(row.answer for row in rows)
    letters = sorted({*labels, *(a for a in answered if a is not None and len(a) == 1)})
    return tuple((letter, gold[letter], answered[letter]) for letter in letters)


def _by_duration(rows: Sequence[_Row]) -> tuple[Share, ...]:
    """Return accuracy by duration, in the bins of `_duration_bins`."""
    bins = _duration_bins(
        [(row.seconds, float(row.code == RIGHT)) for row in rows if row.seconds is not None]
    )
    return tuple(
        Share.of(_span(part), sum(right > 0 for _, right in part), len(part), (part[0][0], part[-1][0]))
        for part in bins
    )


def _graded_by_duration(rows: Sequence[_Row]) -> tuple[MeanScore, ...]:
    """Return the mean score in the same bins, of the rows that have one."""
    bins = _duration_bins(
        [(row.seconds, row.score) for row in rows if row.seconds is not None and row.score is not None]
    )
    return tuple(
        MeanScore(
            _span(part), sum(score for _, score in part) / len(part), len(part), (part[0][0], part[-1][0])
        )
        for part in bins
    )


def _duration_bins(timed: list[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Sort (seconds, value) into bins, each in the order of the seconds.

    Few different durations, in whole seconds, are a bin each; else the bins have about the same number of rows, and
    rows of equal duration share one.
    """
    if not timed:
        return []
    timed.sort()
    if len({round(seconds) for seconds, _ in timed}) <= MOST_OWN_DURATIONS:
        return [list(part) for _, part in groupby(timed, key=lambda pair: round(pair[0]))]
    n_bins = min(MOST_DURATION_BINS, max(1, len(timed) // 20))
    edges = sorted({timed[len(timed) * part // n_bins][0] for part in range(1, n_bins)})
    bins: list[list[tuple[float, float]]] = [[] for _ in range(len(edges) + 1)]
    for seconds, value in timed:
        bins[sum(edge <= seconds for edge in edges)].append((seconds, value))
    return [part for part in bins if part]


def _span(part: Sequence[tuple[float, float]]) -> str:
    first, last = round(part[0][0]), round(part[-1][0])
    return f"{first} s" if first == last else f"{first}–{last} s"


def _by_field(
    rows: Sequence[_Row], names: Mapping[str, Mapping[Hashable, str]]
) -> tuple[dict[str, tuple[Share, ...]], dict[str, int]]:
    """Return accuracy by value for every breakdown column with 2 to MOST_LABELS values, and the columns with more.

    `names` has for each column the names of its values over all rows of the run, by which the page finds them too.
    """
    shares, many = {}, {}
    for column, name_of in names.items():
        named = [(name_of[value_key(row.fields.get(column))], row) for row in rows]
        n_values = len({name for name, _ in named})
        if n_values > MOST_LABELS:
            many[column] = n_values
        elif n_values > 1:
            shares[column] = _shares(named)
    return shares, many


def _shares(named: Iterable[tuple[str, _Row]]) -> tuple[Share, ...]:
    counts: dict[str, list[int]] = {}
    for name, row in named:
        entry = counts.setdefault(name, [0, 0])
        entry[0] += row.code == RIGHT
        entry[1] += 1
    return tuple(Share.of(name, right, n) for name, (right, n) in sorted(counts.items(), key=_natural))


def _natural(item: tuple[str, Any]) -> list[tuple[bool, float, str]]:
    """Return a key that sorts `9 s` before `10 s`."""
    parts = re.split(r"(\d+(?:\.\d+)?)", item[0])
    return [(place % 2 == 0, float(part) if place % 2 else 0.0, part) for place, part in enumerate(parts)]


def _majority(rows: Sequence[_Row]) -> float | None:
    """Return the accuracy of always answering with the label that is right in most rows."""
    right = Counter(gold for row in rows for gold in {*row.golds})
    return max(right.values(), default=0) / len(rows) if rows else None
