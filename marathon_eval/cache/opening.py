"""The connection that writes to a cache's file, and follows the file's name when another process has mended it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from marathon_eval.cache.database import (
    LOCK_SECONDS,
    RANK_MARK,
    TABLE,
    Connection,
    file_id,
    refuse_other_tables,
)
from marathon_eval.errors import MarathonError


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


def prepare(path: Path) -> None:
    """Make or check the file before anything is asked: writable, not locked, a sound database. Raises MarathonError.

    A damaged cache is set aside, and what is whole of it kept; a file that never was one is the user's to move.
    """
    advice = "--use_cache DIR names another folder, --no_cache does without"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _open_or_make(path)
        except sqlite3.DatabaseError as error:
            from marathon_eval.cache.salvage import is_damage, salvage, was_a_cache

            if not (is_damage(error) and was_a_cache(path)):
                raise
            salvage(path)
            _open_or_make(path)
    except OSError as error:
        raise MarathonError(f"{path}: cannot keep a cache here ({error.strerror}); {advice}") from None
    except sqlite3.OperationalError as error:
        raise MarathonError(f"{path}: cannot use this cache ({error}); {advice}") from None
    except sqlite3.DatabaseError as error:
        raise MarathonError(f"{path}: is damaged ({error}); move it away, or {advice}") from None


def _open_or_make(path: Path) -> None:
    """Raises sqlite3.DatabaseError for a damaged file, of which sqlite itself reads no more than it is asked for."""
    with closing(sqlite3.connect(path, timeout=5.0, factory=Connection)) as connection:
        refuse_other_tables(connection)
        connection.execute(f"PRAGMA journal_mode={'DELETE' if RANK_MARK in path.name else 'WAL'}")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise sqlite3.DatabaseError(f"malformed: {' '.join(found.split())}")
