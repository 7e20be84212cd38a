"""Defines the row steps that `process_docs` may name; each takes one row and returns it with added columns."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marathon_eval.errors import RowError, unknown
from marathon_eval.task.data.sources import Source

Fields = Mapping[str, Any]
RowStep = Callable[[Fields, "Source | None"], Fields]


def librispeech_transcript(fields: Fields, source: Source | None) -> Fields:
    """Add `transcript`, read from `<utterance>.txt` beside the clip, else from `<speaker>-<chapter>.trans.txt`.

    The layout is LibriSpeech's (https://www.openslr.org/12). Whole ids are compared, so that 1-2-1 never gets the
    line of 1-2-10. Raises RowError if neither file has a text.
    """
    name = str(fields.get("path", ""))
    folder, base = posixpath.split(name)
    utterance = posixpath.splitext(base)[0]
    single = posixpath.join(folder, f"{utterance}.txt")
    chapter = posixpath.join(folder, f"{utterance.rpartition('-')[0]}.trans.txt")
    if source is not None and source.exists(single):
        text = _read(source, single).strip()
        # some releases repeat the id at the start of the line
        return {**fields, "transcript": _filled(text.removeprefix(f"{utterance} "), single)}
    if source is not None and source.exists(chapter):
        for line in _read(source, chapter).splitlines():
            identity, _, text = line.partition(" ")
            if identity == utterance:
                return {**fields, "transcript": _filled(text.strip(), chapter)}
    raise RowError(f"{name}: no transcript in {single} or {chapter}")


def race_difficulty(fields: Fields, source: Source | None) -> Fields:
    """Add `difficulty`: the word "high" or "middle" that the audio's path contains, else "unknown".

    RACE records the difficulty in the path only. A path with both words counts as high.
    """
    path = str(fields.get("audio_path", fields.get("path", "")))
    level = "high" if "high" in path else "middle" if "middle" in path else "unknown"
    return {**fields, "difficulty": level}


ROW_STEPS: dict[str, RowStep] = {step.__name__: step for step in (librispeech_transcript, race_difficulty)}


def steps_named(names: str | Sequence[str] | None, where: str) -> list[RowStep]:
    """Return the row steps by name, in order. Raises MarathonError with the nearest name for an unknown one."""
    listed = [names] if isinstance(names, str) else list(names or ())
    for name in listed:
        if name not in ROW_STEPS:
            raise unknown(f"{where}: process_docs", "built-in row step", name, ROW_STEPS)
    return [ROW_STEPS[name] for name in listed]


def _filled(text: str, name: str) -> str:
    # with an empty reference, the word error rate would be the number of words in the response
    if not text:
        raise RowError(f"{name}: holds no transcript")
    return text


def _read(source: Source, name: str) -> str:
    try:
        return Path(source.path(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RowError(f"{name}: not readable as text ({error})") from None
