"""Prints one row of a run: its outcome, what was asked and heard, the response, the judge's texts and every reading."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.cli.run_rows import ShownRun, prompt_fields
from marathon_eval.cli.shown_judge import judge_prompt_lines, judge_prompts_of_run, reply_lines
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.grades import grades_in_words

if TYPE_CHECKING:
    from marathon_eval.evaluator.rescore.recorded_prompts import PromptFinder


#: Stands for the columns that a sample does not hold.
_NO_FIELDS = (
    "none in the samples: `sample_fields` of the task keeps columns there, and `show TASK ROW` prints all"
)


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
    more = {name: sample.get(name) for name in ("status", "judge", "fields", "usage")}
    more["readings"] = with_scores_of_rows(sample["readings"], summary.get("metrics") or {})
    more["judge_prompts"] = judge_prompts_of_run(prompts, sample, task)
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


def with_scores_of_rows(
    readings: Mapping[str, Mapping[str, Any]], metrics: Mapping[str, Mapping[str, Mapping[str, Any]]]
) -> dict[str, dict[str, Any]]:
    """Return a sample's readings without scores of metrics that have a value over all rows alone, such as macro_f1."""
    from marathon_eval.results.outcomes import is_of_all_rows

    return {
        name: {
            **entry,
            "scores": {
                metric: score
                for metric, score in entry["scores"].items()
                if not is_of_all_rows(metric, metrics.get(name, {}).get(metric, {}))
            },
        }
        for name, entry in readings.items()
    }


def clip_text(clip: Mapping[str, Any]) -> str:
    """Return the path of a sample's clip, and its stretch where it is not the whole file."""
    start, stop = clip.get("start") or 0.0, clip.get("stop")
    if not start and stop is None:
        return str(clip["path"])
    return f"{clip['path']}, {start:g} s to " + ("the end" if stop is None else f"{stop:g} s")


def window_lines(details: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines per window of a row that was asked in windows: its stretch, its own prompt, response and read answer.

    Stretch, prompt and answer stand only where the run recorded them.
    """
    responses = _of_windows(details, "window_responses")
    answers, prompts, spans = (
        _of_windows(details, name, len(responses))
        for name in ("window_answers", "window_prompts", "window_spans")
    )
    for place, text in enumerate(responses):
        stretch = f" ({'-'.join(f'{end:g}' for end in spans[place])} s)" if spans else ""
        read = f", read as {answers[place]!r}" if answers else ""
        if prompts:
            yield f"window   {place + 1}{stretch} was asked"
            yield from (f"  | {line}" for line in prompts[place].splitlines())
        yield f"window   {place + 1}{stretch}: {text!r}{read}"


def _of_windows(details: Mapping[str, Any], name: str, count: int | None = None) -> list[Any]:
    """Return what a run recorded by window; nothing where the file has something else in its place."""
    found = details.get(name)
    if not isinstance(found, list) or count not in (None, len(found)):
        return []
    kinds = {"window_spans": list, "window_answers": str | None}
    if not all(isinstance(item, kinds.get(name, str)) for item in found):
        return []
    if name == "window_spans" and not all(isinstance(end, int | float) for span in found for end in span):
        return []
    return found


def asked_line(details: Mapping[str, Any]) -> Iterator[str]:
    """Yield, for a row that was asked in windows, what the prompt above was sent with; nothing for another row."""
    count = len(_of_windows(details, "window_responses"))
    if not count:
        return
    if details.get("combine") == "map_reduce":
        yield f"asked    about the notes on {count} windows of the clip; each window's prompt stands below"
    elif _of_windows(details, "window_prompts", count):
        yield f"asked    {count} times, each about a window of the clip; not as above, but as stands below"
    elif _of_windows(details, "window_spans", count):
        yield f"asked    {count} times with this prompt, each about a window of the clip"
    else:
        yield f"asked    {count} times, each about a window of the clip; what each was asked is not recorded"


def row_lines(row: Mapping[str, Any]) -> list[str]:
    """Return the lines that `show RUN ROW` prints."""
    score = "" if row["score"] is None else f", {row['metric']} {row['score']:.4g}"
    lines = [
        f"task     {row['task']}, row {row['row']}",
        f"outcome  {row['outcome']} under the reading {row['reading']}{score}",
        *(f"audio    {clip_text(clip)}" for clip in row["audio"]),
        f"target   {row['target']}" + (f": {row['target_text']}" if row["target_text"] else ""),
        "fields   " + (json.dumps(row["fields"], ensure_ascii=False) if row["fields"] else _NO_FIELDS),
    ]
    if row["prompt"] is None:
        lines.append(f"prompt   none: {row['prompt_missing']}")
    else:
        prompt = (f"  | {line}" for line in row["prompt"].splitlines())
        lines += [f"system   {row['system']}", "prompt", *prompt]
    details = (row["usage"] or {}).get("details") or {}
    lines += asked_line(details)
    lines += [f"error    {row[name]}" for name in ("error", "reason") if row[name]]
    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    lines += [f"response {text!r}" for text in texts if text is not None]
    lines += window_lines(details)
    for name, entry in (row["readings"] or {}).items():
        scores = ", ".join(f"{metric} {value}" for metric, value in entry["scores"].items())
        answer = grades_in_words(entry["answer"])
        lines.append(f"reading  {name}: {answer!r} by {entry['rule']}: {scores or 'no score'}")
    if compared := row.get("compared"):
        lines.append(f"compared by {compared['metric']}, after its normaliser")
        lines += [f"  reference {compared['reference']!r}", f"  answer    {compared['answer']!r}"]
    lines += reply_lines(row["judge"] or {}, [entry["answer"] for entry in (row["readings"] or {}).values()])
    return [*lines, *judge_prompt_lines(row["judge_prompts"])]
