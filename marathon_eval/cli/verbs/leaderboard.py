"""Print the leaderboard of finished runs as a table for a README or a paper."""

from __future__ import annotations

import argparse
import json


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="DIR",
        help="a run's folder, or a parent: its newest run of each model and press",
    )
    parser.add_argument(
        "--with_published", action="store_true", help="add the models that the benchmark published"
    )
    parser.add_argument("--ci", action="store_true", help="95 %% intervals beside the scores")
    parser.add_argument(
        "--champions", action="store_true", help="the best of each of the benchmark's categories instead"
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--markdown", action="store_true", help="a Markdown table (the default)")
    form.add_argument("--latex", action="store_true", help="a LaTeX tabular with booktabs rules")
    form.add_argument("--json", action="store_true", help="unrounded numbers for machines")


def run(arguments: argparse.Namespace) -> int:
    print(text(arguments), end="")
    return 0


def text(arguments: argparse.Namespace) -> str:
    """What is printed. Raises MarathonError."""
    from marathon_eval.errors import MarathonError
    from marathon_eval.report import leaderboard, published, tables
    from marathon_eval.report.runs import read_cells

    cells = read_cells(arguments.runs)
    benchmark = published.benchmark_of(task for cell in cells for task in cell.tasks)
    if benchmark is None and (arguments.with_published or arguments.champions):
        raise MarathonError(
            "leaderboard: none of these tasks belongs to a benchmark whose table is shipped: "
            + ", ".join(published.benchmark_names())
        )
    board = leaderboard.make_board(cells, benchmark, arguments.with_published)
    if arguments.champions and benchmark is not None:
        return tables.champions_markdown(leaderboard.champions(board, benchmark))
    if arguments.json:
        return json.dumps(tables.table_as_json(board), indent=1) + "\n"
    return tables.latex(board, arguments.ci) if arguments.latex else tables.markdown(board, arguments.ci)
