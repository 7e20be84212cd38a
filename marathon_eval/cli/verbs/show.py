"""Show one document of a task: its rendered prompt, target, fields, audio, and every cached response to it."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import fingerprints, opened_read_only, stored
from marathon_eval.cache.entry import RESPONSE
from marathon_eval.cli.verbs._trust import add_trust_argument
from marathon_eval.cli.verbs.cache import folder_of
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marathon_eval.api.model import Request
    from marathon_eval.task.task import Doc, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "task", metavar="TASK", help="a name that `marathon-eval ls tasks` prints, not a group"
    )
    parser.add_argument(
        "doc", type=int, metavar="DOC", help="number of the document's row in the dataset, counted from 0"
    )
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


def run(arguments: argparse.Namespace) -> int:
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

    audios = () if doc.error is not None else task.requests(doc, model)[0].audios
    if not audios:
        raise MarathonError(f"--play: row {doc.doc_id} of {task.name} has no audio")
    for audio in audios:
        play(audio)


def described_doc(task: Task, doc: Doc, arguments: argparse.Namespace) -> list[str]:
    """Return the lines that `show` prints: audio, target, fields, prompts and cached responses."""
    lines = [f"task     {task.name}, row {doc.doc_id}"]
    if doc.error is not None:
        return [*lines, f"error    {doc.error}"]
    request = task.requests(doc, arguments.model)[0]
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
        *("  | " + line for line in request.prompt.splitlines()),
    ]
    shas = [facts[audio].sha256 for audio in request.audios if audio in facts]
    answers = list(cached_answers(request, shas, arguments.use_cache))
    return [*lines, f"answers  {len(answers)} in the cache", *answers]


def cached_answers(request: Request, shas: list[str], use_cache: str | None) -> list[str]:
    """Return one line per cached response to this prompt and audio: key, model and press, date, text."""
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
                lines.append(f"  {short}  {model}  {row['created']}  {row['response']['text']!r}")
    return lines


def named(fingerprint: Mapping[str, Any]) -> str:
    """Return the model with its press and ratio as text, such as `qwen_omni dart 0.5`."""
    press = fingerprint.get("press") or {}
    words = [fingerprint.get("model", "unknown model"), press.get("press"), press.get("ratio")]
    return " ".join(str(word) for word in words if word is not None)
