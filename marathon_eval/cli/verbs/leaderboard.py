"""Print the leaderboard of finished runs as a Markdown or LaTeX table, or as JSON."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from marathon_eval.report.leaderboard import Board


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="DIR",
        help="folder of a run, or a folder above several (runs of one model, press, condition and selection are merged)",
    )
    parser.add_argument(
        "--with_published", action="store_true", help="add the models of the benchmark's published table"
    )
    add_benchmark_flag(parser)
    parser.add_argument("--ci", action="store_true", help="print 95 %% intervals beside the scores")
    parser.add_argument(
        "--champions",
        action="store_true",
        help="print only the best published model and the best run of each category of the benchmark",
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="print a Markdown table (the default)")
    form.add_argument("--latex", action="store_true", help="print a LaTeX tabular with booktabs rules")
    form.add_argument("--json", action="store_true", help="print JSON with unrounded numbers")


def add_benchmark_flag(parser: argparse.ArgumentParser) -> None:
    """Add the flag that limits the leaderboard to one benchmark; `report` has it too."""
    parser.add_argument(
        "--benchmark",
        metavar="NAME",
        help="show this benchmark's columns alone, of those with a published table: audiomarathon, mmar, voicebench, ...",
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.cli.left_out import code_of_left_out
    from marathon_eval.cli.plain_output import print_notes
    from marathon_eval.report.damaged import without_damaged

    (table, notes), left_out = without_damaged(arguments.runs, lambda leave_out: text(arguments, leave_out))
    print(table, end="")
    print_notes(notes)
    return code_of_left_out(left_out)


def no_average_notes(board: Board) -> list[str]:
    """Return a line for each reason why runs with every score have no average."""
    reasons = dict.fromkeys(row.no_average for row in board.rows if row.no_average is not None)
    return [f"no average, because the scores are unlike: {reason}" for reason in reasons]


def text(arguments: argparse.Namespace, leave_out: Mapping[Path, str] | None = None) -> tuple[str, list[str]]:
    """Return the text that the flags ask for, without the runs in `leave_out`, and notes. Raises MarathonError."""
    from marathon_eval.errors import MarathonError
    from marathon_eval.report import leaderboard, published, tables
    from marathon_eval.report.listening import listening
    from marathon_eval.report.runs import read_cells

    cells = read_cells(arguments.runs, leave_out)
    benchmark = published.benchmark_named(
        arguments.benchmark, (task for cell in cells for task in cell.tasks)
    )
    if benchmark is None and (arguments.with_published or arguments.champions):
        raise MarathonError(
            "leaderboard: --with_published and --champions need runs on a benchmark with a published table: "
            + ", ".join(published.benchmark_names())
        )
    board = leaderboard.make_board(
        cells, benchmark, arguments.with_published, alone=arguments.benchmark is not None
    )
    notes = tables.displaced_notes(cells)
    if arguments.champions and benchmark is not None:
        best = leaderboard.champions(board, benchmark)
        return tables.champions_markdown(best, benchmark.columns), notes
    heard = listening(cells)
    notes += no_average_notes(board)
    if arguments.json:
        return json.dumps(tables.table_as_json(board, heard), indent=1) + "\n", notes
    if arguments.latex:
        parts = [tables.latex(board, arguments.ci), tables.listening_latex(heard, board.columns)]
    else:
        parts = [tables.markdown(board, arguments.ci), tables.listening_markdown(heard, board.columns)]
    return "\n".join(filter(None, parts)), notes
