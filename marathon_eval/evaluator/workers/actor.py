"""Runs a worker as a Ray actor. Ray imports this file in the actor's process; it imports no Ray itself."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Mapping, Sequence
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
    """Holds the answers to a unit, the cache entries that its model wrote beside them, and the notes that it printed.

    `stopped` is the message of the MarathonError that ended the unit after these answers.
    """

    answers: list[CellAnswer]
    entries: dict[str, Any]
    notes: list[str]
    stopped: str | None = None


class RayWorker:
    """Holds a worker in a Ray actor."""

    def start(self, job: Job) -> None:
        """Build the models. Raises MarathonError, which an actor's constructor could not do."""
        self._worker = Worker(job)

    def answer(self, unit: Unit, files: Mapping[str, bytes]) -> Answered:
        """Answer a unit; `files` are the audio files that this machine may lack, by path.

        A MarathonError of the model is returned, not raised, so that the answers before it are not lost.
        """
        cache, printed = ResponseCache(None), io.StringIO()
        answers, stopped = list[CellAnswer](), None
        with tempfile.TemporaryDirectory(prefix="marathon_eval") as folder:
            requests = _from_copies(unit.requests, files, Path(folder))
            # Ray writes what an actor prints to a file of its own
            with redirect_stderr(printed), redirect_stdout(printed):
                try:
                    for answer in self._worker.answers(unit._replace(requests=requests), cache):
                        answers.append(answer)
                except MarathonError as error:
                    stopped = str(error)
        entries = self._worker.written_beside(cache, unit)
        if files:  # facts of the copies
            entries = {key: value for key, value in entries.items() if not key.startswith(AUDIO)}
        notes = [line for line in printed.getvalue().splitlines() if line.startswith("marathon-eval:")]
        return Answered(answers, entries, notes, stopped)


def _from_copies(requests: Sequence[Request], files: Mapping[str, bytes], folder: Path) -> list[Request]:
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
