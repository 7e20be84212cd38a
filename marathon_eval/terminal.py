"""A run as a table in the terminal."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marathon_eval.results import MetricValue, RunResult, TaskResult

WIDTH_OF_A_PIPE = 140


def print_run(result: RunResult) -> None:
    """One row per task and reading, the groups below, and what the cache saved."""
    from rich.console import Console
    from rich.table import Table

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH_OF_A_PIPE)
    table = Table(title=f"{result.model}{press_label(result.fingerprint)}")
    for heading in ("task", "reading", "metric", "value", "95 % CI"):
        table.add_column(heading)
    for heading in ("n", "unanswered", "errors", "coverage"):
        table.add_column(heading, justify="right")
    for task in result.tasks.values():
        for row in task_rows(task):
            table.add_row(*row)
        table.add_section()
    for name, group in result.groups.items():
        table.add_row(*group_row(name, group))
    console.print(table)
    console.print(footer(result), markup=False, highlight=False)


def press_label(fingerprint: dict[str, Any]) -> str:
    press = fingerprint.get("press")
    return f", press {press['press']} ratio {press['ratio']}" if press else ""


def task_rows(task: TaskResult) -> list[list[str]]:
    """The headline metric first, then every other metric of every reading."""
    rows = []
    for reading, metrics in task.readings.items():
        for metric, value in metrics.items():
            headline = task.headline is not None and (reading, metric) == (
                task.headline["reading"],
                task.headline["metric"],
            )
            rows.append(
                (not headline, [reading, metric + (" *" if headline else ""), *numbers(value)], reading)
            )
    rows.sort(key=lambda row: row[0])
    counts = {reading: str(n) for reading, n in task.n_unanswered.items()}
    return [
        [
            task.task if not position else "",
            *cells,
            str(task.n_scored),
            counts.get(reading, ""),
            str(task.n_errors),
            f"{task.coverage:.1%}",
        ]
        for position, (_, cells, reading) in enumerate(rows)
    ] or [[task.task, "", "", "", "", str(task.n_scored), "", str(task.n_errors), f"{task.coverage:.1%}"]]


def group_row(name: str, group: dict[str, Any]) -> list[str]:
    score = group.get("score")
    text = "incomplete" if score is None else f"{score:.2f}"
    return [name, "", "mean of headlines", text, "", "", "", "", ""]


def numbers(value: MetricValue) -> list[str]:
    if value.value is None:
        return ["none", ""]
    interval = "" if value.ci95 is None else f"[{value.ci95[0]:.4f}, {value.ci95[1]:.4f}]"
    return [f"{value.value:.4f}", interval]


def footer(result: RunResult) -> str:
    hits, misses = result.cache["hits"], result.cache["misses"]
    text = f"* headline. {hits} answers from the cache, {misses} asked, {result.wall_s:.1f} s."
    if result.interrupted:
        text += " INTERRUPTED: the rows not asked are errors; the same command goes on from here."
    elif not result.whole:
        text += " INCOMPLETE: see the rows with status error in samples_<task>.jsonl."
    return text
