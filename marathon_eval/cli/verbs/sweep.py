"""Evaluate a model under every combination of presses and ratios; with `none` among --presses, compare each with it.

A press removes part of the audio tokens inside the model; its ratio is the fraction that it removes. All combinations
are evaluated in one pass that shares the audio encoder's work.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.fitted_table import FittedTable, print_sentences, table_console
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_WHOLE
from marathon_eval.cli.token_maps import lacking_maps, say_lacking
from marathon_eval.cli.verbs._run_flags import add_dry_run, add_run_arguments, run_config
from marathon_eval.cli.verbs._workers import add_worker_arguments, in_processes, throughs
from marathon_eval.cli.verbs.run import check_writable, show_dry_run
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.dry_run import DryRun
    from marathon_eval.evaluator.sweep_cells import Grid, SweepCell
    from marathon_eval.evaluator.sweep_table import SweepTable
    from marathon_eval.evaluator.workers.shares import Launch

SWEEP_PIPE_WIDTH = 190


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(
        parser, "arguments of the model and of its presses, such as pretrained=PATH,dtype=bfloat16"
    )
    parser.add_argument(
        "--presses",
        required=True,
        metavar="A,B,…",
        help="presses that `marathon-eval ls presses` prints, and `none` for the uncompressed model, "
        "which the others are compared with",
    )
    parser.add_argument(
        "--ratios",
        default="0.1:0.9:0.2",
        metavar="R",
        help="fractions of audio tokens to remove: first:last:step, or a list such as 0.3,0.5 (default 0.1:0.9:0.2)",
    )
    parser.add_argument(
        "--layers",
        default="",
        metavar="K,…",
        help="decoder layers at which pruning presses remove tokens (default: set by each press)",
    )
    parser.add_argument(
        "--output_path",
        "-o",
        metavar="DIR",
        help="write below DIR sweep.json, and one results folder per press and ratio as `run` writes it",
    )
    parser.add_argument(
        "--encoder_cache",
        metavar="DIR",
        help="store the audio encoder's outputs in DIR for later sweeps; the same as encoder_cache in --model_args",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the contents of sweep.json instead of a table"
    )
    add_worker_arguments(parser)
    add_dry_run(parser)


def run(arguments: argparse.Namespace) -> int:
    return in_processes(arguments, sweep_in_process)


def sweep_in_process(arguments: argparse.Namespace, launch: Launch | None = None) -> int:
    """Run the sweep and score it in this process. Return the exit code.

    With `launch` (several launched processes) or --workers, other processes answer the requests.
    """
    from marathon_eval.evaluator.progress import terminal_progress
    from marathon_eval.evaluator.sweep import sweep
    from marathon_eval.evaluator.sweep_table import SweepTable

    config, grid = replace(run_config(arguments), output_path=arguments.output_path), grid_of(arguments)
    if arguments.encoder_cache is not None:
        config.model_args["encoder_cache"] = arguments.encoder_cache
    output = None if arguments.output_path is None else Path(arguments.output_path)
    if output is not None:
        check_writable(output)
    through = throughs(arguments, config, launch, grid)
    if arguments.dry_run:
        return show_dry_run(planned_sweep(config, grid), as_json=arguments.json)
    table, clock, complete = SweepTable(), time.monotonic(), []
    lacking, failures = [], Failures()

    def take(cell: SweepCell, result: RunResult) -> None:
        failures.add(cell.label, result)
        complete.append(result.whole)
        lacking.append(lacking_maps(result))
        table.add(cell, result, write_cell(result, output))

    finished = sweep(config, grid, take, terminal_progress(), **through)
    table.finish()
    summary = {**table.as_json(), "config": config.recorded(), "interrupted": not finished}
    summary["wall_s"] = round(time.monotonic() - clock, 3)
    print_sweep(table, summary, output, arguments.json, failures)
    say_lacking(sum(lacking))
    if not finished:
        return EXIT_INTERRUPTED
    return EXIT_WHOLE if all(complete) else EXIT_INCOMPLETE


def planned_sweep(config: RunConfig, grid: Grid) -> DryRun:
    """Prepare the sweep without running a model, and return its expected cost and checks. Raises MarathonError."""
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.evaluator.dry_run import dry_run
    from marathon_eval.evaluator.evaluator import pinned_pool, run_parts
    from marathon_eval.evaluator.preflight import RunBeforeStart
    from marathon_eval.evaluator.requests import cache_folder
    from marathon_eval.evaluator.sweep_cells import cells_of

    cells = cells_of(config, grid)
    tasks, _, _, judge = run_parts(config, cells[0].model)
    with ResponseCache(cache_folder(config)) as cache:
        for cell in cells:
            cell.model.cache = cache
        pool = pinned_pool(tasks, config, cells[0].model.name(), cache)
        planned = RunBeforeStart(tasks, pool, tuple(cell.model for cell in cells), judge, config, cache)
        return dry_run(planned, [cell.label for cell in cells])


def grid_of(arguments: argparse.Namespace) -> Grid:
    """Return --presses, --ratios and --layers as a Grid. Raises MarathonError."""
    from marathon_eval.evaluator.sweep_cells import Grid, parse_ratios

    presses = tuple(name.strip() for name in arguments.presses.split(",") if name.strip())
    layers = [part.strip() for part in arguments.layers.split(",") if part.strip()]
    if not all(part.isdecimal() for part in layers):
        raise MarathonError(f"--layers: '{arguments.layers}' is not a list of whole numbers such as 2,4")
    return Grid(presses, parse_ratios(arguments.ratios), tuple(dict.fromkeys(map(int, layers))))


def write_cell(result: RunResult, output: Path | None) -> Path | None:
    """Write one cell's results folder below `output` and return its path; write nothing without `output`."""
    from marathon_eval.results.files import run_folder, write_run

    if output is None:
        return None
    folder = run_folder(output, result)
    write_run(result, folder)
    return folder


class Failures:
    """Collects why rows of a sweep failed or have no grade, by cell and task."""

    def __init__(self) -> None:
        self.failed: list[tuple[str, int, str | None]] = []
        self.without_grade: dict[str, int] = {}

    def add(self, cell: str, result: RunResult) -> None:
        """Add a cell's rows, which are named `race [frame 0.5]`."""
        from marathon_eval.cli.terminal import failed_rows

        self.failed += [(f"{task} [{cell}]", row, error) for task, row, error in failed_rows(result)]
        for task in result.tasks.values():
            if number := sum(task.n_left_out.values()):
                self.without_grade[f"{task.task} [{cell}]"] = number

    def lines(self) -> Iterator[str]:
        """Yield nothing if no row failed, else `INCOMPLETE` and a line for each reason with its rows by task and cell."""
        from marathon_eval.cli.terminal import reason_lines
        from marathon_eval.results.failures import failure_kinds

        if self.failed:
            yield "INCOMPLETE: rows failed, and are not in the scores."
            yield from reason_lines(
                failure_kinds(self.failed), "failed", "`show` of a cell's folder with --wrong lists them"
            )
        if self.without_grade:
            counts = ", ".join(f"{place} {number}" for place, number in self.without_grade.items())
            yield f"LEFT OUT: rows without a grade ({counts}): `show` of a cell's folder with --wrong says why."


def print_sweep(
    table: SweepTable,
    summary: dict[str, Any],
    output: Path | None,
    as_json: bool,
    failures: Failures | None = None,
) -> None:
    """Write sweep.json below `output`, and print it or the table with why rows failed. Raises MarathonError if it cannot be written."""
    from marathon_eval.files import write_atomically

    text = json.dumps(summary, indent=1) + "\n"
    if output is not None:
        write_atomically(output / "sweep.json", [text])
        print(f"results: {output / 'sweep.json'}", file=sys.stderr)
    if as_json:
        print(text, end="")
        return

    from marathon_eval.evaluator.sweep_table import (
        NUMBERS,
        SWEEP_TEXT_COLUMNS,
        sweep_table_title,
        table_sections,
    )

    console = table_console(SWEEP_PIPE_WIDTH)
    n_text = len(SWEEP_TEXT_COLUMNS)
    shown = FittedTable((*SWEEP_TEXT_COLUMNS, *NUMBERS), n_text, n_text, sweep_table_title(table))
    for section in table_sections(table):
        for row in section:
            shown.add_row(*row)
        shown.add_section()
    shown.print(console)
    print_sentences(console, sweep_footer(summary))
    for line in failures.lines() if failures else ():
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def batch_lines(tasks: dict[str, Any]) -> Iterator[str]:
    """Yield a line for each pair of batch sizes that left cells without a speed-up, with these cells."""
    cells: dict[str, dict[str, None]] = {}
    for entries in tasks.values():
        for label, cell in entries.items():
            if cell["unlike_batches"] is not None:
                cells.setdefault(cell["unlike_batches"], {})[label] = None
    for sizes, labels in cells.items():
        yield (
            f"No speed-up of {', '.join(labels)}: answered {sizes}, and seconds of different batch sizes are not divided by "
            "each other. `--batch_size 1` measures all cells alike."
        )


def sweep_footer(summary: dict[str, Any]) -> str:
    """Explain the table's numbers and report the time and cache use of the whole sweep."""
    from marathon_eval.results.directions import LOWER_NOTE

    cells = summary["cells"]
    asked = sum(cell["cache"]["misses"] for cell in cells)
    hits = sum(cell["cache"]["hits"] for cell in cells)
    text = (
        "Differences are paired by document; intervals go by clip. lost: right only without the press; "
        "won: right only with it; p: exact sign-flip test of lost and won over clips, Holm-corrected over the task's cells.\n"
        "kept: share of the audio tokens (or of their keys) that stay; KV MB: mean size of an answer's KV cache after the press; "
        "prefill in theory: speed-up by the FLOP model.\n"
        "Seconds are per answer, as if each cell ran alone: a stage that cells share was measured once and counts in each. "
        "speed-up: over all stages, on the documents that both cells answered with the same loaded weights in batches of one size; "
        "blank where cached responses come from another session.\n"
        f"The whole sweep: {summary['wall_s']:.1f} s, {asked} responses requested, {hits} from the cache."
    )
    text += "".join(f"\n{line}" for line in batch_lines(summary["tasks"]))
    if any(cell["lower_is_better"] for entries in summary["tasks"].values() for cell in entries.values()):
        text += f"\n{LOWER_NOTE}"
    if not any(cell["press"] is None for cell in cells):
        text += "\nNo differences are shown: add `none` to --presses for the uncompressed model."
    if summary["interrupted"]:
        text += "\nINTERRUPTED: rows without a response count as errors; the same command continues where this one stopped."
    return text
