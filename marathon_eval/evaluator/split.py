"""Holds the requests on the windows of a long clip, which are sent in place of the one on the whole clip."""

from __future__ import annotations

from typing import NamedTuple

from marathon_eval.api.filter import FilterContext, Pipeline
from marathon_eval.api.model import Request
from marathon_eval.task.yaml.long_audio import Windows


class AnswerReader(NamedTuple):
    """Reads a row's answer from the text about a window, as the task's headline does."""

    pipeline: Pipeline
    context: FilterContext

    def __call__(self, text: str) -> str | None:
        """Return the answer in a text, None without one."""
        return self.pipeline.apply([text], self.context).value

    def reads_alike(self, other: AnswerReader) -> bool:
        """Return whether both have the same filters and the same options, so that they read the same answers."""
        pipelines = self.pipeline, other.pipeline
        entries = [[dict(entry) for entry in pipeline.entries] for pipeline in pipelines]
        options = [(context.choices, context.letters) for context in (self.context, other.context)]
        return (
            entries[0] == entries[1] and options[0] == options[1] and pipelines[0].turn == pipelines[1].turn
        )


class Split(NamedTuple):
    """Holds one request's windows, in order: their requests, and where each begins and ends in seconds of the file."""

    windows: Windows
    parts: tuple[Request, ...]
    spans: tuple[tuple[float, float], ...]
    read: AnswerReader

    def combines_alike(self, other: Split) -> bool:
        """Return whether both are cut into the same windows, of whose answers the same one stands for the row."""
        chosen = self.windows.combine in ("vote", "last")
        return self.windows == other.windows and (not chosen or self.read.reads_alike(other.read))

    def named(self, place: int) -> str:
        """Return `window 2 of 5 (600-1200 s)` for place 1."""
        start, stop = self.spans[place]
        return f"window {place + 1} of {len(self.parts)} ({start:g}-{stop:g} s)"
