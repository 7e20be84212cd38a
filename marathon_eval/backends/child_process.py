"""Starts another program with its output in a log file, and ends it together with everything that it started."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import weakref
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from marathon_eval.errors import MarathonError
from marathon_eval.files import default_folder

#: Bytes at the end of a log in which its last line is looked for.
TAIL_BYTES = 8192
#: Characters of a log's last line that a message shows.
SHOWN_CHARACTERS = 300


def new_log(name: str) -> Path:
    """Return the path of an empty log file below the cache folder, `logs/NAME-TIME-PROCESS.log`."""
    folder = default_folder() / "logs"
    beginning = f"{name}-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(".log", beginning, folder)
    except OSError as error:
        raise MarathonError(f"{folder}: cannot write a log: {error.strerror}") from None
    os.close(descriptor)
    return Path(path)


class ChildProcess:
    """Runs one program in a session of its own, which Ctrl-C does not reach; its output goes to `log`."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        pass_fds: Sequence[int] = (),
    ) -> None:
        """Start the program. Raises MarathonError when it can't be started."""
        self.log = log
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    list(command),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    env=None if environment is None else dict(environment),
                    pass_fds=tuple(pass_fds),
                    start_new_session=True,
                )
        except OSError as error:
            raise MarathonError(f"{command[0]}: cannot be started: {error.strerror}") from None
        # also when nobody calls end(): an exception in the caller, or the interpreter's exit
        self._finalizer = weakref.finalize(self, _killed, self._process)

    def ended(self) -> str | None:
        """Return how the program ended, None while it runs: `exited with code 3`, `was killed by SIGKILL`."""
        code = self._process.poll()
        if code is None:
            return None
        if code >= 0:
            return f"exited with code {code}"
        name = signal.Signals(-code).name if -code in list(signal.Signals) else f"signal {-code}"
        hint = ", as the system does where memory runs out" if -code == signal.SIGKILL else ""
        return f"was killed by {name}{hint}"

    def waited(self, seconds: float) -> str | None:
        """Wait until the program ends, at most so long, and return what `ended` returns."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)
        return self.ended()

    def end(self, patience: float = 10.0) -> None:
        """Ask the program to end (SIGTERM), and after `patience` seconds kill it and what it started."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(patience)
        self._finalizer()

    def kill(self) -> None:
        """Kill the program and what it started, at once, and wait for it."""
        self._finalizer()

    def last_words(self) -> str:
        """Return ` Its last line: ...` from the log, or nothing where the log is empty, and where the log lies."""
        lines = [line.strip() for line in self._tail().splitlines() if line.strip()]
        shown = f' Its last line was "{lines[-1][:SHOWN_CHARACTERS]}".' if lines else ""
        return f"{shown} Log: {self.log}"

    def _tail(self) -> str:
        try:
            with self.log.open("rb") as file:
                file.seek(max(0, self.log.stat().st_size - TAIL_BYTES))
                return file.read().decode(errors="replace")
        except OSError:
            return ""


def _killed(process: subprocess.Popen[bytes]) -> None:
    """Kill a process's whole session and wait for it, so that no zombie is left."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
