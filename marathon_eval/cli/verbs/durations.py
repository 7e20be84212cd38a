"""Measure how long the audio of tasks or of a folder is: totals, percentiles, histogram, per class and speaker.

Durations come from file headers; no audio is decoded. The exit code is 3 if the length of a clip is unknown.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.fitted_table import FittedTable, table_console
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.durations import Lengths

DURATION_COLUMNS = ("count", "total", "mean", "median", "std", "min", "p25", "p75", "p95", "p99", "max")
DURATIONS_PIPE_WIDTH = 140


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "what",
        nargs="+",
        metavar="TASK|DIR",
        help="tasks or groups of tasks (then give --data_dir), or one folder of audio files",
    )
    parser.add_argument("--data_dir", metavar="DIR", help="a local copy of the tasks' dataset")
    parser.add_argument(
        "--subset", metavar="NAME", help="a row selection that the tasks define, such as paper or full"
    )
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with more tasks/"
    )
    parser.add_argument("--per_class", action="store_true", help="also print a line per class")
    parser.add_argument("--per_speaker", action="store_true", help="also print a line per speaker")
    parser.add_argument(
        "--output_path", "-o", metavar="DIR", help="write durations.json, .csv and .svg into DIR"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.corpus.audit.durations import analysed, as_csv, as_svg
    from marathon_eval.corpus.build.journal import entries_as_json, write_atomic

    lengths = found(arguments)
    figures = analysed(lengths)
    if arguments.output_path is not None:
        folder = Path(arguments.output_path)
        write_atomic(folder / "durations.json", entries_as_json(figures))
        write_atomic(folder / "durations.csv", as_csv(lengths).encode())
        write_atomic(folder / "durations.svg", as_svg(figures))
        print(f"durations: {folder}", file=sys.stderr)
    if arguments.json:
        print(json.dumps(figures, indent=1, ensure_ascii=False))
    else:
        print_durations(figures, arguments.per_class, arguments.per_speaker)
    for line in lengths.unknown[:20]:
        print(f"marathon-eval: no length: {line}", file=sys.stderr)
    if len(lengths.unknown) > 20:
        print(
            f"marathon-eval: no length: {len(lengths.unknown) - 20} more clips; --json lists all",
            file=sys.stderr,
        )
    return EXIT_INCOMPLETE if lengths.unknown else EXIT_WHOLE


def found(arguments: argparse.Namespace) -> Lengths:
    """Return the lengths of one folder's audio, or of the named tasks' documents. Raises MarathonError."""
    from marathon_eval.corpus.audit.durations import of_folder
    from marathon_eval.corpus.audit.expected import load_known

    first = arguments.what[0]
    if len(arguments.what) == 1 and arguments.data_dir is None and Path(first).is_dir():
        return of_folder(Path(first), load_known())
    return of_tasks([name for item in arguments.what for name in item.split(",") if name], arguments)


def of_tasks(names: list[str], arguments: argparse.Namespace) -> Lengths:
    """Return the lengths of every named task and of every task in a named group. Raises MarathonError."""
    from marathon_eval.api.registry import Registry
    from marathon_eval.corpus.audit.durations import Lengths, of_docs
    from marathon_eval.evaluator.evaluator import load_tasks

    if arguments.data_dir is None:
        raise MarathonError(f"durations: {names[0]}: no such folder; for a task give --data_dir DIR")
    tasks, _ = load_tasks(Registry(arguments.include_path), names)
    parts = [
        of_docs(name, task.docs(arguments.data_dir, arguments.subset, None, None).docs, task.config.cluster)
        for name, task in tasks.items()
    ]
    return Lengths(
        [file for part in parts for file in part.files], [line for part in parts for line in part.unknown]
    )


def print_durations(figures: Mapping[str, Any], per_class: bool, per_speaker: bool) -> None:
    """Print one table row per task, and a text histogram over all tasks."""
    console = table_console(DURATIONS_PIPE_WIDTH)
    table = FittedTable(("task", *DURATION_COLUMNS), 1, 1, "seconds; total in hours")
    for task, entry in figures["tasks"].items():
        table.add_row(task, *cells(entry))
        for is_shown, key in ((per_class, "per_class"), (per_speaker, "per_speaker")):
            for name, inner in entry[key].items() if is_shown else ():
                table.add_row(f"  {name}", *cells(inner))
        if entry["outliers"]:
            table.add_row(f"  {len(entry['outliers'])} outliers")
    table.add_section()
    table.add_row("all", *cells(figures["all"]))
    table.print(console)
    most = max(figures["all"].get("histogram", {}).values(), default=1)
    for name, count in figures["all"].get("histogram", {}).items():
        print(f"{name:>9} s {count:7}  {'#' * round(50 * count / most)}")


def cells(entry: Mapping[str, Any]) -> list[str]:
    """Return the number columns of one row; the total is in hours, all others in seconds."""
    if not entry["count"]:
        return ["0"]
    values = {**entry, "total": entry["total"] / 3600}
    return [str(entry["count"]), *(f"{values[name]:.2f}" for name in DURATION_COLUMNS[1:])]
