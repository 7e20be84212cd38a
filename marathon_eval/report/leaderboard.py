"""Builds the leaderboard: one row per run and, on request, per published model; columns in the benchmark's order."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from marathon_eval.api.results import TaskResult
from marathon_eval.report.published import Benchmark, PublishedColumn
from marathon_eval.report.runs import ReportRun
from marathon_eval.scoring.alike import headline_falls, headline_score, unlike


@dataclass(frozen=True)
class Score:
    """Holds a score (of a run: 0-100) and its 95 % interval; `whole` is False if some rows were not scored.

    `n` are the rows scored, where these are not all rows of the task, and `full_n` those of the chosen subset.
    `no_interval` is the reason why a score has no interval. `falls` is True where a lower score is better.
    """

    value: float
    low: float | None = None
    high: float | None = None
    whole: bool = True
    n: int | None = None
    full_n: int | None = None
    no_interval: str | None = None
    falls: bool = False


@dataclass(frozen=True)
class LeaderboardRow:
    """Holds the scores by task of a run or a published model; `kind` is run, published or reference.

    `plain` is False for runs that asked the tasks otherwise than their files say, or not on all rows.
    """

    name: str
    kind: str
    scores: dict[str, Score]
    average: Score | None
    plain: bool = True
    #: Why there is no average though every task has a score: their scores are unlike.
    no_average: str | None = None


@dataclass(frozen=True)
class Champion:
    """Names the best published model, run and reference of a category, each with its mean score."""

    group: str
    columns: tuple[str, ...]
    published: tuple[str, float] | None
    run: tuple[str, float] | None
    reference: tuple[str, float] | None


@dataclass(frozen=True)
class Board:
    """Holds the columns in order and the rows by falling average; `averaged` says whether any row has an average."""

    columns: tuple[PublishedColumn, ...]
    rows: tuple[LeaderboardRow, ...]
    averaged: bool
    #: Tasks of the columns whose files name no headline, so that runs have no score in them.
    without_headline: tuple[str, ...] = ()

    def falls(self, task: str) -> bool:
        """Return whether a lower score of a task is better, as of an error rate."""
        return any(row.scores[task].falls for row in self.rows if task in row.scores)

    @property
    def average_falls(self) -> bool:
        """Whether a lower average is better."""
        return any(row.average is not None and row.average.falls for row in self.rows)


def make_board(
    cells: Sequence[ReportRun],
    benchmark: Benchmark | None = None,
    with_published: bool = False,
    alone: bool = False,
) -> Board:
    """Build the leaderboard of these runs.

    The benchmark's columns come first: all of them `with_published`, else those of tasks that were run. Tasks
    outside the benchmark follow and do not count in the average; `alone` leaves them out, and runs of none but them.
    """
    tasks = list(dict.fromkeys(task for cell in cells for task in cell.tasks))
    columns = benchmark.columns if benchmark else ()
    inside = tuple(column for column in columns if with_published or column.task in tasks)
    benchmark_tasks = {column.task for column in columns}
    others = [task for task in tasks if task not in benchmark_tasks and not alone]
    outside = tuple(_other_column(task, columns) for task in others)
    asked = [cell for cell in cells if not alone or benchmark_tasks & cell.tasks.keys()]
    rows = [_cell_row(cell, benchmark, tasks) for cell in asked]
    if benchmark and with_published:
        rows += published_rows(benchmark)
    rows.sort(key=_place, reverse=True)
    shown = {column.task for column in inside + outside}
    unnamed = [
        name for name in tasks if name in shown and all(_unnamed(cell.tasks.get(name)) for cell in cells)
    ]
    averaged = any(row.average is not None for row in rows)
    return Board(inside + outside, tuple(rows), averaged, tuple(unnamed))


def _unnamed(task: TaskResult | None) -> bool:
    return task is None or task.headline is None


def _place(row: LeaderboardRow) -> float:
    if row.average is None:
        return -math.inf
    return -row.average.value if row.average.falls else row.average.value


def _other_column(task: str, columns: Sequence[PublishedColumn]) -> PublishedColumn:
    """Return the column of a task outside the benchmark; `race~1` is named and grouped as the benchmark does `race`."""
    name, mark, order = task.partition("~")
    known = next((column for column in columns if mark and column.task == name), None)
    return (
        PublishedColumn(task, f"{known.short}~{order}", known.group)
        if known
        else PublishedColumn(task, task, "")
    )


def score_of(task: TaskResult, all_rows: bool = True) -> Score | None:
    """Return the task's headline score on the 0-100 scale; None if it has none.

    `all_rows`: the run asked the subset that the task takes by default, in all lengths.
    """
    headline = task.headline_value()
    if headline is None or headline.value is None:
        return None
    low, high = sorted(headline.ci95) if headline.ci95 else (None, None)
    n_in = task.n_in(task.headline_reading)
    n = None if all_rows and n_in == task.full_n else n_in
    whole = task.coverage_of(task.headline_reading) == 1.0
    return Score(headline.value, low, high, whole, n, task.full_n, headline.no_interval, headline_falls(task))


def _cell_row(cell: ReportRun, benchmark: Benchmark | None, tasks: Sequence[str]) -> LeaderboardRow:
    all_rows = all((cell.selection or {}).get(name) is None for name in ("subset", "seconds"))
    found = {name: score_of(task, all_rows) for name, task in cell.tasks.items()}
    scores = {name: score for name, score in found.items() if score is not None}
    # a task in other orders of its options (`race~1`) is the same task, not one more of a mean
    averaged = [column.task for column in benchmark.columns] if benchmark else unpermuted(tasks)
    complete = len(averaged) > 1 and all(name in scores for name in averaged)
    no_average = unlike([headline_score(cell.tasks[name]) for name in averaged]) if complete else None
    complete = complete and no_average is None
    average = _average({name: scores[name] for name in averaged}, benchmark) if complete else None
    return LeaderboardRow(cell.label, "run", scores, average, cell.plain, no_average)


def unpermuted(tasks: Sequence[str]) -> list[str]:
    """Return the tasks without those that --permute_choices asked in another order, as `race~1`."""
    return [task for task in tasks if "~" not in task]


def _average(scores: Mapping[str, Score], benchmark: Benchmark | None) -> Score | None:
    """Return the benchmark's average; its interval adds the tasks' half-widths as independent errors.

    The interval is exact for a plain mean over tasks that share no clips; other averages have no interval.
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
    return Score(mean, low, high, whole, falls=any(score.falls for score in scores.values()))


def mean_interval(mean: float, scores: Sequence[Score]) -> tuple[float | None, float | None]:
    """Return the interval of a plain mean of independent scores; (None, None) unless each has an interval."""
    below, above = 0.0, 0.0
    for score in scores:
        if score.low is None or score.high is None:
            return None, None
        below += (score.value - score.low) ** 2
        above += (score.high - score.value) ** 2
    return mean - math.sqrt(below) / len(scores), mean + math.sqrt(above) / len(scores)


def published_rows(benchmark: Benchmark) -> list[LeaderboardRow]:
    """Return the rows of the benchmark's published table, with the averages that it prints."""
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
    """Return for each category the published model, run and reference with the highest mean over its columns.

    Runs in another condition or on fewer rows do not compete.
    """
    rows = {
        "published": published_rows(benchmark),
        "run": [r for r in board.rows if r.kind == "run" and r.plain],
    }
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
