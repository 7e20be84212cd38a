"""Gathers result folders into what the report's page shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from marathon_eval.report.breakdown import Breakdown, broken_down
from marathon_eval.report.leaderboard import Board, LeaderboardRow, make_board
from marathon_eval.report.published import Benchmark, benchmark_of
from marathon_eval.report.runs import ReportRun
from marathon_eval.report.sample_columns import TaskColumns
from marathon_eval.report.timing import Timing
from marathon_eval.results.files import read_samples


@dataclass
class Gathered:
    """Everything that was read from the samples files, by task and by cell label."""

    tasks: list[TaskColumns]
    breakdowns: dict[str, dict[str, Breakdown]]
    timings: dict[str, Timing]
    without_samples: list[str]


@dataclass(frozen=True)
class Report:
    """What a page is made of; `figures` are also what --plots writes."""

    cells: Sequence[ReportRun]
    board: Board
    benchmark: Benchmark | None
    gathered: Gathered

    @property
    def runs_board(self) -> list[LeaderboardRow]:
        return [row for row in self.board.rows if row.kind == "run"]


def make_report(cells: Sequence[ReportRun], with_published: bool = False) -> Report:
    """Read all samples once. Raises MarathonError for a damaged file."""
    known = benchmark_of(task for cell in cells for task in cell.tasks)
    return Report(cells, make_board(cells, known, with_published), known, gather(cells))


def gather(cells: Sequence[ReportRun]) -> Gathered:
    """Columns, breakdowns and timings of every task that has samples."""
    gathered = Gathered([], {}, {cell.label: Timing() for cell in cells}, [])
    for name in dict.fromkeys(task for cell in cells for task in cell.tasks):
        columns = TaskColumns(name)
        for number, cell in enumerate(cells):
            if name not in cell.tasks:
                continue
            if not (cell.folders[name] / f"samples_{name}.jsonl").is_file():
                gathered.without_samples.append(f"{cell.label}: {name}")
                continue
            added = columns.add_cell(number, cell.tasks[name], read_samples(cell.folders[name], name))
            gathered.timings[cell.label].add(added)
            gathered.breakdowns.setdefault(name, {})[cell.label] = broken_down(
                columns, added, columns.primary
            )
        if columns.cells:
            gathered.tasks.append(columns)
    return gathered
