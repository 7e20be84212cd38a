"""Compare two runs document by document: score differences with intervals, a sign-flip test, changed documents."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from marathon_eval.cli.fitted_table import FittedTable, table_console
from marathon_eval.cli.main import EXIT_LOST, EXIT_UNDECIDED, EXIT_WHOLE
from marathon_eval.errors import MarathonError
from marathon_eval.results.shown_metric import shown_metric

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
#: The first columns hold text and are left-aligned; the others hold numbers. Task and reading name a row.
TEXT_COLUMN_COUNT, KEY_COLUMN_COUNT = 3, 2
COMPARED_ANSWER_CHARS = 60


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run_a", metavar="RUN_A", help="folder of run A, or a folder above it (its newest run is taken)"
    )
    parser.add_argument("run_b", metavar="RUN_B", help="the same for run B; differences are B minus A")
    parser.add_argument(
        "--flips",
        type=int,
        default=10,
        metavar="N",
        help="list up to N documents per task whose outcome differs (default 10)",
    )
    parser.add_argument(
        "--force",
        action="store_true",
        help="compare even if the two runs used different data or different prompts",
    )
    parser.add_argument(
        "--gate",
        metavar="LIMITS",
        help="least differences of headlines, such as 'race>=-1.0,gtzan>=-2', in points where the headline has `scale: "
        "100`, else in the metric's own unit (0.01 of an accuracy): exit code 0 if every loss is shown to be within its limit, 4 if a loss beyond one is shown, else 5: too few rows to say",
    )
    parser.add_argument(
        "--latex",
        metavar="FILE",
        help="also write FILE (.tex), a table of the headlines' differences with intervals, p and stars",
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="print JSON instead of a table, with unrounded numbers and all changed documents",
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results.compare import compare_runs
    from marathon_eval.results.gate import limits

    wanted = [] if arguments.gate is None else limits(arguments.gate)
    if arguments.latex is not None and Path(arguments.latex).suffix != ".tex":
        raise MarathonError(f"--latex: {arguments.latex} must end in .tex")
    comparison = compare_runs(Path(arguments.run_a), Path(arguments.run_b), arguments.force, wanted)
    if arguments.latex is not None:
        write_latex(comparison, Path(arguments.latex))
    if arguments.json:
        print(json.dumps(comparison, indent=1))
    else:
        print_comparison(comparison, arguments.flips)
    return gate_code(verdict["verdict"] for verdict in comparison["gate"])


def write_latex(comparison: Mapping[str, Any], file: Path) -> None:
    """Write the table of differences. Raises MarathonError if the file cannot be written."""
    from marathon_eval.files import write_atomically
    from marathon_eval.report.compared_table import comparison_latex

    try:
        file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise MarathonError(f"--latex: cannot write to {file.parent} ({error.strerror})") from None
    write_atomically(file, [comparison_latex(comparison)])
    print(file, file=sys.stderr)


def gate_code(verdicts: Iterable[str]) -> int:
    """Return the exit code: a loss that is shown counts before one that is not decided."""
    from marathon_eval.results.gate import BEYOND, UNDECIDED

    found = set(verdicts)
    return EXIT_LOST if BEYOND in found else EXIT_UNDECIDED if UNDECIDED in found else EXIT_WHOLE


def gate_lines(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line such as `gate race >= -1 points: -0.52 (-0.91 to -0.13): within the margin` per limit."""
    from marathon_eval.results.gate import POINTS
    from marathon_eval.scoring.stats import p_text

    for each in comparison["gate"]:
        form = "+.2f" if each["unit"] == POINTS else "+.4f"
        change = "no difference" if each["difference"] is None else f"{each['difference']:{form}}"
        ends = each["ci95"]
        interval = each["reason"] if ends is None else f"{ends[0]:{form}} to {ends[1]:{form}}"
        p = f"p {p_text(each['p_within'])} within, {p_text(each['p_beyond'])} beyond (Holm)"
        limit = f"{each['task']} >= {each['points']:g} {each['unit']}"
        turned = f" (sign turned: a rise of {each['turned']} is a loss)" if each["turned"] else ""
        yield f"gate {limit}: {change} ({interval}){turned}: {each['verdict']}; {p}"


def print_comparison(comparison: Mapping[str, Any], flips: int) -> None:
    """Print the table, the notes, and the first `flips` changed documents of each task."""
    console = table_console(COMPARE_PIPE_WIDTH)
    table = FittedTable(COMPARE_COLUMNS, TEXT_COLUMN_COUNT, KEY_COLUMN_COUNT)
    for task in comparison["tasks"].values():
        _add(table, task)
    lines = [f"{side.upper()}: {title(comparison[side])}" for side in "ab"]
    for line in lines:
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    table.print(console)
    for line in (*notes(comparison), *changed_row_line(comparison, flips), *gate_lines(comparison)):
        console.print(line, markup=False, highlight=False, soft_wrap=True)


def title(side: Mapping[str, Any]) -> str:
    """Return a run's name as in leaderboards, with condition, selection and folder, as one text."""
    return f"{', '.join([side['name'], *side['label']])} ({side['folder']})"


def _add(table: FittedTable, task: Mapping[str, Any]) -> None:
    """Add one row per reading, the headline's first, and starred if its metric is the headline of both runs."""
    from marathon_eval.results.directions import LOWER
    from marathon_eval.scoring.stats import p_text

    headline = task["headline"] or {}
    readings = sorted(task["readings"], key=lambda name: name != headline.get("reading"))
    for place, name in enumerate(readings):
        metrics, test = task["readings"][name]["metrics"], task["readings"][name]["discordance"]
        metric = shown_metric(task, name)
        lower = f" {LOWER}" if metric in task["lower_is_better"].get(name, ()) else ""
        value = metrics.get(metric) or dict.fromkeys(("a", "b", "difference", "ci95", "no_interval"))
        star = (
            " *"
            if headline_words(task["headline_b"]) == headline_words(headline) == f"{name} {metric}"
            else ""
        )
        table.add_row(
            *(task["task"] if place == 0 else "", name, metric + lower + star),
            *(number(value[key], 4) for key in ("a", "b")),
            *(signed(value["difference"]), interval(value["ci95"], value["no_interval"])),
            *((str(test["only_a"]), str(test["only_b"])) if test else ("", "")),
            *(p_text(test[key]) if test else "" for key in ("p", "holm_p")),
            str(task["readings"][name]["n"] - (value.get("n_unscored") or 0)),
        )
    table.add_section()


def headline_words(headline: Mapping[str, Any] | None) -> str:
    """Return `strict macro_f1`, or `none` for a task without a headline."""
    return f"{headline['reading']} {headline['metric']}" if headline else "none"


def number(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def signed(value: float | None) -> str:
    return "" if value is None else f"{value:+.4f}"


def interval(ends: Any, reason: str | None) -> str:
    return reason or "" if ends is None else f"{ends[0]:+.3f} to {ends[1]:+.3f}"


def notes(comparison: Mapping[str, Any]) -> Iterator[str]:
    """Yield the lines below the table: rows and tasks left out, metrics without a difference, how to read it."""
    from marathon_eval.results.directions import LOWER_NOTE
    from marathon_eval.results.judges import judge_difference_text
    from marathon_eval.results.metric_differences import metric_difference_text

    for reason in comparison["forced"]:
        yield f"FORCED: {reason}"
    for task in comparison["tasks"].values():
        if task["judge_differences"]:
            yield f"{task['task']}: the judges differ: {judge_difference_text(task['judge_differences'])}"
        if task["metric_differences"]:
            yield (
                f"{task['task']}: not measured alike: {metric_difference_text(task['metric_differences'])}; `score RUN` "
                "scores each run again with the task as it is now"
            )
    yield from (line for task in comparison["tasks"].values() for line in unshared_lines(task))
    for task in comparison["tasks"].values():
        if task["n_only_a"] or task["n_only_b"]:
            yield f"{task['task']}: left out because only one run scored them: {task['n_only_a']} rows of A, {task['n_only_b']} of B"
        if task["n_other_target"]:
            yield f"{task['task']}: left out because their right answers differ: {task['n_other_target']} rows"
        for reading, difference in task["readings"].items():
            if difference["n_left_out"]:
                yield (
                    f"{task['task']}, {reading}: {difference['n_left_out']} of {task['n_paired']} rows are left out, because one of the "
                    "runs has no answer of this reading on them: its judge failed or was not asked"
                )
            for metric, value in difference["metrics"].items():
                if value["reason"] is not None:
                    yield f"{task['task']}, {reading}, {metric}: no difference: {value['reason']}"
                elif value["n_unscored"]:
                    yield (
                        f"{task['task']}, {reading}, {metric}: {value['n_unscored']} rows are left out, because it has no "
                        "value on them in one of the runs"
                    )
    for side in "ab":
        if comparison[f"only_{side}"]:
            yield f"tasks of run {side.upper()} alone: {', '.join(comparison[f'only_{side}'])}"
    if any(
        shown_metric(task, reading) in names
        for task in comparison["tasks"].values()
        for reading, names in task["lower_is_better"].items()
        if reading in task["readings"]
    ):
        yield LOWER_NOTE
    yield "* headline metric. Intervals go by clip. only A, only B: documents that only this run has right."
    yield (
        "p: exact sign-flip test of right answers over clips (only A and only B), also where the headline is another metric, such as "
        "macro_f1; readings by error rate, grade or share have only the interval. p (Holm): corrected over the tasks of one reading."
    )


def unshared_lines(task: Mapping[str, Any]) -> Iterator[str]:
    """Yield what only one run measured of a task, and its two headlines if they differ."""
    alone = {side: task[f"measured_only_{side}"] for side in "ab"}
    if any(alone.values()):
        parts = (f"only in {side.upper()}: {', '.join(names)}" for side, names in alone.items() if names)
        yield f"{task['task']}: {'; '.join(parts)}"
    a, b = headline_words(task["headline"]), headline_words(task["headline_b"])
    if a != b:
        yield f"{task['task']}: the headlines differ: {a} in A, {b} in B"


def changed_row_line(comparison: Mapping[str, Any], most: int) -> Iterator[str]:
    """Yield a line such as `race 17: right -> wrong, target C: 'C' -> 'A'` per changed document."""
    for task in comparison["tasks"].values():
        for flip in task["flips"][: max(0, most)]:
            a, b = flip["a"], flip["b"]
            answers = f"{short_answer(a['answer'])} -> {short_answer(b['answer'])}"
            yield f"{task['task']} {flip['doc_id']}: {a['outcome']} -> {b['outcome']}, target {short_answer(flip['target'])}: {answers}"
        more = len(task["flips"]) - max(0, most)
        if most > 0 and more > 0:
            yield f"{task['task']}: {more} more changed; --flips N lists more of them, --json lists all"


def short_answer(value: Any) -> str:
    """Return the answer's repr, cut to COMPARED_ANSWER_CHARS."""
    text = "none" if value is None else repr(value)
    return text if len(text) <= COMPARED_ANSWER_CHARS else text[: COMPARED_ANSWER_CHARS - 1] + "…"
