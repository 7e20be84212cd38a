"""Prints the wrong, unanswered and failed rows of a finished run, as a table or as JSON lines."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.fitted_table import FittedTable, table_console
from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.results.failures import ListedRow

ROWS_PIPE_WIDTH = 160
#: Characters of a text in the table; --json prints it whole.
LISTED_TEXT_CHARS = 60
LISTED_COLUMNS = ("task", "row", "outcome", "target", "read as", "response or error")


def print_rows_not_right(run: Path, tasks: Sequence[str], reading: str | None, as_json: bool) -> int:
    """Print the rows of a run's tasks (all without `tasks`) that are not right, and return 0. Raises MarathonError."""
    from marathon_eval.results.failures import rows_not_right
    from marathon_eval.results.files import newest_run, read_results

    folder = newest_run(run)
    results = read_results(folder)
    chosen = list(tasks) or list(results["tasks"])
    check_tasks_of_run(folder, results, chosen, reading)
    rows = rows_not_right(folder, results, chosen, reading)
    if as_json:
        for row in rows:
            print(json.dumps(asdict(row), ensure_ascii=False))
        return EXIT_WHOLE
    print_listed(folder, list(rows))
    return EXIT_WHOLE


def check_tasks_of_run(
    folder: Path, results: dict[str, Any], tasks: Sequence[str], reading: str | None
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
