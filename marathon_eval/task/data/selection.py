"""Selects the rows of a dataset to evaluate: subsets, class balance, --samples and --limit."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from random import Random
from typing import Any, NamedTuple, TypeVar

from marathon_eval.api.doc import Doc
from marathon_eval.errors import AudioError, MarathonError, did_you_mean, unknown
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.data_config import Balance, RowFilter, Subset

_R = TypeVar("_R", "Row", Doc)


class Row(NamedTuple):
    """Holds one row as in its file. `number` counts all rows from 0, before any selection."""

    number: int
    folder: str
    values: Any


def only(rows: Sequence[Row], rule: RowFilter | None, where: str) -> Sequence[Row]:
    """Return the rows that belong to the task. A row that is not an object belongs to every task.

    Raises MarathonError for a column that no row has.
    """
    if rule is None:
        return rows
    _refuse_unknown(rule.fields, rows, f"{where}: only_rows")
    matches = _matcher(rule)
    return [row for row in rows if not isinstance(row.values, Mapping) or matches(row)]


def _refuse_unknown(names: Iterable[str], rows: Sequence[Row], where: str) -> None:
    """Raise MarathonError for a column that no row has: such a rule would select nothing, silently."""
    unseen = set(names)
    columns: set[str] = set()
    for row in rows:
        if not unseen:
            return
        if isinstance(row.values, Mapping):
            unseen.difference_update(row.values)
            columns.update(row.values)
    if unseen and columns:  # without columns the error is that there are no rows
        name = min(unseen)
        raise MarathonError(
            f"{where}: no row has '{name}'.{did_you_mean(name, columns)} Rows have: {', '.join(sorted(columns))}"
        )


class ChosenSubset(NamedTuple):
    """Holds the subset of a run; `name` is None for all rows. `where` is the `file:line` of the dataset."""

    name: str | None
    rules: Subset
    where: str


@dataclass(frozen=True)
class Selected:
    """Holds the selected rows and the numbers of rows left out by filters and for missing audio."""

    rows: Sequence[Row]
    n_filtered: int
    n_missing: int
    subset: str | None


def subset_named(config: TaskConfig, name: str | None, where: str) -> ChosenSubset:
    """Return the subset that `--subset` names, else the task's default, else all rows.

    A task without subsets ignores `--subset`, so that the flag can be meant for other tasks of the run.
    Raises MarathonError with the nearest name for an unknown subset.
    """
    chosen = name if name is not None and config.subsets else config.default_subset
    if chosen is None:
        return ChosenSubset(None, Subset(), where)
    if chosen not in config.subsets:
        raise unknown(f"{where}: --subset", "subset", chosen, config.subsets)
    return ChosenSubset(chosen, config.subsets[chosen], where)


class RowLengths(NamedTuple):
    """Bounds the seconds of audio of a row, all its clips together; both bounds are inclusive."""

    least: float | None = None
    most: float | None = None

    def within(self, docs: Sequence[Doc]) -> list[Doc]:
        """Return the documents of these lengths. Documents of unknown length are kept and become error rows later."""
        if self.least is None and self.most is None:
            return list(docs)
        return [doc for doc in docs if self._allows(doc)]

    def _allows(self, doc: Doc) -> bool:
        if doc.error is not None:
            return True
        try:
            # 0.1 + 0.2 is above 0.3
            seconds = round(sum(audio.seconds for audio in doc.audio), 6)
        except AudioError:
            return True
        least, most = self.least or 0.0, math.inf if self.most is None else self.most
        return least <= seconds <= most


ANY_LENGTH = RowLengths()


def select(
    rows: Sequence[Row],
    subset: ChosenSubset,
    audio_name: Callable[[Row], str],
    dropped_missing: Callable[[Row], bool] | None,
) -> Selected:
    """Drop rows that the subset excludes, then rows with missing audio that may be dropped, then balance classes.

    Without any of these (`dropped_missing` None: no row may be dropped), the rows are returned as they are.
    Raises MarathonError where the subset names a column that no row has.
    """
    name, rules, where = subset
    for rule in rules.drop:
        _refuse_unknown(rule.fields, rows, f"{where}: subsets: {name}: drop")
    if rules.balance is not None:
        _refuse_unknown([rules.balance.by], rows, f"{where}: subsets: {name}: balance")
    filters = [_matcher(rule) for rule in rules.drop]
    filtered = rows
    if filters:
        filtered = [row for row in rows if not any(matches(row) for matches in filters)]
    available = filtered
    if dropped_missing is not None:
        available = [row for row in filtered if not dropped_missing(row)]
    chosen = available if rules.balance is None else balanced_rows(available, rules.balance, audio_name)
    n_filtered = len(rows) - len(filtered) + len(available) - len(chosen)
    return Selected(chosen, n_filtered, len(filtered) - len(available), name)


def balanced_rows(rows: Sequence[Row], balance: Balance, audio_name: Callable[[Row], str]) -> list[Row]:
    """Down-sample every class to the size of the smallest.

    Rows of a class are sorted by their audio's path as written; a larger class is replaced by
    `random.Random(seed).sample(rows, size)`, sorted again. Classes are interleaved in order of their names, so that
    any --limit is balanced too. Rows without a class, or with null, come last: no class has them, and they are asked too.
    """
    classes: dict[str, list[Row]] = {}
    nameless: list[Row] = []
    for row in sorted(rows, key=lambda row: (audio_name(row), row.number)):
        label = row.values.get(balance.by) if isinstance(row.values, Mapping) else None
        (nameless if label is None else classes.setdefault(_plain(label, True), [])).append(row)
    size = min(map(len, classes.values()), default=0)
    for label, members in classes.items():
        if len(members) > size:
            drawn = {row.number for row in Random(balance.seed).sample(members, size)}
            classes[label] = [row for row in members if row.number in drawn]
    turns = zip_longest(*(classes[label] for label in sorted(classes)))
    return [row for row in chain.from_iterable(turns) if row is not None] + nameless


def picked(
    rows: Sequence[_R], limit: float | None, samples: Sequence[int] | None, where: str
) -> Sequence[_R]:
    """Return the rows or documents with the numbers in --samples, or the first --limit rows.

    A limit below 1 is a fraction, rounded up, as in lm-eval. Raises MarathonError for an unknown row number, and for one
    that is named twice: it would count twice.
    """
    if samples is not None:
        by_number = {row.number if isinstance(row, Row) else row.doc_id: row for row in rows}
        absent = [number for number in samples if number not in by_number]
        if absent:
            raise MarathonError(
                f"{where}: --samples: row {absent[0]} is not among the {len(rows)} selected rows"
            )
        if repeated := [number for number, count in Counter(samples).items() if count > 1]:
            raise MarathonError(
                f"{where}: --samples: row {repeated[0]} is named {samples.count(repeated[0])} times; name each row once"
            )
        return [by_number[number] for number in samples]
    if limit is not None and limit <= 0:
        raise MarathonError(f"--limit: must be a number of rows or a fraction below 1, got {limit:g}")
    return rows if limit is None else rows[: math.ceil(limit if limit >= 1 else limit * len(rows))]


def _matcher(rule: RowFilter) -> Callable[[Row], bool]:
    allowed = {
        field: {
            _plain(value, rule.ignore_case) for value in (values if isinstance(values, list) else [values])
        }
        for field, values in rule.fields.items()
    }

    def matches(row: Row) -> bool:
        return isinstance(row.values, Mapping) and all(
            field in row.values and _plain(row.values[field], rule.ignore_case) in values
            for field, values in allowed.items()
        )

    return matches


def _plain(value: Any, ignore_case: bool) -> str:
    """Return a value as text, so that numbers and texts compare: the release writes person ids both ways."""
    text = str(value).strip()
    return text.casefold() if ignore_case else text
