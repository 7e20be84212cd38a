"""The steps that `process_docs` may name: each takes one row and gives it back with more columns."""

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
    """Adds `transcript`: `<utterance>.txt` beside the clip, else its line in `<speaker>-<chapter>.trans.txt`.

    The layout is LibriSpeech's (https://www.openslr.org/12); ids are compared whole, so that 1-2-1 never
    takes the line of 1-2-10. Raises RowError where neither file has a text.
    """
    name = str(fields.get("path", ""))
    folder, base = posixpath.split(name)
    utterance = posixpath.splitext(base)[0]
    own = posixpath.join(folder, f"{utterance}.txt")
    together = posixpath.join(folder, f"{utterance.rpartition('-')[0]}.trans.txt")
    if source is not None and source.exists(own):
        text = _read(source, own).strip()
        # some releases repeat the id at the start of the line
        return {**fields, "transcript": _filled(text.removeprefix(f"{utterance} "), own)}
    if source is not None and source.exists(together):
        for line in _read(source, together).splitlines():
            identity, _, text = line.partition(" ")
            if identity == utterance:
                return {**fields, "transcript": _filled(text.strip(), together)}
    raise RowError(f"{name}: no transcript in {own} or {together}")


def race_difficulty(fields: Fields, source: Source | None) -> Fields:
    """Adds `difficulty` (high or middle), of which the audio's path is RACE's only marker; high wins."""
    path = str(fields.get("audio_path", fields.get("path", "")))
    level = "high" if "high" in path else "middle" if "middle" in path else "unknown"
    return {**fields, "difficulty": level}


ROW_STEPS: dict[str, RowStep] = {step.__name__: step for step in (librispeech_transcript, race_difficulty)}


def steps_named(names: str | Sequence[str] | None, where: str) -> list[RowStep]:
    """The steps, in order. Raises MarathonError with the nearest name."""
    listed = [names] if isinstance(names, str) else list(names or ())
    for name in listed:
        if name not in ROW_STEPS:
            raise unknown(f"{where}: process_docs", "built-in row step", name, ROW_STEPS)
    return [ROW_STEPS[name] for name in listed]


def _filled(text: str, name: str) -> str:
    # the error rate against an empty reference would be the number of words said
    if not text:
        raise RowError(f"{name}: holds no transcript")
    return text


def _read(source: Source, name: str) -> str:
    try:
        return Path(source.path(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RowError(f"{name}: not readable as text ({error})") from None
