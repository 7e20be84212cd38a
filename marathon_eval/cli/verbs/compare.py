"""Compare two runs document by document: differences with intervals, McNemar's test, and what flipped."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_WHOLE

if TYPE_CHECKING:
    from rich.table import Table

COMPARE_PIPE_WIDTH = 160
COMPARE_COLUMNS = (
    "task",
    "reading",
    "metric",
    "A",
    "B",
    "B - A",
    "95 % CI",
    "only A",
    "only B",
    "p",
    "p (Holm)",
    "n",
)
#: Columns of text; all others are numbers.
TEXT_COLUMN_COUNT = 3
COMPARED_ANSWER_CHARS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_a", metavar="RUN_A", help="a run's folder, or a parent: its newest run")
    parser.add_argument("run_b", metavar="RUN_B", help="the run that is held against it")
    parser.add_argument(
        "--flips", type=int, default=10, metavar="N", help="list N changed documents per task (10)"
    )
    parser.add_argument(
        "--force", action="store_true", help="compare also runs on different data or with different prompts"
    )
    parser.add_argument("--json", action="store_true", help="unrounded numbers and all flips, for machines")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results.compare import compare_runs

    found = compare_runs(Path(arguments.run_a), Path(arguments.run_b), arguments.force)
    if arguments.json:
        print(json.dumps(found, indent=1))
    else:
        print_comparison(found, arguments.flips)
    return EXIT_WHOLE


def print_comparison(found: Mapping[str, Any], flips: int) -> None:
    """The table, what was left out, and the first `flips` changed documents of each task."""
    from rich import box
    from rich.table import Table

    from marathon_eval.cli.terminal import table_console

    console = table_console(COMPARE_PIPE_WIDTH)
    table = Table(box=box.SIMPLE_HEAD)
    for place, heading in enumerate(COMPARE_COLUMNS):
        table.add_column(heading, no_wrap=True, justify="left" if place < TEXT_COLUMN_COUNT else "right")
    for task in found["tasks"].values():
        _add(table, task)
    lines = [f"{side.upper()}: {title(found[side])}" for side in "ab"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(table)
    for line in (*notes(found), *changed_row_line(found, flips)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def title(side: Mapping[str, Any]) -> str:
    press = side["press"]
    with_press = f", press {press['press']}, ratio {press['ratio']:g}" if press else ""
    return f"{side['model']}{with_press} ({side['folder']})"


def _add(table: Table, task: Mapping[str, Any]) -> None:
    """One row per reading, the headline's first and starred."""
    headline = task["headline"] or {}
    readings = sorted(task["readings"], key=lambda name: name != headline.get("reading"))
    for place, name in enumerate(readings):
        metrics, test = task["readings"][name]["metrics"], task["readings"][name]["discordance"]
        metric = headline["metric"] if headline.get("metric") in metrics else next(iter(metrics), "")
        value = metrics.get(metric) or dict.fromkeys(("a", "b", "difference", "ci95"))
        star = " *" if name == headline.get("reading") else ""
        table.add_row(
            *(task["task"] if place == 0 else "", name, metric + star),
            *(number(value[key], 4) for key in ("a", "b")),
            *(signed(value["difference"]), interval(value["ci95"])),
            *((str(test["only_a"]), str(test["only_b"])) if test else ("", "")),
            *(number(test[key], 4) if test else "" for key in ("p", "holm_p")),
            str(task["n_paired"]) if place == 0 else "",
        )
    table.add_section()


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def interval(ends: Any) -> str:
    return "" if ends is None else f"{ends[0]:+.3f} to {ends[1]:+.3f}"


def notes(found: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know beside the table: rows and tasks left out, metrics without an interval."""
    for reason in found["forced"]:
        yield f"FORCED: {reason}"
    for task in found["tasks"].values():
        if task["n_only_a"] or task["n_only_b"]:
            yield f"{task['task']}: scored in one run alone and left out: {task['n_only_a']} in A, {task['n_only_b']} in B"
        for reading, difference in task["readings"].items():
            for metric, value in difference["metrics"].items():
                if value["reason"] is not None:
                    yield f"{task['task']}, {reading}, {metric}: no difference: {value['reason']}"
    for side in "ab":
        if found[f"only_{side}"]:
            yield f"only in {side.upper()}: {', '.join(found[f'only_{side}'])}"
    yield "* headline. Intervals resample clips; p: exact McNemar test; Holm: over the tasks of one reading."


def changed_row_line(found: Mapping[str, Any], most: int) -> Iterator[str]:
    """`race 17: right -> wrong, target C: 'C' -> 'A'`."""
    for task in found["tasks"].values():
        for flip in task["flips"][: max(0, most)]:
            a, b = flip["a"], flip["b"]
            answers = f"{short_answer(a['answer'])} -> {short_answer(b['answer'])}"
            yield f"{task['task']} {flip['doc_id']}: {a['outcome']} -> {b['outcome']}, target {short_answer(flip['target'])}: {answers}"
        more = len(task["flips"]) - max(0, most)
        if most > 0 and more > 0:
            yield f"{task['task']}: {more} more changed; --flips N lists more, --json all"


def short_answer(value: Any) -> str:
    text = "none" if value is None else repr(value)
    return text if len(text) <= COMPARED_ANSWER_CHARS else text[: COMPARED_ANSWER_CHARS - 1] + "…"
