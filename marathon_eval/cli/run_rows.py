"""Prints the rows of a run, finished or going on: how many are right, and those that are not, as tables or JSON."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.cli.fitted_table import FittedTable, table_console
from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.results.outcomes import GRADED, NAMES

if TYPE_CHECKING:
    from marathon_eval.evaluator.rescore.recorded_prompts import PromptFinder, RecordedPrompt
    from marathon_eval.results.failures import GradedRows, ListedRow, ReadRows

ROWS_PIPE_WIDTH = 160
#: Characters of a text in the table; --json prints it whole.
LISTED_TEXT_CHARS = 60
LISTED_COLUMNS = ("task", "row", "outcome", "target", "read as", "response or reason")


#: What is said of a run without results, by `UnfinishedRun.goes_on`.
_STATES = {
    True: "goes on",
    None: "goes on, or was killed, on another machine",
    False: "was killed before its end",
}


class ShownRun(NamedTuple):
    """Holds what `show RUN` reads of a run: its folder, its tasks, the reader of its rows, and a word on its state.

    `state` is that of a run without results, `ended` how a run with results ended; `newer` tells of a newer run that was
    killed.
    """

    folder: Path
    results: Mapping[str, Any]
    read: ReadRows
    state: str = ""
    ended: str = "finished"
    newer: str = ""


def shown_run(path: Path) -> ShownRun:
    """Return the run that goes on below a folder, else the newest finished one, else one that was killed.

    Raises MarathonError if there is none.
    """
    from marathon_eval.results.files import newest_run, read_results, read_samples
    from marathon_eval.results.unfinished import partial_rows, unfinished_below

    unfinished = unfinished_below(path)
    finished = max((file.stat().st_mtime for file in path.glob("**/results.json")), default=None)
    if unfinished is None or (finished is not None and not unfinished.outlives(finished)):
        folder = newest_run(path)
        results = read_results(folder)
        newer = ""
        if unfinished is not None and finished is not None and unfinished.wrote_after(finished):
            newer = f"{unfinished.folder}: a newer run {_STATES[unfinished.goes_on]}: {unfinished.rows_told()}; `show` with this folder shows it"
        return ShownRun(folder, results, read_samples, ended=_end_of(folder, results), newer=newer)
    state = _STATES[unfinished.goes_on]
    return ShownRun(unfinished.folder, unfinished.facts, partial_rows, f"{unfinished.facts['model']} {state}")


def _end_of(folder: Path, results: Mapping[str, Any]) -> str:
    """Return `finished`, or of a run that was stopped how many of its rows it had asked."""
    from marathon_eval.api.results import NOT_REACHED
    from marathon_eval.results.files import read_samples

    if not results.get("interrupted"):
        return "finished"
    rows = sum(task["n_loaded"] for task in results["tasks"].values())
    left = sum(row["error"] == NOT_REACHED for task in results["tasks"] for row in read_samples(folder, task))
    return f"interrupted: {rows - left} of {rows} rows were asked; the same command asks the others"


def print_rows_not_right(
    run: ShownRun,
    tasks: Sequence[str],
    reading: str | None,
    only: str | None,
    prompts: PromptFinder | None,
) -> int:
    """Print the rows of a run's tasks that are not right, and return 0; with `prompts` as JSON lines.

    `only` is a word of `failures.ONLY`: the rows of that outcome alone. Raises MarathonError.
    """
    from marathon_eval.results.failures import listed_rows, rows_not_right

    graded: dict[str, GradedRows] = {}
    by_task = {
        task: rows_not_right(listed_rows(run.folder, run.results, task, reading, run.read), only, graded)
        for task in tasks
    }
    if prompts is None:
        listed = [row for rows in by_task.values() for row in rows]
        print_listed(run.folder, listed, only, sum(rows.count for rows in graded.values()))
    else:
        printed = [print_with_prompts(task, list(rows), prompts) for task, rows in by_task.items()]
        if any(part.missing for part in printed):
            print(printable(missing_prompts_line(printed)), file=sys.stderr)
    for line in (*graded_lines(graded, only), *other_readings_lines(run.results, tasks, reading)):
        print(printable(line), file=sys.stdout if prompts is None else sys.stderr)
    if run.state and prompts is None:
        print(printable(f"{run.state}: more rows may follow"))
    if run.newer:
        print(printable(run.newer), file=sys.stdout if prompts is None else sys.stderr)
    return EXIT_WHOLE


class MissingPrompts(NamedTuple):
    """Holds how many rows of a task were printed, how many of them lack the prompt that they had, and why."""

    rows: int
    missing: int
    why: str


def print_with_prompts(task: str, rows: Sequence[ListedRow], prompts: PromptFinder) -> MissingPrompts:
    """Print each row as a line of JSON, with its prompt, or with `prompt_missing`, which says why there is none."""
    found, why = prompts.of(task, (row.prompt_sha256 for row in rows if row.prompt_sha256))
    for row in rows:
        print(json.dumps({**asdict(row), **prompt_fields(row.prompt_sha256, found, why)}, ensure_ascii=False))
    missing = sum(row.prompt_sha256 is not None and row.prompt_sha256 not in found for row in rows)
    return MissingPrompts(len(rows), missing, why)


def missing_prompts_line(printed: Sequence[MissingPrompts]) -> str:
    """Return how many of the printed rows lack their prompt, what to type, and the first task's reason."""
    count, rows = sum(part.missing for part in printed), sum(part.rows for part in printed)
    why = next(part.why for part in printed if part.missing)
    return (
        f'{count} of {rows} rows have "prompt": null; type --use_cache DIR with the cache that the run used, or '
        f"--data_dir and --include_path as the run had them (prompt_missing: {why})"
    )


def prompt_fields(digest: str | None, found: Mapping[str, RecordedPrompt], why: str) -> dict[str, str | None]:
    """Return `system` and `prompt` of a row, or null with the reason in `prompt_missing`."""
    if digest is not None and digest in found:
        return {"system": found[digest].system, "prompt": found[digest].prompt}
    return {"system": None, "prompt": None, "prompt_missing": why if digest else "the row has no prompt"}


def graded_lines(graded: Mapping[str, GradedRows], only: str | None) -> Iterator[str]:
    """Yield a line per task with graded rows: how many, by which metric, their worst and best score, which are listed."""
    from marathon_eval.results.failures import MOST_GRADED

    for task, rows in graded.items() if only in (None, "graded") else ():
        number = rows.count
        line = f"{task}: {number} rows are graded {rows.told()}: not counted as right or wrong"
        if only is None:
            all_listed = number <= MOST_GRADED
            line += "; listed from the worst" if all_listed else f"; the {MOST_GRADED} worst are listed"
            line += "" if all_listed else " (--only graded lists all)"
        yield line


def other_readings_lines(
    results: Mapping[str, Any], tasks: Sequence[str], reading: str | None
) -> Iterator[str]:
    """Yield a line for each reading, other than the one shown, that leaves rows without a score."""
    for task in tasks:
        entry = results["tasks"][task]
        shown = reading or (entry["headline"] or {}).get("reading") or next(iter(entry["readings"]), "")
        for name, number in (entry.get("n_left_out") or {}).items():
            if name != shown and number:
                yield f"{task}: {number} rows are not scored under the reading {name}; --reading {name} lists them"


def print_outcomes(run: ShownRun, chosen: Sequence[str], reading: str | None, as_json: bool) -> int:
    """Print how many rows of each task are right, wrong, unanswered and so on, and return 0. Raises MarathonError."""
    from marathon_eval.results.failures import listed_rows

    counts = {
        task: Counter(row.outcome for row in listed_rows(run.folder, run.results, task, reading, run.read))
        for task in chosen
    }
    loaded = {task: run.results["tasks"][task]["n_loaded"] for task in chosen}
    if as_json:
        shown = {task: {"n_loaded": loaded[task], "outcomes": dict(counts[task])} for task in chosen}
        facts = {"folder": str(run.folder), "state": run.state or run.ended, "newer": run.newer or None}
        print(json.dumps({**facts, "tasks": shown}))
        return EXIT_WHOLE
    outcomes = [name for name in NAMES.values() if any(count[name] for count in counts.values())]
    table = FittedTable(("task", "rows", "of", *outcomes), 1, 1)
    for task, count in counts.items():
        numbers = (count.total(), loaded[task], *(count[name] for name in outcomes))
        table.add_row(task, *map(str, numbers))
    console = table_console(ROWS_PIPE_WIDTH)
    table.print(console)
    for line in other_readings_lines(run.results, chosen, reading):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    for line in (f"{run.folder}: {run.state or run.ended}", *([run.newer] if run.newer else [])):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    return EXIT_WHOLE


def tasks_of_run(
    folder: Path, results: Mapping[str, Any], tasks: Sequence[str], reading: str | None
) -> list[str]:
    """Return these tasks of the run, or all without `tasks`. Raises MarathonError for one that it lacks, or a reading."""
    chosen = list(tasks) or list(results["tasks"])
    for task in chosen:
        known = results["tasks"]
        if task not in known:
            raise MarathonError(
                f"--tasks: {folder} has no task '{task}'.{did_you_mean(task, known)} Its tasks: {', '.join(known)}"
            )
        names = known[task]["readings"]
        if reading is not None and reading not in names:
            raise MarathonError(
                f"--reading: {task} has no reading '{reading}'.{did_you_mean(reading, names)} "
                f"Its readings: {', '.join(names)}"
            )
    return chosen


def print_listed(folder: Path, rows: Sequence[ListedRow], only: str | None, n_graded: int) -> None:
    """Print a table of the rows and their number by outcome; of `n_graded` graded rows some may not be listed."""
    from marathon_eval.results.failures import graded_words

    table = FittedTable(LISTED_COLUMNS, len(LISTED_COLUMNS), 2)
    for row in rows:
        said = next((text for text in (row.error, row.reason) if text is not None), row.response)
        is_graded = row.outcome == NAMES[GRADED] and row.score is not None
        table.add_row(
            row.task,
            str(row.row),
            graded_words(row.metric, row.score or 0.0, row.higher_is_better) if is_graded else row.outcome,
            *(short_text(text) for text in (row.target, row.answer, said)),
        )
    console = table_console(ROWS_PIPE_WIDTH)
    if rows:
        table.print(console)
    counts = Counter(row.outcome for row in rows if row.outcome != NAMES[GRADED])
    none = f"no row is {only or 'wrong, unanswered, failed or unscored'}"
    # where all rows are graded, "no row is wrong" would praise a transcript of which every word is wrong
    parts = [f"{n} {outcome}" for outcome, n in counts.items()] or [none] * (
        only != "graded" and (only is not None or not n_graded)
    )
    parts += [f"{n_graded} graded"] if only in (None, "graded") and (n_graded or only) else []
    text = ", ".join(parts)
    console.print(f"{folder}: {text}", highlight=False, soft_wrap=True)


def short_text(text: str | list[str] | None) -> str:
    """Return a text, or several joined, in one line of at most LISTED_TEXT_CHARS; where it goes on, `…` says so."""
    whole = " | ".join(text) if isinstance(text, list) else text or ""
    line = " ".join(whole.split())
    return line if len(line) <= LISTED_TEXT_CHARS else line[: LISTED_TEXT_CHARS - 1] + "…"
