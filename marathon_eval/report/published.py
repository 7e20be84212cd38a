"""The tables that the benchmarks published, as CSV; data/published.json says where each comes from."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from marathon_eval.files import PACKAGE

DATA = PACKAGE / "data"


@dataclass(frozen=True)
class PublishedColumn:
    """One task's column, with the benchmark's short name and category; `rows` weighs averages by rows."""

    task: str
    short: str
    group: str
    rows: int = 1


@dataclass(frozen=True)
class PublishedRow:
    """A published model; a score is None where the benchmark prints none. `average` is the printed one."""

    name: str
    scores: dict[str, float | None]
    average: float | None
    #: No model, but what models are held against: humans, random guessing.
    reference: bool


@dataclass(frozen=True)
class Benchmark:
    """A benchmark's columns in its own order, its published rows, and how it averages."""

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
        """The benchmark's own average of the columns that have a score; None when none has."""
        if self.averaged == "groups":
            means = [self.group_mean(group, scores) for group in self.groups]
            return None if None in means else _mean([(mean, 1) for mean in means if mean is not None])
        weight_by_rows = self.averaged == "rows"
        known = [(scores.get(c.task), c.rows if weight_by_rows else 1) for c in self.columns]
        return _mean([(score, weight) for score, weight in known if score is not None])

    def group_mean(self, group: str, scores: Mapping[str, float | None]) -> float | None:
        """Plain mean over a category's columns; None unless every one has a score."""
        found = [scores.get(column.task) for column in self.columns if column.group == group]
        return None if None in found else _mean([(score, 1) for score in found if score is not None])


def _mean(weighted: list[tuple[float, int]]) -> float | None:
    total = sum(weight for _, weight in weighted)
    return sum(score * weight for score, weight in weighted) / total if total else None


def benchmark_names() -> list[str]:
    """Names of the shipped tables."""
    return list(_described())


def published_benchmark(name: str) -> Benchmark:
    """One shipped table. Raises KeyError for a name that is not in `benchmark_names`."""
    described = _described()[name]
    columns = tuple(PublishedColumn(**column) for column in described["columns"])
    with (DATA / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        rows = tuple(_row(line, columns, described) for line in csv.DictReader(file))
    kept = {key: described[key] for key in ("title", "source", "unit", "averaged")}
    return Benchmark(name=name, columns=columns, rows=rows, **kept)


def benchmark_of(tasks: Iterable[str]) -> Benchmark | None:
    """The benchmark whose columns name most of these tasks; None where no column does."""
    wanted = set(tasks)
    counted = {
        name: sum(column["task"] in wanted for column in described["columns"])
        for name, described in _described().items()
    }
    best = max(counted, key=lambda name: counted[name])
    return published_benchmark(best) if counted[best] else None


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
