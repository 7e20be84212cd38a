"""Prints one row of a run: its outcome, what was asked and heard, the response, the judge's texts and every reading."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.cli.run_rows import ShownRun, prompt_fields
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.evaluator.rescore.recorded_prompts import PromptFinder


def print_run_row(
    run: ShownRun,
    tasks: Sequence[str],
    number: int,
    reading: str | None,
    prompts: PromptFinder,
    as_json: bool,
) -> int:
    """Print one row of a run and return 0. Raises MarathonError where several tasks, or none, could be meant."""
    if len(tasks) != 1:
        raise MarathonError(f"show: {run.folder} has several tasks; name one with --task: {', '.join(tasks)}")
    row = row_facts(run, tasks[0], number, reading, prompts)
    if as_json:
        print(json.dumps(row, ensure_ascii=False))
        return EXIT_WHOLE
    for line in row_lines(row):
        print(printable(line))
    return EXIT_WHOLE


def row_facts(
    run: ShownRun, task: str, number: int, reading: str | None, prompts: PromptFinder
) -> dict[str, Any]:
    """Return the row as `show RUN --wrong --json` lists it, with its readings, judge's texts, fields and usage.

    Raises MarathonError if the run has no such row.
    """
    from marathon_eval.results.failures import listed_row
    from marathon_eval.results.outcomes import deciding

    sample = next((line for line in run.read(run.folder, task) if line["doc_id"] == number), None)
    if sample is None:
        raise MarathonError(f"show: {run.folder} has no row {number} of {task}")
    summary = run.results["tasks"][task]
    headline = summary["headline"] or {}
    shown = reading or headline.get("reading") or next(iter(summary["readings"]), "")
    listed = listed_row(task, sample, shown, deciding(headline, summary.get("metrics")))
    digest = listed.prompt_sha256
    found, why = prompts.of(task, [digest] if digest else [])
    more = {name: sample.get(name) for name in ("status", "readings", "judge", "choices", "fields", "usage")}
    compared = compared_as(summary, sample, shown)
    return {**asdict(listed), "reading": shown, **prompt_fields(digest, found, why), **more, **compared}


def compared_as(summary: Mapping[str, Any], sample: Mapping[str, Any], reading: str) -> dict[str, Any]:
    """Return `compared` of a transcript: metric, reference and answer as its error rate compares them; else nothing."""
    from marathon_eval.results.word_errors import compared_texts, word_errors_of

    errors = word_errors_of(summary["headline"], summary.get("metrics") or {}, reading)
    compared = None if errors is None else compared_texts(errors.metric, sample, reading)
    if errors is None or compared is None:
        return {}
    texts = {"reference": compared.reference, "answer": compared.hypothesis}
    return {"compared": {"metric": errors.name, **texts}}


def window_lines(details: Mapping[str, Any]) -> list[str]:
    """Return a line per window of a row that was asked in windows: its response, and the answer read in it if recorded."""
    responses, answers = details.get("window_responses") or (), details.get("window_answers")
    return [
        f"window   {place + 1}: {text!r}" + (f", read as {answers[place]!r}" if answers else "")
        for place, text in enumerate(responses)
    ]


def row_lines(row: Mapping[str, Any]) -> list[str]:
    """Return the lines that `show RUN ROW` prints."""
    score = "" if row["score"] is None else f", {row['metric']} {row['score']:.4g}"
    lines = [
        f"task     {row['task']}, row {row['row']}",
        f"outcome  {row['outcome']} under the reading {row['reading']}{score}",
        *(f"audio    {path}" for path in row["audio"]),
        f"target   {row['target']}",
        f"fields   {json.dumps(row['fields'], ensure_ascii=False)}",
    ]
    if row["prompt"] is None:
        lines.append(f"prompt   none: {row['prompt_missing']}")
    else:
        prompt = (f"  | {line}" for line in row["prompt"].splitlines())
        lines += [f"system   {row['system']}", "prompt", *prompt]
    lines += [f"error    {row[name]}" for name in ("error", "reason") if row[name]]
    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    lines += [f"response {text!r}" for text in texts if text is not None]
    lines += window_lines((row["usage"] or {}).get("details") or {})
    for name, entry in (row["readings"] or {}).items():
        scores = ", ".join(f"{metric} {value}" for metric, value in entry["scores"].items())
        lines.append(f"reading  {name}: {entry['answer']!r} by {entry['rule']}: {scores or 'no score'}")
    if compared := row.get("compared"):
        lines.append(f"compared by {compared['metric']}, after its normaliser")
        lines += [f"  reference {compared['reference']!r}", f"  answer    {compared['answer']!r}"]
    if row["judge"]:
        lines.append(f"judge    {json.dumps(row['judge'], ensure_ascii=False)}")
    return lines
