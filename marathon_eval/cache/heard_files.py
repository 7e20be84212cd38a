"""Notices audio files that are replaced during a run: their answers must not be stored under the earlier sound's hash.

A clip is hashed before the model is asked, and the model reads the file later. `stat` after the answer tells whether it
is still the hashed file; only where it is not, the clip is hashed again.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence

from marathon_eval.api.audio import Audio, AudioFacts, MemoKey

#: Returns the facts of clips as the files are now.
Facts = Callable[[Iterable[Audio]], tuple[dict[Audio, AudioFacts], dict[Audio, str]]]


class HeardFiles:
    """Remembers the state of each file when its clips were first looked up: one number a file."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {}

    def note(self, keys: Iterable[MemoKey]) -> None:
        """Remember the files of these clips as their keys describe them, unless they are known."""
        for one in keys:
            found = one.identity
            state = _state(found.size, found.mtime_ns, found.inode, found.ctime_ns)
            self._states.setdefault(one.audio.path, state)

    def change(self, audios: Sequence[Audio], hashes: Sequence[str], facts: Facts) -> str | None:
        """Return why an answer on these clips, which had these hashes when it was asked for, cannot be stored; None if it can."""
        for audio, sha256 in zip(audios, hashes, strict=True):
            known = self._states.get(audio.path)
            try:
                found = os.stat(audio.path)
            except (OSError, ValueError):  # deleted since: nothing else was heard in its place
                continue
            state = _state(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
            if known is None or known == state:
                continue
            now = facts([audio])[0].get(audio)
            if now is None or now.sha256 != sha256:
                return f"{audio.path}: was replaced during the run, after it was hashed; run again to ask about the new sound"
            if audio.start == 0 and audio.stop is None:
                self._states[audio.path] = state  # written again with the same sound
        return None


def _state(*parts: int) -> int:
    return hash(parts)
