"""The leaderboard: runs, and on request the published models, in the benchmark's column order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marathon_eval.api.results import TaskResult
from marathon_eval.report.published import Benchmark, PublishedColumn
from marathon_eval.report.runs import ReportRun


@dataclass(frozen=True)
class Score:
    """One number, with its 95 % interval where there is one; `whole` False: not every row was scored."""

    value: float
    low: float | None = None
    high: float | None = None
    whole: bool = True


@dataclass(frozen=True)
class LeaderboardRow:
    """One line: a cell's scores by task, or a published model's. `kind` is run, published or reference."""

    name: str
    kind: str
    scores: dict[str, Score]
    average: Score | None


@dataclass(frozen=True)
class Champion:
    """The best of a category: the published model, and the best run here."""

    group: str
    columns: tuple[str, ...]
    published: tuple[str, float] | None
    run: tuple[str, float] | None
    reference: tuple[str, float] | None


@dataclass(frozen=True)
class Board:
    """Columns in order, rows by falling average. `averaged` says whether an Avg column makes sense."""

    columns: tuple[PublishedColumn, ...]
    rows: tuple[LeaderboardRow, ...]
    averaged: bool


def make_board(
    cells: Sequence[ReportRun], benchmark: Benchmark | None = None, with_published: bool = False
) -> Board:
    """The benchmark's columns that a row has a score in; tasks of no benchmark follow, not averaged."""
    tasks = list(dict.fromkeys(task for cell in cells for task in cell.tasks))
    own = benchmark.columns if benchmark else ()
    inside = tuple(column for column in own if with_published or column.task in tasks)
    known = {column.task for column in own}
    outside = tuple(PublishedColumn(task, task, "") for task in tasks if task not in known)
    rows = [_cell_row(cell, benchmark, tasks) for cell in cells]
    if benchmark and with_published:
        rows += published_rows(benchmark)
    rows.sort(key=lambda row: -math.inf if row.average is None else row.average.value, reverse=True)
    return Board(inside + outside, tuple(rows), any(row.average is not None for row in rows))


def score_of(task: TaskResult) -> Score | None:
    """The task's headline on its 0-100 scale."""
    found = task.headline_value()
    if found is None or found.value is None:
        return None
    low, high = sorted(found.ci95) if found.ci95 else (None, None)
    return Score(found.value, low, high, task.coverage == 1.0)


def _cell_row(cell: ReportRun, benchmark: Benchmark | None, tasks: Sequence[str]) -> LeaderboardRow:
    scores = {name: score for name, task in cell.tasks.items() if (score := score_of(task)) is not None}
    wanted = [column.task for column in benchmark.columns] if benchmark else list(tasks)
    complete = len(wanted) > 1 and all(name in scores for name in wanted)
    average = _average({name: scores[name] for name in wanted}, benchmark) if complete else None
    return LeaderboardRow(cell.label, "run", scores, average)


def _average(scores: Mapping[str, Score], benchmark: Benchmark | None) -> Score | None:
    """The benchmark's average; its interval adds the tasks' half-widths as independent errors.

    Exact for plain means over tasks that share no clips; where the average is none, there is no interval.
    """
    values: dict[str, float | None] = {name: score.value for name, score in scores.items()}
    plain = benchmark is None or benchmark.averaged == "columns"
    mean = sum(score.value for score in scores.values()) / len(scores) if plain else None
    if benchmark is not None and not plain:
        mean = benchmark.average(values)
    if mean is None:
        return None
    whole = all(score.whole for score in scores.values())
    low, high = mean_interval(mean, list(scores.values())) if plain else (None, None)
    return Score(mean, low, high, whole)


def mean_interval(mean: float, scores: Sequence[Score]) -> tuple[float | None, float | None]:
    """Interval of a plain mean of independent scores; none unless each has its own."""
    below, above = 0.0, 0.0
    for score in scores:
        if score.low is None or score.high is None:
            return None, None
        below += (score.value - score.low) ** 2
        above += (score.high - score.value) ** 2
    return mean - math.sqrt(below) / len(scores), mean + math.sqrt(above) / len(scores)


def published_rows(benchmark: Benchmark) -> list[LeaderboardRow]:
    """The benchmark's own table, averages as printed."""
    return [
        LeaderboardRow(
            row.name,
            "reference" if row.reference else "published",
            {task: Score(value) for task, value in row.scores.items() if value is not None},
            None if row.average is None else Score(row.average),
        )
        for row in benchmark.rows
    ]


def champions(board: Board, benchmark: Benchmark) -> list[Champion]:
    """Per category the published model, the run and the reference with the highest mean over its columns."""
    rows = {"published": published_rows(benchmark), "run": [r for r in board.rows if r.kind == "run"]}
    rows["reference"] = [row for row in rows["published"] if row.kind == "reference"]
    rows["published"] = [row for row in rows["published"] if row.kind == "published"]
    result = []
    for group in benchmark.groups:
        best = {kind: _best(candidates, group, benchmark) for kind, candidates in rows.items()}
        columns = tuple(column.short for column in benchmark.columns if column.group == group)
        result.append(Champion(group, columns, **best))
    return result


def _best(rows: Sequence[LeaderboardRow], group: str, benchmark: Benchmark) -> tuple[str, float] | None:
    means = []
    for row in rows:
        mean = benchmark.group_mean(group, {task: score.value for task, score in row.scores.items()})
        if mean is not None:
            means.append((row.name, mean))
    return max(means, key=lambda pair: pair[1]) if means else None
