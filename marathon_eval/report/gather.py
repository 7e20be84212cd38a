"""Gathers what a report shows from result folders: leaderboard, samples, breakdowns and timings."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from marathon_eval.evaluator.gc_pause import seldom_collected
from marathon_eval.report.breakdown import Breakdown, broken_down
from marathon_eval.report.curves import compared_over_ratios
from marathon_eval.report.documents import RunData
from marathon_eval.report.failed_rows import FailureLine, failed_row_lines
from marathon_eval.report.leaderboard import Board, LeaderboardRow, make_board
from marathon_eval.report.listening import Listening, listening
from marathon_eval.report.published import Benchmark, benchmark_named
from marathon_eval.report.runs import ReportRun
from marathon_eval.report.sample_columns import TaskColumns
from marathon_eval.report.timing import Timing
from marathon_eval.results.files import read_samples


@dataclass
class Gathered:
    """Holds what was read from the samples files.

    `breakdowns` are by task and run label, `timings` by run label; `without_samples` names runs and tasks
    (`label: task`) whose samples file is missing. `failures` are the reasons why rows failed, the most frequent first.
    """

    tasks: list[TaskColumns]
    breakdowns: dict[str, dict[str, Breakdown]]
    timings: dict[str, Timing]
    without_samples: list[str]
    failures: list[FailureLine] = field(default_factory=list)


@dataclass(frozen=True)
class Report:
    """Holds everything that a report's page and figures show; `benchmark` is None if no task belongs to one.

    `heard` is score minus control of the runs that have a control beside them.
    """

    cells: Sequence[ReportRun]
    board: Board
    benchmark: Benchmark | None
    gathered: Gathered
    heard: Sequence[Listening] = ()

    @property
    def outside_curves(self) -> list[str]:
        """The labels of runs with a press, or of a model with one, that the curves over ratios leave out."""
        compared = compared_over_ratios(self.cells)
        models = {cell.model for cell in self.cells if cell.press}
        return [cell.label for cell in self.cells if cell.model in models and cell not in compared]

    @property
    def runs_board(self) -> list[LeaderboardRow]:
        """The leaderboard's rows of runs, without published models."""
        return [row for row in self.board.rows if row.kind == "run"]


def make_report(cells: Sequence[ReportRun], with_published: bool = False, named: str | None = None) -> Report:
    """Build the leaderboard and read all samples files once; `named` is a benchmark whose columns alone it has.

    Raises MarathonError for a damaged file, and for an unknown benchmark.
    """
    benchmark = benchmark_named(named, (task for cell in cells for task in cell.tasks))
    board = make_board(cells, benchmark, with_published, alone=named is not None)
    with seldom_collected():
        gathered = gather(cells)
    return Report(cells, board, benchmark, gathered, listening(cells))


def gather(cells: Sequence[ReportRun]) -> Gathered:
    """Read the samples of every task and run into columns, breakdowns and timings. Raises MarathonError."""
    gathered = Gathered([], {}, {cell.label: Timing() for cell in cells}, [])
    for name in dict.fromkeys(task for cell in cells for task in cell.tasks):
        columns = TaskColumns(name)
        for number, cell in enumerate(cells):
            if name not in cell.tasks:
                continue
            if not (cell.folders[name] / f"samples_{name}.jsonl").is_file():
                gathered.without_samples.append(f"{cell.label}: {name}")
                continue
            rows = read_samples(cell.folders[name], name)
            cell_columns = columns.add_cell(number, cell.tasks[name], rows, _data(cell, name))
            gathered.timings[cell.label].add(cell_columns)
            gathered.breakdowns.setdefault(name, {})[cell.label] = broken_down(
                columns, cell_columns, columns.primary
            )
        if columns.cells:
            gathered.tasks.append(columns)
    gathered.failures = failed_row_lines(gathered.tasks, [cell.label for cell in cells])
    return gathered


def _data(cell: ReportRun, task: str) -> RunData:
    sha256 = (cell.manifests.get(task) or {}).get("manifest_sha256")
    return RunData(sha256 if isinstance(sha256, str) else None, "audio" in (cell.condition or {}))
