"""Runs a worker as a Ray actor. Ray imports this file in the actor's process; it imports no Ray itself."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.api.model import Request
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.entry import AUDIO
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.workers.worker import CellAnswer, Job, Unit, Worker


class Answered(NamedTuple):
    """Holds the answers to a unit, the cache entries that its model wrote beside them, and the notes that it printed."""

    answers: list[CellAnswer]
    entries: dict[str, Any]
    notes: list[str]


class Ended(NamedTuple):
    """Says that the worker of a call is gone, and why."""

    reason: str


class RayWorker:
    """Holds a worker in a Ray actor. Returns a MarathonError instead of raising it, which Ray would wrap in a traceback."""

    def __init__(self) -> None:
        self._worker: Worker | None = None

    def start(self, job: Job, weights: Mapping[str, Any]) -> list[str] | MarathonError:
        """Build the model, and return the hashes of the fingerprints."""
        try:
            self._worker = Worker(job)
            cache = ResponseCache(None)
            cache.prime(weights)
            return self._worker.fingerprints(cache)
        except MarathonError as error:
            return error

    def answer(self, unit: Unit, files: Mapping[str, bytes]) -> Answered | MarathonError:
        """Answer a unit; `files` are the audio files that this machine may lack, by path."""
        printed = io.StringIO()
        try:
            # Ray writes what an actor prints to a file of its own
            with redirect_stderr(printed), redirect_stdout(printed):
                if not files:
                    answered = self._answered(unit)
                else:
                    with tempfile.TemporaryDirectory(prefix="marathon_eval") as folder:
                        copied = _from_copies(unit.requests, files, Path(folder))
                        answered = self._answered(unit._replace(requests=copied), (AUDIO,))
        except MarathonError as error:
            return error
        notes = [line for line in printed.getvalue().splitlines() if line.startswith("marathon-eval:")]
        return answered._replace(notes=notes)

    def _answered(self, unit: Unit, without: tuple[str, ...] = ()) -> Answered:
        """Answer a unit; entries whose key begins with one of `without` are left out."""
        assert self._worker is not None
        cache = ResponseCache(None)
        answers = list(self._worker.answers(unit, cache))
        entries = self._worker.written_beside(cache, unit)
        kept = {key: value for key, value in entries.items() if not (without and key.startswith(without))}
        return Answered(answers, kept, [])


def _from_copies(requests: Any, files: Mapping[str, bytes], folder: Path) -> list[Request]:
    """Write the files to the folder, and return the requests with their audio there."""
    copies: dict[str, str] = {}
    for number, (path, content) in enumerate(files.items()):
        copy = folder / f"{number}{os.path.splitext(path)[1]}"
        copy.write_bytes(content)
        copies[path] = str(copy)

    def moved(request: Request) -> Request:
        audios = (replace(audio, path=copies.get(audio.path, audio.path)) for audio in request.audios)
        return replace(request, audios=tuple(audios))

    return [moved(request) for request in requests]
