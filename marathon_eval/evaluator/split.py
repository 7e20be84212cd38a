"""Holds the requests on the windows of a long clip, which are sent in place of the one on the whole clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from marathon_eval.api.model import Request
from marathon_eval.task.yaml.long_audio import Windows


class Split(NamedTuple):
    """Holds one request's windows, in order: their requests, and where each begins and ends in seconds of the file.

    `read` returns the answer in a text, None without one, as the task's headline reads it.
    """

    windows: Windows
    parts: tuple[Request, ...]
    spans: tuple[tuple[float, float], ...]
    read: Callable[[str], str | None]

    def named(self, place: int) -> str:
        """Return `window 2 of 5 (600-1200 s)` for place 1."""
        start, stop = self.spans[place]
        return f"window {place + 1} of {len(self.parts)} ({start:g}-{stop:g} s)"
