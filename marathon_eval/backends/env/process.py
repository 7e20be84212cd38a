"""Talks to a worker in another interpreter: messages out, replies in, signs of life, and an end without remains."""

from __future__ import annotations

import json
import os
import queue
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from marathon_eval.backends.child_process import ChildProcess, new_log
from marathon_eval.backends.env.environment import WORKER_MAIN, clean_environment

#: Seconds without a sign of life after which a worker counts as hung. Imports of large libraries may hold Python's lock.
NO_SIGN_SECONDS = 300.0
#: Seconds that a worker has to end by itself when its pipe is closed.
WORKER_END_SECONDS = 10.0


class WorkerDied(Exception):
    """Says that the worker ended, hung or wrote what is no reply; the message says which, and where its log lies."""


class WorkerFailed(Exception):
    """Says that the worker could not carry out a message, and goes on: its error in one line."""


class WorkerProcess:
    """Runs one worker file in one interpreter."""

    def __init__(self, python: Path, worker: Path, name: str, beside: bool) -> None:
        """Start the interpreter. Raises MarathonError when it can't be started.

        `beside`: the worker may import files of its own folder.
        """
        theirs_in, self._requests = os.pipe()
        replies, theirs_out = os.pipe()
        try:
            self._child = ChildProcess(
                [
                    *(str(python), "-I", str(WORKER_MAIN), "serve", str(worker)),
                    *("beside" if beside else "alone", str(theirs_in), str(theirs_out)),
                ],
                new_log(f"worker-{name}"),
                {**clean_environment(), **_own_gpu()},
                (theirs_in, theirs_out),
            )
        except BaseException:
            os.close(self._requests)
            os.close(replies)
            raise
        finally:
            os.close(theirs_in)
            os.close(theirs_out)
        self._messages: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._heard = time.monotonic()
        self._number = 0
        threading.Thread(target=self._read, args=(replies,), daemon=True).start()

    @property
    def log(self) -> Path:
        """The file with everything that the worker and its libraries print."""
        return self._child.log

    def ask(self, message: Mapping[str, Any], seconds: float) -> dict[str, Any]:
        """Send a message and return the worker's result.

        Raises WorkerFailed with the worker's own error, and WorkerDied when it ended or `seconds` have passed; it is
        killed then.
        """
        self._number += 1
        line = json.dumps({"id": self._number, **message}) + "\n"
        self._heard = time.monotonic()
        try:
            with suppress(BrokenPipeError):  # it has ended: its replies' end says so
                _write_all(self._requests, line.encode("ascii"))
            reply = self._reply(time.monotonic() + seconds, seconds)
        except BaseException:
            self._child.kill()  # a reply to this message must not be taken for that to the next one
            raise
        if "error" in reply:
            raise WorkerFailed(str(reply["error"]))
        return dict(reply["done"])

    def end(self) -> None:
        """Close the pipe, which ends the worker; what is left after ten seconds is killed."""
        with suppress(OSError):
            os.close(self._requests)
        self._child.waited(WORKER_END_SECONDS)
        self._child.kill()

    def _reply(self, end: float, seconds: float) -> dict[str, Any]:
        while True:
            now = time.monotonic()
            if now >= end:
                raise WorkerDied(f"the worker gave no reply in {seconds:g} s and was killed. Log: {self.log}")
            if now - self._heard > NO_SIGN_SECONDS:
                raise WorkerDied(
                    f"the worker gave no sign of life for {NO_SIGN_SECONDS:g} s and was killed. Log: {self.log}"
                )
            try:
                message = self._messages.get(timeout=min(1.0, end - now))
            except queue.Empty:
                if self._child.ended() is None:
                    continue
                message = None  # a process that it started may hold the pipe open
            if message is None:
                raise WorkerDied(self._how_it_ended())
            if message.get("id") == self._number:
                return message
            raise WorkerDied(f"the worker wrote what is no reply to the harness. Log: {self.log}")

    def _how_it_ended(self) -> str:
        how = self._child.waited(WORKER_END_SECONDS) or "closed its pipe"
        return f"the worker {how}.{self._child.last_words()}"

    def _read(self, descriptor: int) -> None:
        """Pass on replies, and note signs of life; None at the pipe's end."""
        with os.fdopen(descriptor, encoding="ascii", errors="replace") as lines:
            for line in lines:
                try:
                    message = json.loads(line)
                except ValueError:
                    message = {}
                self._heard = time.monotonic()
                if not isinstance(message, dict):
                    message = {}
                if "alive" not in message:
                    self._messages.put(message)
        self._messages.put(None)


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _own_gpu() -> dict[str, str]:
    """Return which GPU a worker sees when a launcher started one process per GPU; otherwise it sees all."""
    rank = os.environ.get("LOCAL_RANK")
    if rank is None:
        return {}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = visible.split(",") if visible else []
    if not devices:
        return {"CUDA_VISIBLE_DEVICES": rank}
    return {"CUDA_VISIBLE_DEVICES": devices[int(rank) % len(devices)]}
