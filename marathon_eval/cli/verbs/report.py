"""Write one HTML page about finished runs: leaderboard, plots, and every sample with its audio."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.cli.verbs.leaderboard import add_benchmark_flag
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.report.gather import Report

MEGABYTE = 1_000_000
PREVIEWS_MB = 20.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="DIR",
        help="folder of a run, or a folder above several (runs of one model, press, condition and selection are merged)",
    )
    parser.add_argument(
        "--output_path",
        "-o",
        default="report.html",
        metavar="FILE",
        help="the page to write (default: report.html)",
    )
    parser.add_argument(
        "--with_published", action="store_true", help="add the tables that the benchmarks' authors published"
    )
    add_benchmark_flag(parser)
    parser.add_argument(
        "--embed_audio",
        nargs="?",
        type=float,
        const=PREVIEWS_MB,
        metavar="MB",
        help="store the beginning of every clip in the page as MP3, all together at most MB megabytes "
        f"(without a number: {PREVIEWS_MB:g})",
    )
    parser.add_argument(
        "--data_dir",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders of the clips: only clips below them are embedded, because a run's files may name any path; clips "
        "that are no longer where the run found them are looked for here",
    )
    parser.add_argument(
        "--use_cache",
        "-c",
        metavar="DIR",
        help="folder of a cache that holds the runs' prompts, if not the default",
    )
    add_other_files(parser)


def add_other_files(parser: argparse.ArgumentParser) -> None:
    """Add the flags that write figures and tables beside the page."""
    parser.add_argument(
        "--plots",
        metavar="DIR",
        help="also write every figure to DIR as SVG and PNG, and as PDF at the width of a paper's column",
    )
    parser.add_argument(
        "--markdown",
        action="store_true",
        help="also write the leaderboard, and what a sweep's presses cost, as a .md file beside the page",
    )
    parser.add_argument(
        "--latex",
        action="store_true",
        help="also write the leaderboard, and what a sweep's presses cost, as a .tex file beside the page",
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.cli.left_out import code_of_left_out
    from marathon_eval.cli.plain_output import print_notes
    from marathon_eval.report.damaged import without_damaged
    from marathon_eval.report.gather import make_report
    from marathon_eval.report.runs import read_cells
    from marathon_eval.report.tables import displaced_notes

    page = Path(arguments.output_path)
    if page.suffix not in (".html", ".htm"):
        raise MarathonError(f"--output_path: {page} must end in .html")
    if arguments.embed_audio is not None and not 0 < arguments.embed_audio <= 1000:
        raise MarathonError(f"--embed_audio: must be above 0 and at most 1000, got {arguments.embed_audio:g}")

    def written(leave_out: Mapping[Path, str]) -> tuple[list[Path], list[str]]:
        report = make_report(
            read_cells(arguments.runs, leave_out), arguments.with_published, arguments.benchmark
        )
        return write_report_files(report, page, arguments), displaced_notes(report.cells)

    (paths, notes), left_out = without_damaged(arguments.runs, written)
    for path in paths:
        print(path, file=sys.stderr)
    print_notes(notes)
    return code_of_left_out(left_out)


def write_report_files(report: Report, page: Path, arguments: argparse.Namespace) -> list[Path]:
    """Write the page, tables and plots that the flags name, print the number of plots, and return the other paths. Raises MarathonError."""
    from marathon_eval.files import write_atomically
    from marathon_eval.report.cost import sweep_costs
    from marathon_eval.report.cost_table import costs_latex, costs_markdown
    from marathon_eval.report.figures import write_plots
    from marathon_eval.report.page import render_page
    from marathon_eval.report.tables import (
        latex,
        listening_latex,
        listening_markdown,
        markdown,
    )

    try:
        page.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MarathonError(f"--output_path: cannot write to {page.parent} ({error.strerror})") from None
    embedded = int((arguments.embed_audio or 0) * MEGABYTE)
    html = render_page(
        report, page, arguments.with_published, embedded, arguments.data_dir, arguments.use_cache
    )
    texts = {page: html}
    costs = sweep_costs(report.cells) if arguments.markdown or arguments.latex or arguments.plots else {}
    if arguments.markdown:
        parts = (
            markdown(report.board, intervals=True),
            listening_markdown(report.heard, report.board.columns),
            costs_markdown(costs),
        )
        texts[page.with_suffix(".md")] = "\n".join(filter(None, parts))
    if arguments.latex:
        tables = (
            latex(report.board),
            listening_latex(report.heard, report.board.columns),
            costs_latex(costs),
        )
        texts[page.with_suffix(".tex")] = "\n".join(filter(None, tables))
    for path, text in texts.items():
        write_atomically(path, [text])
    if not arguments.plots:
        return [*texts]
    if not costs and any(cell.press for cell in report.cells):
        print(
            "marathon-eval: no figure `cost`: it is drawn of the cells of one sweep whose --presses name `none`",
            file=sys.stderr,
        )
    plots = write_plots(report, Path(arguments.plots))
    print(f"{arguments.plots}: {len(plots)} files of figures", file=sys.stderr)
    return [*texts]
