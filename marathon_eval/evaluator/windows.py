"""Cuts long clips into windows: each window is a request of its own, with its own cache entry.

`--long_audio` or a task's key `long_audio` says how long a window is and how the answers combine (window_answers.py).
Without it no clip is cut. Windows of one clip have equal lengths, so that none is too short to be heard.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pydantic import ValidationError

from marathon_eval.api.audio import Audio, AudioFacts
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.transforms import seconds_after
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.requests import RequestPool, seconds_of
from marathon_eval.evaluator.split import AnswerReader, Split
from marathon_eval.task.judged_readings import readings_without_judge
from marathon_eval.task.yaml.long_audio import LongAudio, LongAudioRule, Windows

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc
    from marathon_eval.task.task import Task

FLAG = "--long_audio"
_FORM = f"{FLAG} refuse, or {FLAG} window:seconds=600,overlap=0,combine=vote"


def parse_long_audio(text: str) -> LongAudioRule:
    """Parse the value of --long_audio. Raises MarathonError that says what is allowed."""
    if text == "refuse":
        return "refuse"
    kind, _, settings = text.partition(":")
    if kind != "window" or not settings:
        raise MarathonError(f"{FLAG}: '{text}' is neither of: {_FORM}")
    try:
        return LongAudio(window=Windows.model_validate(parse_args(settings, FLAG)))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(key) for key in first["loc"]) or "window"
        allowed = ", ".join(Windows.model_fields)
        raise MarathonError(f"{FLAG}: {where}: {first['msg']} (settings: {allowed}; {_FORM})") from None


def with_windows(
    pool: RequestPool, tasks: Mapping[str, Task], config: RunConfig, cache: ResponseCache
) -> RequestPool:
    """Return the pool with a split for each request whose clip is longer than its task's window.

    A row of several clips that are longer together becomes an error row. Raises MarathonError for a flag that cannot be
    read, if two tasks cut one and the same request differently, and for a choice by answers that only a judge reads.
    """
    flag = None if config.long_audio is None else parse_long_audio(config.long_audio)
    rules = {
        name: rule.window
        for name, task in tasks.items()
        if isinstance(rule := flag or task.config.long_audio, LongAudio)
    }
    doc_requests = dict(pool.doc_requests)
    splits: dict[Request, Split] = {}
    for name, windows in rules.items():
        facts, _ = cache.facts(
            audio
            for item in doc_requests[name]
            for request in (*item.requests, *([item.dialogue.whole] if item.dialogue else []))
            for audio in request.audios
        )
        doc_requests[name] = [_cut(item, windows, tasks[name], facts, splits) for item in doc_requests[name]]
    return RequestPool(pool.docs, doc_requests, splits)


def changed_by_windows(tasks: Mapping[str, Task], config: RunConfig, labels: Collection[str]) -> str | None:
    """Return what a run's label says about cut clips, or about clips that are not cut though the task would.

    `labels` are those of the windows that clips were cut into.
    """
    if config.long_audio == "refuse":
        kept = any(isinstance(task.config.long_audio, LongAudio) for task in tasks.values())
        return "long audio uncut" if kept else None
    return "; ".join(sorted(labels)) or None


def _cut(
    item: DocRequests,
    windows: Windows,
    task: Task,
    facts: Mapping[Audio, AudioFacts],
    splits: dict[Request, Split],
) -> DocRequests:
    if item.dialogue is not None:
        return _uncut_dialogue(item, windows, seconds_of(item.dialogue.whole, facts))
    for request in item.requests:
        seconds = seconds_of(request, facts)
        if seconds <= windows.seconds or any(audio not in facts for audio in request.audios):
            continue
        if len(request.audios) > 1:
            error = (
                f"row {item.doc.doc_id}: its {len(request.audios)} clips last {seconds:.0f} s, and long_audio cuts only rows "
                "of one clip into windows"
            )
            return DocRequests(item.doc, [], error)
        if windows.combine in ("vote", "last") and not readings_without_judge(task.config, task.readings):
            raise MarathonError(
                f"{task.path}: long_audio: combine: {windows.combine} chooses a window by its answer, and only a judge reads the "
                "answers of this task: take combine=map_reduce, or combine=join for transcripts"
            )
        split = _split(request, windows, seconds, reader_of(task, item.doc))
        if request in splits and splits[request].windows != windows:
            raise MarathonError(
                f"{task.path}: long_audio: another task of this run cuts the clip of row {item.doc.doc_id} differently for the "
                f"same question: run them apart, or give {FLAG}"
            )
        if request in splits and not splits[request].combines_alike(split):
            raise MarathonError(
                f"{task.path}: long_audio: combine: {windows.combine} chooses a window by the answers, and another task of this run "
                f"reads those to the question of row {item.doc.doc_id} with other filters or options: run them apart"
            )
        splits.setdefault(request, split)
    return item


def _uncut_dialogue(item: DocRequests, windows: Windows, seconds: float) -> DocRequests:
    """Return a dialogue whose clips fit one window, and an error row for any other: turns are not asked by windows."""
    if seconds <= windows.seconds:
        return item
    error = (
        f"row {item.doc.doc_id}: its clips last {seconds:.0f} s, and long_audio cuts no clips of a dialogue"
    )
    return DocRequests(item.doc, [], error)


def _split(request: Request, windows: Windows, seconds: float, read: AnswerReader) -> Split:
    (audio,) = request.audios
    start = audio.start
    # the file's own seconds: a transform may change how long a stretch lasts
    length = (audio.stop if audio.stop is not None else start + replace(audio, transform="").seconds) - start
    silence = seconds_after(audio.transform, 0.0)
    if windows.seconds - silence <= windows.overlap:
        raise MarathonError(
            f"--transform: {silence:g} s of silence before each window of long_audio ({windows.seconds:g} s) leave no room for its "
            f"sound beside overlap: {windows.overlap:g}"
        )
    spans = window_spans(start, length, length / (seconds - silence), windows, silence)
    last = len(spans) - 1
    parts = tuple(
        replace(
            request,
            prompt=windows.prompt(request.prompt, place + 1, len(spans)),
            audios=(replace(audio, start=first, stop=audio.stop if place == last else end),),
            generation=_generation(request.generation, windows),
        )
        for place, (first, end) in enumerate(spans)
    )
    return Split(windows, parts, tuple(spans), read)


def window_spans(
    start: float, length: float, stretch: float, windows: Windows, silence: float = 0.0
) -> Sequence[tuple[float, float]]:
    """Return begin and end of each window in seconds of the file; all have one length and together cover the clip.

    `length` is the clip's in the file, `stretch` the file's seconds per second that the model hears of it, and `silence` the
    seconds that a transform puts before each window.
    """
    longest, overlap = (windows.seconds - silence) * stretch, windows.overlap * stretch
    count = max(1, math.ceil((length - overlap) / (longest - overlap) - 1e-9))
    size = (length + (count - 1) * overlap) / count
    begins = [round(start + place * (size - overlap), 6) for place in range(count)]
    return [
        (begin, round(start + length if place == count - 1 else begins[place + 1] + overlap, 6))
        for place, begin in enumerate(begins)
    ]


def _generation(generation: Generation, windows: Windows) -> Generation:
    if windows.combine != "map_reduce":
        return generation
    return replace(generation, max_new_tokens=windows.notes_tokens, stop=())


def reader_of(task: Task, doc: Doc) -> AnswerReader:
    """Return what reads a row's answer from a text as the task's headline does, else its first reading.

    A judge reads whole answers only: in place of a reading of its verdicts stands the first one without a judge, if any.
    """
    headline = task.config.headline
    name = headline.reading if headline is not None else next(iter(task.readings))
    plain = readings_without_judge(task.config, task.readings)
    name = name if name in plain or not plain else plain[0]
    return AnswerReader(task.readings[name].pipeline, task.context(doc))
