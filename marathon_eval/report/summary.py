"""Computes the rows of the report's plain tables: each run's settings, each task's counts, and timing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marathon_eval.api.results import TaskResult
from marathon_eval.report.breakdown import Breakdown
from marathon_eval.report.leaderboard import Score, score_of
from marathon_eval.report.runs import ReportRun
from marathon_eval.report.timing import TIMED, Timing

#: Headlines that the chance level of a task is a value of.
SHARES_OF_ROWS = ("accuracy", "acc", "exact_match")


@dataclass(frozen=True)
class TaskLine:
    """Holds one run's result on one task; fractions are 0-1, and None if they are not known."""

    cell: str
    task: str
    headline: str
    score: Score | None
    accuracy: float | None
    chance: float | None
    majority: float | None
    n_scored: int
    n_loaded: int
    n_meta: int
    n_errors: int
    coverage: float
    parse_rate: float | None


@dataclass(frozen=True)
class TimingLine:
    """Holds one run's median seconds per stage, of transcription last, audio seconds per second, share of audio tokens kept, peak GB."""

    cell: str
    medians: tuple[float | None, ...]
    speed: float | None
    kept: float | None
    peak_gb: float | None


def task_lines(
    cells: Sequence[ReportRun], breakdowns: Mapping[str, Mapping[str, Breakdown]]
) -> list[TaskLine]:
    """Return one line per task and run, task by task."""
    names = dict.fromkeys(name for cell in cells for name in cell.tasks)
    return [
        _task_line(cell.label, cell.tasks[name], breakdowns.get(name, {}).get(cell.label))
        for name in names
        for cell in cells
        if name in cell.tasks
    ]


def _task_line(label: str, task: TaskResult, parts: Breakdown | None) -> TaskLine:
    headline = task.headline or {}
    reading = headline.get("reading", next(iter(task.readings), ""))
    unanswered, n_in = task.n_unanswered.get(reading), task.n_in(reading)
    measured_majority = parts.majority if parts else None
    recorded_majority = _value(task, reading, "majority")
    return TaskLine(
        cell=label,
        task=task.task,
        headline=f"{reading} {headline.get('metric', '')}".strip(),
        score=score_of(task),
        accuracy=_value(task, reading, "accuracy", "acc"),
        chance=task.chance_of(reading),
        majority=measured_majority if recorded_majority is None else recorded_majority,
        n_scored=n_in,
        n_loaded=task.n_loaded,
        n_meta=task.n_meta,
        n_errors=task.n_errors,
        coverage=task.coverage_of(reading),
        parse_rate=None if unanswered is None or not n_in else 1 - unanswered / n_in,
    )


def _value(task: TaskResult, reading: str, *names: str) -> float | None:
    metrics = task.readings.get(reading, {})
    return next((metrics[name].value for name in names if name in metrics), None)


def chances(cells: Sequence[ReportRun]) -> dict[str, float]:
    """Return the chance level of each task that records one, in points of its headline if that is a share of rows."""
    found: dict[str, float] = {}
    for cell in cells:
        for name, task in cell.tasks.items():
            chance = task.chance_of(task.headline_reading)
            metric = (task.headline or {}).get("metric")
            if chance is not None and metric in SHARES_OF_ROWS:
                found.setdefault(name, chance * task.headline_scale)
    return found


def started_and_rows(cells: Sequence[ReportRun]) -> dict[str, str]:
    """Return, by run, the day it started and its scored rows, as `2026-11-21, 92 of 95 rows`."""
    found = {}
    for cell in cells:
        scored = sum(task.n_in(task.headline_reading) for task in cell.tasks.values())
        loaded = sum(task.n_loaded for task in cell.tasks.values())
        found[cell.label] = f"{cell.started[:10]}, {scored} of {loaded} rows"
    return found


def rows_by_task(cells: Sequence[ReportRun]) -> dict[str, int]:
    """Return the rows of each task's subset, of tasks that all runs agree about."""
    found: dict[str, set[int]] = {}
    for cell in cells:
        for name, task in cell.tasks.items():
            found.setdefault(name, set()).add(task.full_n)
    return {name: next(iter(sizes)) for name, sizes in found.items() if len(sizes) == 1}


def timing_lines(timings: Mapping[str, Timing]) -> list[TimingLine]:
    """Return one line per run whose answers have any timing."""
    lines = []
    for label, timing in timings.items():
        spreads = [timing.spread(stage) for stage in TIMED]
        if any(spreads):
            medians = tuple(spread.median if spread else None for spread in spreads)
            peak = timing.peak_bytes / 1e9 if timing.peak_bytes else None
            lines.append(TimingLine(label, medians, timing.speed, timing.kept, peak))
    return lines


def run_facts(cell: ReportRun) -> dict[str, Any]:
    """Return what identifies a run: settings, folders, start time, duration, package versions, condition."""
    settings = {key: value for key, value in cell.fingerprint.items() if value is not None}
    return {
        "label": cell.label,
        "fingerprint_sha256": cell.fingerprint_sha256,
        "settings": settings,
        "folders": list(dict.fromkeys(str(folder) for folder in cell.folders.values())),
        "started": cell.started,
        "wall_s": cell.wall_s,
        "interrupted": cell.interrupted,
        "versions": cell.versions,
        "condition": cell.condition,
        "selection": cell.selection,
        "selftest": cell.selftest,
    }
