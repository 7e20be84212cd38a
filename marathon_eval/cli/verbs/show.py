"""Show one row of a task: its prompt, audio, target and cached answers, right or wrong; or a run's rows that are not right.

marathon-eval show gtzan 17 --data_dir DATA     one row, with every cached answer to it
marathon-eval show RUN                          how many rows are right; of a run that goes on, so far
marathon-eval show RUN --wrong                  wrong, unanswered and failed rows of a run (--json: as JSON lines)
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import fingerprints, opened_read_only, stored
from marathon_eval.cache.entry import RESPONSE, response_from
from marathon_eval.cli.verbs._trust import add_trust_argument
from marathon_eval.cli.verbs.cache import folder_of
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from marathon_eval.api.model import Request, Response
    from marathon_eval.task.task import Doc, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task",
        metavar="TASK|RUN",
        help="a name that `marathon-eval ls tasks` prints, not a group; or the folder of a run, finished or going on",
    )
    parser.add_argument(
        "doc",
        type=int,
        nargs="?",
        metavar="ROW",
        help="number of the document's row in the dataset, counted from 0",
    )
    add_run_listing(parser)
    parser.add_argument(
        "--data_dir", metavar="DIR", help="a local copy of the dataset (default: download the needed files)"
    )
    parser.add_argument(
        "--subset", metavar="NAME", help="a row selection that the task defines, such as paper or full"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="render the prompt variant that the task defines for this model"
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders of yours with more tasks/"
    )
    parser.add_argument(
        "--use_cache",
        "-c",
        metavar="DIR",
        help="the cache's folder (default: $MARATHON_EVAL_CACHE, or ~/.cache/marathon_eval)",
    )
    parser.add_argument(
        "--play",
        action="store_true",
        help="play the audio with a player of the system (aplay, ffplay, mpv, ...)",
    )


def add_run_listing(parser: argparse.ArgumentParser) -> None:
    """Add the flags that list rows of a run."""
    parser.add_argument(
        "--wrong", action="store_true", help="list the wrong, unanswered and failed rows of a run"
    )
    parser.add_argument(
        "--tasks", "--task", nargs="+", default=[], metavar="TASK", help="of a run, these tasks alone"
    )
    parser.add_argument(
        "--reading", metavar="NAME", help="judge answers by this reading (default: the headline's)"
    )
    parser.add_argument(
        "--json",
        action="store_true",
        help="of a run, print JSON; with --wrong a line per row, with whole texts",
    )


def run(arguments: argparse.Namespace) -> int:
    names = [name for item in arguments.tasks for name in item.split(",") if name]
    if arguments.wrong:
        from marathon_eval.cli.run_rows import print_rows_not_right

        if arguments.doc is not None:
            raise MarathonError("show: --wrong lists the rows of a run; leave out ROW")
        return print_rows_not_right(Path(arguments.task), names, arguments.reading, arguments.json)
    if arguments.doc is None:
        if not Path(arguments.task).is_dir():
            raise MarathonError("show: give TASK and ROW, or the folder of a run")
        from marathon_eval.cli.run_rows import print_outcomes

        return print_outcomes(Path(arguments.task), names, arguments.reading, arguments.json)
    return show_row(arguments)


def show_row(arguments: argparse.Namespace) -> int:
    """Print one row of a task, and play it with --play. Raises MarathonError."""
    from marathon_eval.task.task import Group, load_task

    registry = Registry(arguments.include_path, arguments.trust_task_code)
    task = load_task(registry.task_path(arguments.task), registry.task_path, registry)
    if isinstance(task, Group):
        raise MarathonError(f"show: {arguments.task} is a group; its tasks: {', '.join(task.members)}")
    docs = task.docs(arguments.data_dir, subset=arguments.subset, limit=None, samples=[arguments.doc]).docs
    if not docs:
        raise MarathonError(f"show: {arguments.task} has no row {arguments.doc}")
    for line in described_doc(task, docs[0], arguments):
        print(line, flush=True)
    if arguments.play:
        play_audio(task, docs[0], arguments.model)
    return 0


def play_audio(task: Task, doc: Doc, model: str | None) -> None:
    """Play all clips of the document, one after the other. Raises MarathonError if it has none or playing fails."""
    from marathon_eval.cli.playing import play

    audios = () if doc.error is not None else _shown_request(task, doc, model).audios
    if not audios:
        raise MarathonError(f"--play: row {doc.doc_id} of {task.name} has no audio")
    for audio in audios:
        play(audio)


def described_doc(task: Task, doc: Doc, arguments: argparse.Namespace) -> list[str]:
    """Return the lines that `show` prints: audio, target, fields, prompts and cached responses."""
    lines = [f"task     {task.name}, row {doc.doc_id}"]
    if doc.error is not None:
        return [*lines, f"error    {doc.error}"]
    request = _shown_request(task, doc, arguments.model)
    with ResponseCache(None) as memo:
        facts, errors = memo.facts(request.audios)
    for audio in request.audios:
        description = (
            f"{facts[audio].seconds:.2f} s, sha256 {facts[audio].sha256[:12]}"
            if audio in facts
            else errors[audio]
        )
        lines.append(f"audio    {audio.path}: {description}")
    lines += [
        f"target   {task.target(doc)}",
        f"fields   {json.dumps(doc.fields, ensure_ascii=False, default=str)}",
    ]
    lines += [
        f"system   {request.system}",
        "prompt",
        *("  | " + line for line in request.shown().splitlines()),
    ]
    shas = [facts[audio].sha256 for audio in request.audios if audio in facts]

    def verdict(response: Response) -> str:
        return response_verdict(task, doc, response, arguments.reading)

    if task.has_turns:
        answers = cached_turns(task, doc, arguments)
    else:
        answers = answers_by_model(request, shas, arguments.use_cache, verdict)
    return [*lines, f"answers  {len(answers)} in the cache", *answers]


def _shown_request(task: Task, doc: Doc, model: str | None) -> Request:
    """Return the request that `show` prints: the row's, or the whole dialogue with placeholders as answers."""
    return task.whole_dialogue(doc, model) if task.has_turns else task.requests(doc, model)[0]


def cached_turns(task: Task, doc: Doc, arguments: argparse.Namespace) -> list[str]:
    """Return one line per cached answer to a turn of the row's dialogue: key, model, date, number of the turn, text.

    Each model's answers are followed turn by turn, for its later turns hold its own earlier answers.
    """
    path = folder_of(arguments.use_cache) / FILE_NAME
    first = task.requests(doc, arguments.model)
    if not path.is_file() or not first:
        return []
    opening = [*map(list, first[0].earlier), ["user", first[0].prompt]]
    entries: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    with opened_read_only(path) as connection:
        models = fingerprints(connection)
        for key, row in stored(connection, RESPONSE):
            if _turns_of(row)[: len(opening)] == opening:
                entries.setdefault(row["fingerprint"], []).append((key, row))
    with ResponseCache(None) as memo:
        lines = []
        for fingerprint, found in entries.items():
            name = named(models.get(fingerprint, {}))

            def follow(answers: list[str], found: Sequence[Any] = found, name: str = name) -> Iterator[str]:
                request = task.next_turn(doc, answers, arguments.model)
                if request is None:
                    return
                asked = [*map(list, request.earlier), ["user", request.prompt]]
                facts, _ = memo.facts(request.audios)
                shas = [facts[audio].sha256 for audio in request.audios if audio in facts]
                for key, row in found:
                    if _turns_of(row) == asked and row["request"]["audio"] == shas:
                        text, short = row["response"]["text"], key.removeprefix(RESPONSE)[:12]
                        yield f"  {short}  {name}  {row['created']}  turn {len(answers) + 1}: {text!r}"
                        yield from follow([*answers, text])

            lines += list(follow([]))
    return lines


def _turns_of(row: Mapping[str, Any]) -> list[list[str]]:
    return [*row["request"].get("earlier", []), ["user", row["request"]["prompt"]]]


def response_verdict(task: Task, doc: Doc, response: Response, reading: str | None) -> str:
    """Return `right`, `wrong: read as 'C'` and the like for one response. Raises MarathonError for an unknown reading."""
    from marathon_eval.results.failures import verdict_words

    if not task.has_gold:
        return "not scored: the task has no right answers"
    headline = task.scorer.headline or {}
    shown = reading or headline.get("reading") or next(iter(task.readings), "")
    if shown not in task.readings:
        nearest = did_you_mean(shown, task.readings)
        raise MarathonError(
            f"--reading: {task.name} has no reading '{shown}'.{nearest} Readings: {', '.join(task.readings)}"
        )
    return verdict_words(task.score(doc, [response]).line(), shown, headline.get("metric", ""))


def answers_by_model(
    request: Request, shas: list[str], use_cache: str | None, verdict: Callable[[Response], str]
) -> list[str]:
    """Return one line per cached response to this prompt and audio: key, model and press, date, text, verdict."""
    path = folder_of(use_cache) / FILE_NAME
    if not path.is_file():
        return []
    lines = []
    with opened_read_only(path) as connection:
        models = fingerprints(connection)
        for key, row in stored(connection, RESPONSE):
            cached = row["request"]
            if cached["prompt"] == request.prompt and cached["audio"] == shas:
                model = named(models.get(row["fingerprint"], {}))
                short = key.removeprefix(RESPONSE)[:12]
                judged = verdict(response_from(row["response"]))
                lines.append(f"  {short}  {model}  {row['created']}  {row['response']['text']!r}  {judged}")
    return lines


def named(fingerprint: Mapping[str, Any]) -> str:
    """Return the model with its press and ratio as text, such as `qwen_omni dart 0.5`."""
    press = fingerprint.get("press") or {}
    words = [fingerprint.get("model", "unknown model"), press.get("press"), press.get("ratio")]
    return " ".join(str(word) for word in words if word is not None)
