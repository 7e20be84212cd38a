"""Starts a model server on a free port of loopback, waits until it is healthy, and ends it with the run."""

from __future__ import annotations

import http.client
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from marathon_eval.backends.child_process import ChildProcess, new_log
from marathon_eval.errors import MarathonError

GUARD = Path(__file__).with_name("server_guard.py")
HOST = "127.0.0.1"
#: Seconds between two questions for the server's health, and for one of them.
HEALTH_PAUSE, HEALTH_SECONDS = 0.5, 5.0


class ServerProcess:
    """Runs one server; `command` makes the command line for a port."""

    def __init__(self, what: str, command: Callable[[int], Sequence[str]]) -> None:
        """Start the server. Raises MarathonError, which begins with `what`, when it can't be started."""
        self.what = what
        self.port = free_port()
        theirs, self._alive = os.pipe()
        try:
            self._child = ChildProcess(
                [sys.executable, "-I", str(GUARD), str(theirs), *command(self.port)],
                new_log(f"server-{Path(command(self.port)[0]).name}"),
                {**os.environ, "PYTHONUNBUFFERED": "1"},
                (theirs,),
            )
        except BaseException:
            os.close(self._alive)
            raise
        finally:
            os.close(theirs)

    @property
    def log(self) -> Path:
        """The file with everything that the server prints."""
        return self._child.log

    @property
    def url(self) -> str:
        """The address of the OpenAI-compatible API."""
        return f"http://{HOST}:{self.port}/v1"

    def wait(self, seconds: float) -> None:
        """Return once `/health` answers with 200. Raises MarathonError when the server ends or `seconds` pass."""
        end = time.monotonic() + seconds
        while not _healthy(self.port):
            reason = self.ended()
            if reason is None and time.monotonic() > end:
                reason = (
                    f"the server was not ready in {seconds:g} s (start_timeout=).{self._child.last_words()}"
                )
            if reason is not None:
                self.end()
                raise MarathonError(f"{self.what}: {reason}")
            time.sleep(HEALTH_PAUSE)

    def ended(self, seconds: float = 0.0) -> str | None:
        """Return how the server ended, with its last words; None while it runs. Waits so many seconds for its end."""
        how = self._child.waited(seconds)
        return None if how is None else f"the server {how}.{self._child.last_words()}"

    def end(self) -> None:
        """End the server and everything that it started."""
        self._child.end()
        if self._alive >= 0:
            os.close(self._alive)
            self._alive = -1


def free_port() -> int:
    """Return a port of loopback that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _healthy(port: int) -> bool:
    # no proxy of the environment applies to http.client, as it must not to loopback
    with closing(http.client.HTTPConnection(HOST, port, timeout=HEALTH_SECONDS)) as connection:
        try:
            connection.request("GET", "/health")
            return connection.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False
