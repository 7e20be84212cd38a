"""Collects a sweep's results by cell: scores, paired differences to the uncompressed model, tokens, times."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.results import SCHEMA_VERSION, scaled_interval
from marathon_eval.evaluator.sweep_costs import Costs
from marathon_eval.results.compared_rows import compared_rows
from marathon_eval.results.compressed_samples import rows_of
from marathon_eval.results.directions import marked
from marathon_eval.results.label import label_words
from marathon_eval.results.paired import ReadingDifference, TaskDifference, TaskRows, correct, paired_metrics
from marathon_eval.scoring.alike import headline_falls
from marathon_eval.scoring.stats import p_text
from marathon_eval.scoring.usage import STAGES

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult, TaskResult
    from marathon_eval.evaluator.sweep_cells import SweepCell

#: Bytes of the column `KV MB`.
_MEGABYTE = 1e6
#: Left-aligned columns of the terminal's table, which name a row.
SWEEP_TEXT_COLUMNS = ("task", "cell")
#: Right-aligned columns of the terminal's table.
NUMBERS = (
    "score",
    "vs none",
    "95 % CI",
    "lost",
    "won",
    "p (Holm)",
    "kept",
    "KV MB",
    "encode s",
    "prefill s",
    "decode s",
    "speed-up",
    "prefill in theory",
)


@dataclass
class TaskCell:
    """Holds a task's figures in one cell. Seconds are means per response, as if it ran alone, without warm-up."""

    kept: float | None
    seconds: dict[str, float | None]
    theoretical_speedup: float | None
    #: Mean bytes of a response's KV cache, after the press.
    kv_bytes: float | None = None
    score: float | None = None
    ci95: tuple[float, float] | None = None
    coverage: float = 0.0
    n: int = 0
    full_n: int = 0
    #: An uncompressed response's seconds over this cell's, on the documents that one session timed in both cells alike.
    measured_speedup: float | None = None
    #: The sizes of the batches, where they differ and leave no speed-up.
    unlike_batches: str | None = None
    difference: TaskDifference | None = None
    scale: float = 1.0
    lower_is_better: bool = False


@dataclass
class SweepTable:
    """Collects results: `add` each cell, the uncompressed one first; then `finish` corrects the p-values."""

    base: dict[str, TaskRows] = field(default_factory=dict)
    base_costs: dict[str, Costs] = field(default_factory=dict)
    cells: list[dict[str, Any]] = field(default_factory=list)
    tasks: dict[str, dict[str, TaskCell]] = field(default_factory=dict)
    #: Condition and selection shared by all cells, as results.json has them; None until the first cell is added.
    condition: Mapping[str, Any] | None = None
    selection: Mapping[str, Any] | None = None

    def add(self, cell: SweepCell, result: RunResult, folder: Path | None) -> None:
        """Add a cell's result. Only the rows of the uncompressed cell stay in memory."""
        self.condition, self.selection = result.condition, result.selection
        for task, entry in result.tasks.items():
            costs = Costs()
            rows = TaskRows(entry.summary(), compared_rows(costs.passing(rows_of(result.samples[task]))))
            if cell.press is None:
                self.base[task], self.base_costs[task] = rows, costs
            self.tasks.setdefault(task, {})[cell.label] = self._task_cell(cell, entry, rows, costs)
        self.cells.append(
            {
                "label": cell.label,
                "press": cell.press,
                "ratio": cell.ratio,
                "settings": result.fingerprint.get("press"),
                "fingerprint_sha256": result.fingerprint_sha256,
                "folder": None if folder is None else str(folder),
                "cache": result.cache,
                "asked_in_s": round(cell.seconds, 3),
                "groups": {name: group.get("score") for name, group in result.groups.items()},
            }
        )

    def _task_cell(self, cell: SweepCell, entry: TaskResult, rows: TaskRows, costs: Costs) -> TaskCell:
        task, headline = entry.task, entry.headline_value()
        figures = TaskCell(
            kept=costs.kept_share(),
            seconds=costs.mean_seconds(),
            theoretical_speedup=costs.theoretical_speedup(),
            kv_bytes=costs.mean_kv_bytes(),
        )
        figures.score, figures.ci95 = (None, None) if headline is None else (headline.value, headline.ci95)
        reading = entry.headline_reading
        figures.coverage, figures.n, figures.full_n = (
            entry.coverage_of(reading),
            entry.n_in(reading),
            entry.full_n,
        )
        figures.lower_is_better = headline_falls(entry)
        figures.scale = (entry.headline or {}).get("scale", 1.0)
        if cell.press is not None and task in self.base:
            difference = paired_metrics(task, self.base[task], rows)
            # the texts of flipped rows would fill memory over all cells, and no table shows them
            flips = [{"doc_id": flip["doc_id"]} for flip in difference.flips]
            figures.difference = replace(difference, flips=flips)
            figures.measured_speedup = costs.speedup(self.base_costs[task])
            figures.unlike_batches = costs.unlike_batches(self.base_costs[task])
        return figures

    def finish(self) -> None:
        """Apply Holm's correction to the p-values of each task's cells, reading by reading."""
        for cells in self.tasks.values():
            correct([cell.difference.readings for cell in cells.values() if cell.difference is not None])

    def as_json(self) -> dict[str, Any]:
        """Return the content of sweep.json, except the fields that the command adds about the whole pass."""
        tasks = {
            task: {label: _json_row(cell) for label, cell in cells.items()}
            for task, cells in self.tasks.items()
        }
        return {
            "schema_version": SCHEMA_VERSION,
            "condition": self.condition,
            "selection": self.selection,
            "cells": self.cells,
            "tasks": tasks,
        }


def _json_row(cell: TaskCell) -> dict[str, Any]:
    row = asdict(cell)
    if row["difference"] is not None:
        row["difference"]["flips"] = [flip["doc_id"] for flip in row["difference"]["flips"]]
    return row


def headline_of(difference: TaskDifference) -> tuple[ReadingDifference | None, str]:
    """Return the reading of the headline in a comparison, and the name of its metric."""
    headline: Mapping[str, Any] = difference.headline or {}
    name = headline.get("reading") or next(iter(difference.readings), "")
    reading = difference.readings.get(name)
    metric = headline.get("metric") or (next(iter(reading.metrics), "") if reading else "")
    return reading, metric


def sweep_table_title(table: SweepTable) -> str:
    """Return condition and selection of the sweep's cells as text."""
    return ", ".join(label_words(table.condition, table.selection)) if table.cells else ""


def table_sections(table: SweepTable) -> Iterator[list[list[str]]]:
    """Yield the rows of each task as text, the uncompressed cell first, then those of each group."""
    for task, cells in table.tasks.items():
        yield [
            [marked(task, cell.lower_is_better) if place == 0 else "", label, *_numbers(cell)]
            for place, (label, cell) in enumerate(cells.items())
        ]
    for name in sorted({name for cell in table.cells for name in cell["groups"]}):
        yield [
            [name if place == 0 else "", cell["label"], _digits(cell["groups"].get(name), 2)]
            for place, cell in enumerate(table.cells)
        ]


def _numbers(cell: TaskCell) -> list[str]:
    gain, interval, lost, won, p = "", "", "", "", ""
    if cell.difference is not None:
        reading, metric = headline_of(cell.difference)
        value = reading.metrics.get(metric) if reading else None
        if value is not None and value.difference is not None:
            gain = f"{value.difference * cell.scale:+.2f}"
        if value is not None:
            ends = scaled_interval(value.ci95, cell.scale) or ()
            interval = " to ".join(f"{end:+.2f}" for end in ends) or value.no_interval or ""
        if reading is not None and reading.discordance is not None:
            test = reading.discordance
            lost, won, p = str(test.only_a), str(test.only_b), p_text(test.holm_p)
    seconds = [_digits(cell.seconds[stage], 3) for stage in STAGES]
    speed = [_digits(cell.measured_speedup, 2), _digits(cell.theoretical_speedup, 2)]
    kept = "" if cell.kept is None else f"{cell.kept:.1%}"
    memory = "" if cell.kv_bytes is None else three_figures(cell.kv_bytes / _MEGABYTE)
    score = _digits(cell.score, 2)
    if score and cell.n != cell.full_n:
        score += f" n={cell.n} of {cell.full_n}"
    return [score, gain, interval, lost, won, p, kept, memory, *seconds, *speed]


def three_figures(number: float) -> str:
    """Return a number with three significant digits and no exponent, as in `0.0123`, `1.50` or `2048`."""
    if number == 0:
        return "0"
    return f"{number:.{max(0, 2 - math.floor(math.log10(abs(number))))}f}"


def _digits(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"
