"""Reads the benchmarks' published tables from data/*.csv; data/published.json names columns and source of each."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marathon_eval.errors import unknown
from marathon_eval.files import PACKAGE

DATA = PACKAGE / "data"


@dataclass(frozen=True)
class PublishedColumn:
    """Describes one task's column: the benchmark's short name, its category, and its number of rows as a weight."""

    task: str
    short: str
    group: str
    rows: int = 1


@dataclass(frozen=True)
class PublishedRow:
    """Holds a published model's scores (None where the benchmark prints none) and its printed average."""

    name: str
    scores: dict[str, float | None]
    average: float | None
    #: True for what models are compared with, such as humans or random guessing.
    reference: bool


@dataclass(frozen=True)
class Benchmark:
    """Describes a benchmark: its columns in its own order, its published rows, and how it averages.

    `averaged` is "columns" (plain mean), "rows" (weighted by rows) or "groups" (mean of the categories' means).
    """

    name: str
    title: str
    source: str
    unit: str
    averaged: str
    columns: tuple[PublishedColumn, ...]
    rows: tuple[PublishedRow, ...]

    @property
    def groups(self) -> list[str]:
        """The categories, in column order."""
        return list(dict.fromkeys(column.group for column in self.columns))

    def average(self, scores: Mapping[str, float | None]) -> float | None:
        """Average the columns that have a score as the benchmark does.

        None if no column has a score, or if the categories are averaged and one of them is incomplete.
        """
        if self.averaged == "groups":
            means = [self.group_mean(group, scores) for group in self.groups]
            return None if None in means else _mean([(mean, 1) for mean in means if mean is not None])
        weight_by_rows = self.averaged == "rows"
        weighted = [(scores.get(c.task), c.rows if weight_by_rows else 1) for c in self.columns]
        return _mean([(score, weight) for score, weight in weighted if score is not None])

    def group_mean(self, group: str, scores: Mapping[str, float | None]) -> float | None:
        """Return the plain mean over a category's columns; None unless every column has a score."""
        values = [scores.get(column.task) for column in self.columns if column.group == group]
        return None if None in values else _mean([(score, 1) for score in values if score is not None])


def _mean(weighted: list[tuple[float, int]]) -> float | None:
    total = sum(weight for _, weight in weighted)
    return sum(score * weight for score, weight in weighted) / total if total else None


def benchmark_names() -> list[str]:
    """Return the names of the shipped tables."""
    return list(_described())


def published_benchmark(name: str) -> Benchmark:
    """Read one shipped table. Raises KeyError for a name that is not in `benchmark_names`."""
    described = _described()[name]
    columns = tuple(PublishedColumn(**column) for column in described["columns"])
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = tuple(_row(line, columns, described) for line in csv.DictReader(file))
    facts = {key: described[key] for key in ("title", "source", "unit", "averaged")}
    return Benchmark(name=name, columns=columns, rows=rows, **facts)


def benchmark_named(name: str | None, tasks: Iterable[str]) -> Benchmark | None:
    """Return the benchmark of this name; without one, that of the tasks. Raises MarathonError for an unknown name."""
    if name is None:
        return benchmark_of(tasks)
    if name not in benchmark_names():
        raise unknown("--benchmark", "benchmark with a published table", name, benchmark_names())
    return published_benchmark(name)


def benchmark_of(tasks: Iterable[str]) -> Benchmark | None:
    """Return the benchmark whose columns name most of these tasks; None if no benchmark has a column for them."""
    names = set(tasks)
    matches = {
        name: sum(column["task"] in names for column in described["columns"])
        for name, described in _described().items()
    }
    best = max(matches, key=lambda name: matches[name])
    return published_benchmark(best) if matches[best] else None


def _row(
    line: Mapping[str, str], columns: Iterable[PublishedColumn], described: Mapping[str, Any]
) -> PublishedRow:
    scores = {column.task: _number(line[column.task]) for column in columns}
    reference = line["model"] in described["references"]
    return PublishedRow(line["model"], scores, _number(line[described["average"]]), reference)


def _number(text: str) -> float | None:
    return float(text) if text else None


def _described() -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((DATA / "published.json").read_text(encoding="utf-8"))
    return loaded
