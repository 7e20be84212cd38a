"""Collects what `show TASK ROW` prints: the row's prompts, audio and target, and every cached answer with its verdict."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.entries import fingerprints, opened_read_only, stored
from marathon_eval.cache.entry import RESPONSE, response_from
from marathon_eval.cli.shown_judge import filled_judge_prompts, judge_prompt_lines
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.api.model import Request, Response
    from marathon_eval.task.task import Doc, Task

#: Seconds above which a clip without an answer may have been asked in windows.
LONG_SECONDS = 30.0


def doc_facts(
    task: Task, doc: Doc, model: str | None, reading: str | None, cache_file: Path
) -> dict[str, Any]:
    """Return audio, target, fields, prompts and cached answers of a row; of a row with an error, that alone."""
    facts: dict[str, Any] = {"task": task.name, "row": doc.doc_id, "error": doc.error}
    if doc.error is not None:
        return facts
    request = shown_request(task, doc, model)
    with ResponseCache(None) as memo:
        heard, errors = memo.facts(request.audios)
    clips = [
        {"path": audio.path, "seconds": heard[audio].seconds, "sha256": heard[audio].sha256}
        if audio in heard
        else {"path": audio.path, "error": errors[audio]}
        for audio in request.audios
    ]

    def verdict(response: Response) -> str:
        return response_verdict(task, doc, response, reading)

    shas = [heard[audio].sha256 for audio in request.audios if audio in heard]
    if task.has_turns:
        answers = cached_turns(task, doc, model, cache_file)
    else:
        answers = answers_by_model(request, shas, cache_file, verdict)
    seconds = [heard[audio].seconds for audio in request.audios if audio in heard]
    return {
        **facts,
        "audio": clips,
        "target": task.target(doc),
        "fields": doc.fields,
        "system": request.system,
        "prompt": request.shown(),
        "prompt_sha256": request.prompt_sha256,
        "judge_prompts": filled_judge_prompts(task, doc),
        "windows": number_of_windows(task, seconds),
        "answers": answers,
    }


def doc_lines(facts: Mapping[str, Any]) -> list[str]:
    """Return the lines that `show TASK ROW` prints."""
    lines = [f"task     {facts['task']}, row {facts['row']}"]
    if facts["error"] is not None:
        return [*lines, f"error    {facts['error']}"]
    for clip in facts["audio"]:
        heard = clip.get("error") or f"{clip['seconds']:.2f} s, sha256 {clip['sha256'][:12]}"
        lines.append(f"audio    {clip['path']}: {heard}")
    return [
        *lines,
        f"target   {facts['target']}",
        f"fields   {json.dumps(facts['fields'], ensure_ascii=False, default=str)}",
        f"system   {facts['system']}",
        "prompt",
        *(f"  | {line}" for line in facts["prompt"].splitlines()),
        *judge_prompt_lines(facts["judge_prompts"]),
        answers_line(facts),
        *map(answer_line, facts["answers"]),
    ]


def number_of_windows(task: Task, seconds: Sequence[float]) -> int | None:
    """Return how many windows the task's long_audio cuts the row's one clip into; None if it is asked as it is."""
    from marathon_eval.evaluator.windows import window_spans
    from marathon_eval.task.yaml.long_audio import LongAudio

    rule = task.config.long_audio
    if not isinstance(rule, LongAudio) or len(seconds) != 1 or seconds[0] <= rule.window.seconds:
        return None
    return len(window_spans(0.0, seconds[0], 1.0, rule.window))


def answers_line(facts: Mapping[str, Any]) -> str:
    """Return how many answers to the row are in the cache; for a row asked in windows, where theirs are."""
    line = f"answers  {len(facts['answers'])} in the cache"
    where = "see `show RUN ROW`"
    if facts["windows"]:
        return (
            f"{line} to the whole clip: it is asked in {facts['windows']} windows; for their answers {where}"
        )
    if not facts["answers"] and any(clip.get("seconds", 0) > LONG_SECONDS for clip in facts["audio"]):
        return f"{line} to the whole clip; for those of a run that cut it into windows (--long_audio) {where}"
    return line


def answer_line(answer: Mapping[str, Any]) -> str:
    """Return key, model with press, date, text and verdict of a cached answer; of a dialogue, the turn instead."""
    start = f"  {answer['key'][:12]}  {answer['model']}  {answer['created']}  "
    if "turn" in answer:
        return f"{start}turn {answer['turn']}: {answer['text']!r}"
    return f"{start}{answer['text']!r}  {answer['verdict']}"


def shown_request(task: Task, doc: Doc, model: str | None) -> Request:
    """Return the request that `show` prints: the row's, or the whole dialogue with placeholders as answers."""
    return task.whole_dialogue(doc, model) if task.has_turns else task.requests(doc, model)[0]


def cached_turns(task: Task, doc: Doc, model: str | None, path: Path) -> list[dict[str, Any]]:
    """Return the cached answers to the turns of the row's dialogue: key, model, date, number of the turn, text.

    Each model's answers are followed turn by turn, for its later turns hold its own earlier answers.
    """
    first = task.requests(doc, model)
    if not path.is_file() or not first:
        return []
    opening = [*map(list, first[0].earlier), ["user", first[0].prompt]]
    entries: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    with opened_read_only(path) as connection:
        for key, row in stored(connection, RESPONSE):
            if _turns_of(row)[: len(opening)] == opening:
                entries.setdefault(row["fingerprint"], []).append((key, row))
        names = model_names(connection, entries)
    with ResponseCache(None) as memo:
        found_answers: list[dict[str, Any]] = []
        for fingerprint, found in entries.items():
            name = names[fingerprint]

            def follow(
                answers: list[str], found: Sequence[Any] = found, name: str = name
            ) -> Iterator[dict[str, Any]]:
                request = task.next_turn(doc, answers, model)
                if request is None:
                    return
                asked = [*map(list, request.earlier), ["user", request.prompt]]
                facts, _ = memo.facts(request.audios)
                shas = [facts[audio].sha256 for audio in request.audios if audio in facts]
                for key, row in found:
                    if _turns_of(row) == asked and row["request"]["audio"] == shas:
                        text = row["response"]["text"]
                        yield {**answer_facts(key, row, name), "turn": len(answers) + 1}
                        yield from follow([*answers, text])

            found_answers += list(follow([]))
    return found_answers


def _turns_of(row: Mapping[str, Any]) -> list[list[str]]:
    return [*row["request"].get("earlier", []), ["user", row["request"]["prompt"]]]


def response_verdict(task: Task, doc: Doc, response: Response, reading: str | None) -> str:
    """Return `right`, `wrong: read as 'C'` and the like for one response. Raises MarathonError for an unknown reading."""
    from marathon_eval.results.failures import verdict_words
    from marathon_eval.results.outcomes import deciding

    if not task.has_gold:
        return "not scored: the task has no right answers"
    headline = task.scorer.headline or {}
    shown = reading or headline.get("reading") or next(iter(task.readings), "")
    if shown not in task.readings:
        nearest = did_you_mean(shown, task.readings)
        raise MarathonError(
            f"--reading: {task.name} has no reading '{shown}'.{nearest} Readings: {', '.join(task.readings)}"
        )
    return verdict_words(task.score(doc, [response]).line(), shown, deciding(headline, task.metric_entries))


def answers_by_model(
    request: Request, shas: list[str], path: Path, verdict: Callable[[Response], str]
) -> list[dict[str, Any]]:
    """Return the cached responses to this prompt and audio: key, model and press, date, text, verdict."""
    if not path.is_file():
        return []
    with opened_read_only(path) as connection:
        entries = [
            (key, row)
            for key, row in stored(connection, RESPONSE)
            if row["request"]["prompt"] == request.prompt and row["request"]["audio"] == shas
        ]
        names = model_names(connection, {row["fingerprint"] for _, row in entries})
    return [
        {
            **answer_facts(key, row, names[row["fingerprint"]]),
            "verdict": verdict(response_from(row["response"])),
        }
        for key, row in entries
    ]


def answer_facts(key: str, row: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Return key, model with press, date and text of a cached response."""
    text = row["response"]["text"]
    return {"key": key.removeprefix(RESPONSE), "model": model, "created": row["created"], "text": text}


def model_names(connection: sqlite3.Connection, wanted: Iterable[str]) -> dict[str, str]:
    """Return the name of each fingerprint as tables show it: model, settings in which these models differ, press, ratio."""
    from marathon_eval.results.run_labels import names_of

    stored_ones = fingerprints(connection)
    known = {key: stored_ones[key] for key in wanted if "model" in stored_ones.get(key, {})}
    names = dict(zip(known, names_of([*known.values()]), strict=True))
    return {key: names.get(key, "unknown model") for key in wanted}
