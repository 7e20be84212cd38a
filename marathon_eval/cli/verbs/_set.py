"""Runs an evaluation set (cli/evaluation_set.py): each of its runs, one table of all, and one exit code.

Answers are in the cache as soon as they come, so the same command goes on where it was stopped. A run that is refused,
because its weights are absent for example, does not keep the others from running.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_MISTAKE, EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.cli.token_maps import lacking_maps, say_lacking
from marathon_eval.cli.verbs._lm_eval_flags import print_before
from marathon_eval.cli.verbs.run import (
    checked_run_config,
    evaluated,
    log_result,
    planned,
    show_dry_run,
    written_run,
)
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.report.leaderboard import Board
    from marathon_eval.report.runs import ReportRun

SET_PIPE_WIDTH = 180
NEXT_FOR_A_SET = (
    "next: marathon-eval leaderboard {0}, report {0}, compare RUN OTHER with two of the folders above"
)


@dataclass
class _Row:
    """Holds one run of the set: its flags, and what came of it."""

    name: str
    arguments: argparse.Namespace
    config: RunConfig
    summary: dict[str, Any] | None = None
    #: The rows that failed, those that were not asked for the run was interrupted, and whether every row was scored.
    failed: int = 0
    not_reached: int = 0
    whole: bool = False
    interrupted: bool = False
    refused: str | None = None
    folder: Path | None = None


@dataclass
class _Set:
    rows: list[_Row] = field(default_factory=list)
    asked: int = 0
    #: Runs that --log_to could not log.
    unlogged: int = 0

    @property
    def interrupted(self) -> bool:
        return any(row.interrupted for row in self.rows)

    def exit_code(self) -> int:
        """Return the code of the worst run: interrupted, refused, incomplete, whole."""
        if self.interrupted:
            return EXIT_INTERRUPTED
        if self.unlogged or any(row.refused is not None for row in self.rows):
            return EXIT_MISTAKE
        return EXIT_WHOLE if all(row.whole for row in self.rows) else EXIT_INCOMPLETE


def run_set(runs: Mapping[str, argparse.Namespace]) -> int:
    """Check every run of a set, then evaluate them; `runs` are their flags by name. Return the exit code.

    Raises MarathonError that names all runs whose flags, tasks, model or press are wrong, before anything is asked.
    """
    from marathon_eval.evaluator.workers.launched import launched

    if launched() is not None:
        raise MarathonError("--config: an evaluation set is one process; --workers N answers in several")
    found = _Set(_checked(runs))
    first = found.rows[0].arguments
    if first.dry_run:
        return _dry_runs(found)
    for at, row in enumerate(found.rows, 1):
        _run(row, f"run {at} of {len(found.rows)}", found)
        if found.interrupted:
            break
    for _ in range(first.retry):
        again = [row for row in found.rows if not row.whole]
        if not again or found.interrupted:
            break
        for at, row in enumerate(again, 1):
            _run(row, f"again {at} of {len(again)}", found)
            if found.interrupted:
                break
    if found.rows[0].config.output_path is not None:
        print(NEXT_FOR_A_SET.format(found.rows[0].config.output_path), file=sys.stderr)
    _print(found, first.json)
    return found.exit_code()


def _checked(runs: Mapping[str, argparse.Namespace]) -> list[_Row]:
    """Return the runs with their configs. Raises one MarathonError for all that are wrong."""
    from marathon_eval.evaluator.evaluator import run_parts

    rows, problems = [], dict[str, list[str]]()
    for name, arguments in runs.items():
        try:
            config = checked_run_config(arguments)
            run_parts(config)
            rows.append(_Row(name, arguments, config))
        except MarathonError as error:
            problems.setdefault(str(error), []).append(name)
    if problems:
        texts = [f"{error} (run: {'; '.join(names)})" for error, names in problems.items()]
        raise MarathonError("; and ".join(texts))
    return rows


def _dry_runs(found: _Set) -> int:
    """Print the dry run of every run. Raises MarathonError that names all faults."""
    plans = {row.name: planned(row.config) for row in found.rows}
    if found.rows[0].arguments.json:
        print(json.dumps({"runs": {name: plan.as_json() for name, plan in plans.items()}}, indent=1))
    faults: dict[str, None] = {}
    for name, plan in plans.items():
        faults |= dict.fromkeys(plan.faults)
        if not found.rows[0].arguments.json:
            print(f"run: {name}")
            with suppress(MarathonError):  # raised below, for all runs at once
                show_dry_run(plan, as_json=False)
            print()
    if faults:
        raise MarathonError("; and ".join(faults))
    return EXIT_INCOMPLETE if any(plan.unasked for plan in plans.values()) else EXIT_WHOLE


def _run(row: _Row, place: str, found: _Set) -> None:
    """Evaluate one run, write its files and note what came of it."""
    print(f"marathon-eval: {place}: {row.name}", file=sys.stderr, flush=True)
    print_before(row.config, row.arguments)
    try:
        result = evaluated(row.arguments, row.config)
    except MarathonError as error:
        from marathon_eval.api.secrets import without_all_secrets

        row.refused = without_all_secrets(str(error))
        print(f"marathon-eval: error: {printable(row.refused)}", file=sys.stderr, flush=True)
        return
    except KeyboardInterrupt:
        row.interrupted = True
        return
    found.asked += result.cache["misses"]
    row.refused, row.folder = None, _stored(result, row, found)
    row.summary, row.whole, row.interrupted = result.summary(), result.whole, result.interrupted
    row.not_reached = result.n_not_reached
    row.failed = sum(task.n_errors for task in result.tasks.values()) - row.not_reached
    _say_failures(result)
    say_lacking(lacking_maps(result))


def _stored(result: RunResult, row: _Row, found: _Set) -> Path | None:
    """Return the folder with the run's files; a stored run with the same outcome is not written or logged again."""
    from marathon_eval.results.files import equal_run_below

    same = None
    if row.config.output_path is not None and row.config.log_samples and not row.arguments.export:
        same = equal_run_below(Path(row.config.output_path), result)
    if same is not None:
        return same
    folder = written_run(result, row.arguments, row.config)
    try:
        log_result(result, folder, row.arguments)
    except MarathonError as error:
        found.unlogged += 1
        print(f"marathon-eval: error: {printable(str(error))}", file=sys.stderr, flush=True)
    return folder


def _say_failures(result: RunResult) -> None:
    """Print why rows of one run failed, on standard error."""
    from marathon_eval.cli.terminal import failure_lines

    for line in failure_lines(result):
        print(printable(line), file=sys.stderr)


def _print(found: _Set, as_json: bool) -> None:
    """Print the table of all runs that were scored, or JSON, and what came of the others."""
    from marathon_eval.report.leaderboard import make_board
    from marathon_eval.report.published import benchmark_of
    from marathon_eval.report.runs import labelled_runs
    from marathon_eval.report.tables import table_as_json

    cells = labelled_runs([_as_read(row) for row in found.rows if row.summary is not None])
    board = make_board(cells, benchmark_of(task for cell in cells for task in cell.tasks)) if cells else None
    if as_json:
        summary = {
            "runs": [
                {"name": row.name, "whole": row.whole, "error": row.refused, "results": row.summary}
                for row in found.rows
            ],
            "interrupted": found.interrupted,
            "leaderboard": None if board is None else table_as_json(board),
        }
        print(json.dumps(summary, indent=1))
        return
    if board is not None:
        _print_board(board, cells)
    for line in _closing_lines(found):
        print(printable(line))


def _as_read(row: _Row) -> dict[str, Any]:
    """Return a run's results as the reader of result folders has them."""
    assert row.summary is not None
    tasks = row.summary["tasks"]
    return {
        **row.summary,
        "folders": dict.fromkeys(tasks, row.folder or Path()),
        "configs": dict.fromkeys(tasks, row.summary["config"]),
    }


def _print_board(board: Board, runs: Sequence[ReportRun]) -> None:
    """Print a row per run: each task's score (0-100) with its interval, and the average.

    A task without a headline has its first metric, on the metric's own scale.
    """
    from marathon_eval.cli.fitted_table import FittedTable, print_sentences, table_console
    from marathon_eval.report.tables import board_notes, cell_text
    from marathon_eval.results.directions import marked

    columns = [(column.task, _first_metrics(column.task, runs)) for column in board.columns]
    headings = [
        f"{task} {next(iter(plain.values()))[0]}" if plain else marked(task, board.falls(task))
        for task, plain in columns
    ]
    average = [marked("average", board.average_falls)] if board.averaged else []
    table = FittedTable(["run", *headings, *average], 1, 1)
    for row in board.rows:
        cells = [
            plain.get(row.name, ("", "–"))[1]
            if plain
            else cell_text(row.scores.get(column.task), intervals=True)
            for column, (_, plain) in zip(board.columns, columns, strict=True)
        ]
        table.add_row(row.name, *cells, *([cell_text(row.average, intervals=True)] if board.averaged else []))
    console = table_console(SET_PIPE_WIDTH)
    table.print(console)
    for note in board_notes(board):
        print_sentences(console, note)


def _first_metrics(task: str, runs: Sequence[ReportRun]) -> dict[str, tuple[str, str]]:
    """Return name and value of a task's first metric by the run's label; empty for a task with a headline."""
    from marathon_eval.cli.terminal import main_metric, numbers

    found = {}
    for run in runs:
        result = run.tasks.get(task)
        if result is None:
            continue
        if result.headline is not None:
            return {}
        name, value = main_metric(result, next(iter(result.readings), ""))
        text, interval = ("none", "") if value is None else numbers(value)
        found[run.label] = (name, f"{text} [{interval}]" if interval else text)
    return found


def _closing_lines(found: _Set) -> list[str]:
    """Return the lines below the table: runs that were refused or not reached, and the counts."""
    lines = [f"NOT RUN: {row.name}: {row.refused}" for row in found.rows if row.refused is not None]
    unreached = [row.name for row in found.rows if row.summary is None and row.refused is None]
    lines += [f"NOT REACHED: {'; '.join(unreached)}"] if unreached else []
    lines += [f"NOT LOGGED: {found.unlogged} runs, see above"] if found.unlogged else []
    whole = sum(row.whole for row in found.rows)
    failed = sum(row.failed for row in found.rows)
    text = f"{len(found.rows)} runs, {whole} complete, {found.asked} responses requested."
    text += f" {failed} rows FAILED; --retry asks them again." if failed else ""
    not_reached = sum(row.not_reached for row in found.rows)
    text += f" {not_reached} rows of the interrupted run were not asked." if not_reached else ""
    text += " INTERRUPTED: the same command goes on where this one stopped." if found.interrupted else ""
    return [*lines, text]
