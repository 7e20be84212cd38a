"""Ask a whole grid of presses and ratios in one pass, and say what compression costs."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_WHOLE
from marathon_eval.cli.verbs.run import (
    add_dry_run,
    add_run_arguments,
    check_writable,
    run_config,
    show_dry_run,
)
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.distributed.leader import Leader
    from marathon_eval.evaluator.dry_run import DryRun
    from marathon_eval.evaluator.sweep_cells import Grid, SweepCell
    from marathon_eval.evaluator.sweep_table import SweepTable

SWEEP_PIPE_WIDTH = 180


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)
    parser.add_argument(
        "--presses",
        required=True,
        metavar="A,B,…",
        help="names of `marathon-eval ls presses`; `none` is the uncompressed model, which all are held against",
    )
    parser.add_argument(
        "--ratios",
        default="0.1:0.9:0.2",
        metavar="R",
        help="fractions of audio tokens removed: first:last:step, or a list (default 0.1:0.9:0.2)",
    )
    parser.add_argument(
        "--layers",
        default="",
        metavar="K,…",
        help="layers at which pruning presses cut (default: the press's own)",
    )
    parser.add_argument(
        "--output_path",
        "-o",
        metavar="DIR",
        help="write sweep.json, and an ordinary results folder per cell, below DIR",
    )
    parser.add_argument(
        "--encoder_cache",
        metavar="DIR",
        help="keep what the audio encoder gave in DIR, for later sweeps (model_args encoder_cache)",
    )
    parser.add_argument("--json", action="store_true", help="print sweep.json instead of a table")
    add_dry_run(parser)


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.distributed.ranks import launched

    ranks = launched()
    if ranks is None:
        return sweep_in_process(arguments)
    from marathon_eval.cli.verbs._distributed import as_rank

    return as_rank(ranks, lambda leader: sweep_in_process(arguments, leader))


def sweep_in_process(arguments: argparse.Namespace, leader: Leader | None = None) -> int:
    """The sweep, by this process; a `leader` shares out what must be asked."""
    from marathon_eval.cli.progress import terminal_progress
    from marathon_eval.evaluator.sweep import sweep
    from marathon_eval.evaluator.sweep_table import SweepTable

    config, grid = replace(run_config(arguments), output_path=arguments.output_path), grid_of(arguments)
    if arguments.encoder_cache is not None:
        config.model_args["encoder_cache"] = arguments.encoder_cache
    output = None if arguments.output_path is None else Path(arguments.output_path)
    if output is not None:
        check_writable(output)
    through = None
    if leader is not None:
        from marathon_eval.evaluator.distributed.sweep import filling

        through = filling(leader, config, grid)
    if arguments.dry_run:
        return show_dry_run(planned_sweep(config, grid), as_json=arguments.json)
    table, clock, whole = SweepTable(), time.monotonic(), []

    def take(cell: SweepCell, result: RunResult) -> None:
        whole.append(result.whole)
        table.add(cell, result, write_cell(result, output))

    finished = sweep(config, grid, take, terminal_progress(), through)
    table.finish()
    found = {**table.as_json(), "config": config.recorded(), "interrupted": not finished}
    found["wall_s"] = round(time.monotonic() - clock, 3)
    print_sweep(table, found, output, arguments.json)
    if not finished:
        return EXIT_INTERRUPTED
    return EXIT_WHOLE if all(whole) else EXIT_INCOMPLETE


def planned_sweep(config: RunConfig, grid: Grid) -> DryRun:
    """The sweep up to its first question. Raises MarathonError."""
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
    """The flags as a Grid. Raises MarathonError."""
    from marathon_eval.evaluator.sweep_cells import Grid, parse_ratios

    presses = tuple(name.strip() for name in arguments.presses.split(",") if name.strip())
    layers = [part.strip() for part in arguments.layers.split(",") if part.strip()]
    if not all(part.isdecimal() for part in layers):
        raise MarathonError(f"--layers: '{arguments.layers}' is no list of whole numbers, as 2,4")
    return Grid(presses, parse_ratios(arguments.ratios), tuple(dict.fromkeys(map(int, layers))))


def write_cell(result: RunResult, output: Path | None) -> Path | None:
    """The cell's own results folder."""
    from marathon_eval.results.files import run_folder, write_run

    if output is None:
        return None
    folder = run_folder(output, result.model, result.fingerprint_sha256)
    write_run(result, folder)
    return folder


def print_sweep(table: SweepTable, found: dict[str, Any], output: Path | None, as_json: bool) -> None:
    from marathon_eval.files import write_atomically

    text = json.dumps(found, indent=1) + "\n"
    if output is not None:
        write_atomically(output / "sweep.json", [text])
        print(f"results: {output / 'sweep.json'}", file=sys.stderr)
    if as_json:
        print(text, end="")
        return

    from marathon_eval.cli.terminal import table_console
    from marathon_eval.evaluator.sweep_table import sweep_table_lines

    console = table_console(SWEEP_PIPE_WIDTH)
    console.print(sweep_table_lines(table))
    console.print(sweep_footer(found), markup=False, highlight=False, soft_wrap=True)


def sweep_footer(found: dict[str, Any]) -> str:
    """How the numbers are meant, and what the pass itself took."""
    cells = found["cells"]
    asked = sum(cell["cache"]["misses"] for cell in cells)
    hits = sum(cell["cache"]["hits"] for cell in cells)
    text = (
        "Differences are paired by document, intervals resample clips; lost and won: right without the press alone, "
        "with it alone; p: exact McNemar, Holm over the task's cells.\n"
        "Seconds are per answer and what the cell would take alone: shared stages were measured once and count in each. "
        f"This pass: {found['wall_s']:.1f} s, {asked} answers asked, {hits} from the cache."
    )
    if not any(cell["press"] is None for cell in cells):
        text += "\nNo differences: --presses lacks `none`."
    if found["interrupted"]:
        text += "\nINTERRUPTED: the rows not asked are errors; the same command goes on from here."
    return text
