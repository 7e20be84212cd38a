"""Remembers a cache file as its last user left it, so that only a file in another state is read whole when opened.

`.answers.sqlite.closed` beside the cache holds the file's identity, size and times after a clean end. A run that was
killed, a copy, and a file that another program changed differ from it. Whoever uses the cache holds a shared lock on
the mark: a file in use was checked by its first user.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


class CleanMark:
    """Sets the mark of one cache file, which is locked between `begin` and `end`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = path.with_name(f".{path.name}.closed")
        self._descriptor: int | None = None

    def begin(self) -> bool:
        """Lock the mark, and return whether the cache file may be damaged.

        It may be if the last process did not close it cleanly, or if that is unknown.
        A disk without locks always returns True.
        """
        self._release()
        try:
            import fcntl

            descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o644)
        except (ImportError, OSError):  # a folder that cannot be written is reported by who opens the cache
            return True
        self._descriptor = descriptor
        try:
            alone = self._alone()
            clean = not alone or (_state(self._path) == os.read(descriptor, 1000).decode(errors="replace"))
            fcntl.flock(descriptor, fcntl.LOCK_SH)
        except OSError:
            self._release()
            return True
        return not clean

    def end(self) -> None:
        """Note the file's state if no other process uses it, and unlock the mark."""
        if self._descriptor is None:
            return
        with suppress(OSError):  # without a mark the next opening checks the file
            if self._alone():
                state = _state(self._path).encode()
                if os.pread(self._descriptor, 1000, 0) != state:
                    os.pwrite(self._descriptor, state, 0)
                    os.ftruncate(self._descriptor, len(state))
        self._release()

    def _alone(self) -> bool:
        """Return whether no other user holds the mark; then this one holds it exclusively. Raises OSError."""
        import fcntl

        assert self._descriptor is not None
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _release(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _state(path: Path) -> str:
    """Return what tells this content of the file from another; "new" without a file, "in use" with an unfinished log."""
    logs = (path.with_name(path.name + suffix) for suffix in ("-wal", "-journal"))
    if any(log.exists() and log.stat().st_size for log in logs):
        return "in use"
    try:
        stat = path.stat()
    except OSError:
        return "new"
    return f"{stat.st_dev} {stat.st_ino} {stat.st_size} {stat.st_mtime_ns} {stat.st_ctime_ns}"
