"""The connection that writes to a cache's file, and follows the file's name when another process has mended it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from marathon_eval.cache.database import LOCK_SECONDS, file_id, prepare


class Writer:
    """Opened when it is first needed; its owner sees to it that one thread at a time uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None

    def locked(self) -> sqlite3.Connection:
        """In a transaction on the file that has the name now: whoever mends a file takes its lock before.

        Raises sqlite3.Error, and MarathonError where the new file cannot be used.
        """
        while True:
            if self._connection is not None and file_id(self.path) != self._file:
                # what goes into the old file is lost
                self.close()
                prepare(self.path)
            if self._connection is None:
                self._file = file_id(self.path)
                self._connection = sqlite3.connect(self.path, timeout=LOCK_SECONDS, check_same_thread=False)
            self._connection.execute("BEGIN IMMEDIATE")
            if file_id(self.path) == self._file:
                return self._connection
            self._connection.rollback()

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
