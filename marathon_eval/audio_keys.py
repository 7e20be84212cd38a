"""The key under which a stretch's content hash is remembered: its file's place, size and time, and what is heard of it."""

from __future__ import annotations

import os
from collections.abc import Iterable

from marathon_eval.audio import Audio


def audio_keys(audios: Iterable[Audio]) -> tuple[dict[Audio, str], dict[Audio, str]]:
    """The memo's key of each stretch; a file that is not there has an error instead."""
    keys: dict[Audio, str] = {}
    errors: dict[Audio, str] = {}
    for audio in dict.fromkeys(audios):
        try:
            stat = os.stat(audio.path)
        except OSError:
            errors[audio] = f"{audio.path}: no such audio file"
            continue
        place = os.path.abspath(audio.path).encode(errors="backslashreplace").decode()
        keys[audio] = f"audio/{place}|{stat.st_size}|{stat.st_mtime_ns}|{audio.stretch}"
    return keys, errors
