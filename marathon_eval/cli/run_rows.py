"""Prints the rows of a run, finished or going on: how many are right, and those that are not, as tables or JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.cli.fitted_table import FittedTable, table_console
from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.results.outcomes import NAMES

if TYPE_CHECKING:
    from marathon_eval.results.failures import ListedRow, ReadRows

ROWS_PIPE_WIDTH = 160
#: Characters of a text in the table; --json prints it whole.
LISTED_TEXT_CHARS = 60
LISTED_COLUMNS = ("task", "row", "outcome", "target", "read as", "response or error")


#: What is said of a run without results, by `UnfinishedRun.goes_on`.
_STATES = {
    True: "goes on",
    None: "goes on, or was killed, on another machine",
    False: "was killed before its end",
}


class ShownRun(NamedTuple):
    """Holds what `show RUN` reads of a run: its folder, its tasks, the reader of its rows, and a word on its state."""

    folder: Path
    results: Mapping[str, Any]
    read: ReadRows
    state: str = ""


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
        return ShownRun(folder, read_results(folder), read_samples)
    state = _STATES[unfinished.goes_on]
    return ShownRun(unfinished.folder, unfinished.facts, partial_rows, f"{unfinished.facts['model']} {state}")


def print_rows_not_right(path: Path, tasks: Sequence[str], reading: str | None, as_json: bool) -> int:
    """Print the rows of a run's tasks (all without `tasks`) that are not right, and return 0. Raises MarathonError."""
    from marathon_eval.results.failures import rows_not_right

    run = shown_run(path)
    chosen = list(tasks) or list(run.results["tasks"])
    check_tasks_of_run(run.folder, run.results, chosen, reading)
    rows = rows_not_right(run.folder, run.results, chosen, reading, run.read)
    if as_json:
        for row in rows:
            print(json.dumps(asdict(row), ensure_ascii=False))
        return EXIT_WHOLE
    print_listed(run.folder, list(rows))
    if run.state:
        print(printable(f"{run.state}: more rows may follow"))
    return EXIT_WHOLE


def print_outcomes(path: Path, tasks: Sequence[str], reading: str | None, as_json: bool) -> int:
    """Print how many rows of each task are right, wrong, unanswered and so on, and return 0. Raises MarathonError."""
    from marathon_eval.results.failures import listed_rows

    run = shown_run(path)
    chosen = list(tasks) or list(run.results["tasks"])
    check_tasks_of_run(run.folder, run.results, chosen, reading)
    counts = {
        task: Counter(row.outcome for row in listed_rows(run.folder, run.results, task, reading, run.read))
        for task in chosen
    }
    loaded = {task: run.results["tasks"][task]["n_loaded"] for task in chosen}
    if as_json:
        shown = {task: {"n_loaded": loaded[task], "outcomes": dict(counts[task])} for task in chosen}
        print(json.dumps({"folder": str(run.folder), "state": run.state or "finished", "tasks": shown}))
        return EXIT_WHOLE
    outcomes = [name for name in NAMES.values() if any(count[name] for count in counts.values())]
    table = FittedTable(("task", "rows", "of", *outcomes), 1, 1)
    for task, count in counts.items():
        numbers = (count.total(), loaded[task], *(count[name] for name in outcomes))
        table.add_row(task, *map(str, numbers))
    console = table_console(ROWS_PIPE_WIDTH)
    table.print(console)
    console.print(f"{run.folder}: {run.state or 'finished'}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_WHOLE


def check_tasks_of_run(
    folder: Path, results: Mapping[str, Any], tasks: Sequence[str], reading: str | None
) -> None:
    """Check that the run has these tasks, and that they have the reading. Raises MarathonError."""
    for task in tasks:
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


def print_listed(folder: Path, rows: Sequence[ListedRow]) -> None:
    """Print a table of the rows and their number by outcome."""
    table = FittedTable(LISTED_COLUMNS, len(LISTED_COLUMNS), 2)
    for row in rows:
        said = row.error if row.error is not None else row.response
        table.add_row(
            row.task,
            str(row.row),
            row.outcome,
            *(short_text(text) for text in (row.target, row.answer, said)),
        )
    console = table_console(ROWS_PIPE_WIDTH)
    if rows:
        table.print(console)
    counts = Counter(row.outcome for row in rows)
    text = (
        ", ".join(f"{n} {outcome}" for outcome, n in counts.items())
        or "no row is wrong, unanswered or failed"
    )
    console.print(f"{folder}: {text}", highlight=False, soft_wrap=True)


def short_text(text: str | list[str] | None) -> str:
    """Return a text, or several joined, in one line of at most LISTED_TEXT_CHARS; where it goes on, `…` says so."""
    whole = " | ".join(text) if isinstance(text, list) else text or ""
    line = " ".join(whole.split())
    return line if len(line) <= LISTED_TEXT_CHARS else line[: LISTED_TEXT_CHARS - 1] + "…"
