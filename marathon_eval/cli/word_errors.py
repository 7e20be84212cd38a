"""Prints the most frequent errors of a run's transcripts: replaced, left out and added words, or characters."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marathon_eval.cli.fitted_table import FittedTable, table_console
from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.run_rows import ROWS_PIPE_WIDTH, ShownRun
from marathon_eval.errors import MarathonError
from marathon_eval.results.word_errors import WordErrors, word_errors_of

#: Errors of a kind that the table lists, and --json.
MOST_SHOWN, MOST_IN_JSON = 15, 1000
ERROR_HEADINGS = ("error", "reference", "heard", "count")


def print_word_errors(run: ShownRun, chosen: Sequence[str], reading: str | None, as_json: bool) -> int:
    """Print the most frequent errors of each task that has an error rate, and return 0.

    Raises MarathonError if none has one.
    """
    counted = {task: found for task in chosen if (found := task_errors(run, task, reading)) is not None}
    if not counted:
        where = f"the reading {reading}" if reading else "the headline's reading"
        raise MarathonError(
            f"--word_errors: {run.folder}: {where} of {', '.join(chosen)} has no error rate, such as wer or cer"
        )
    state = run.state or "finished"
    if as_json:
        tasks = {task: found.facts(MOST_IN_JSON) for task, found in counted.items()}
        print(json.dumps({"folder": str(run.folder), "state": state, "tasks": tasks}, ensure_ascii=False))
        return EXIT_WHOLE
    console = table_console(ROWS_PIPE_WIDTH)
    for task, found in counted.items():
        facts = found.facts(MOST_SHOWN)
        error_table(task, facts).print(console)
        for line in lines_below(facts):
            console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(f"{run.folder}: {state}", markup=False, highlight=False, soft_wrap=True)
    return EXIT_WHOLE


def task_errors(run: ShownRun, task: str, reading: str | None) -> WordErrors | None:
    """Return the errors of a task under a reading (default: the headline's); None without an error rate."""
    summary = run.results["tasks"][task]
    headline = summary["headline"] or {}
    shown = reading or headline.get("reading") or next(iter(summary["readings"]), "")
    found = word_errors_of(headline, summary.get("metrics") or {}, shown)
    if found is not None:
        for row in run.read(run.folder, task):
            found.add(row, shown)
    return found


def error_table(task: str, facts: Mapping[str, Any]) -> FittedTable:
    """Return a table of the most frequent errors, a section for each kind."""
    rate = facts["substituted"] + facts["deleted"] + facts["inserted"]
    title = f"{task}: {rate} errors in {facts['reference_units']} {facts['unit']} of {facts['rows']} rows"
    table = FittedTable(ERROR_HEADINGS, 3, 1, title)
    for kind, errors in (
        ("replaced", facts["substitutions"]),
        ("left out", facts["deletions"]),
        ("added", facts["insertions"]),
    ):
        for place, error in enumerate(errors):
            gold, heard = (visible_unit(error.get(name, "")) for name in ("reference", "heard"))
            table.add_row("" if place else kind, gold, heard, str(error["count"]))
        table.add_section()
    return table


def visible_unit(unit: str) -> str:
    """Return a word or character as a table shows it: a space would not be seen."""
    return "(space)" if unit.isspace() else unit


def lines_below(facts: Mapping[str, Any]) -> Iterator[str]:
    """Yield how many errors there are of each kind, on which texts, and what was not counted exactly."""
    yield (
        f"{facts['substituted']} replaced, {facts['deleted']} left out, {facts['inserted']} added; the {MOST_SHOWN} most "
        f"frequent of each are listed (--json: {MOST_IN_JSON}), on the texts that {facts['metric']} compares."
    )
    if facts["counts_too_low_by_at_most"]:
        yield f"There are very many different errors: a count may be too low by up to {facts['counts_too_low_by_at_most']}."
