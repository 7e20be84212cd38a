"""Prepares a cache's file and writes to it, also after another process has replaced a damaged file."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing, suppress
from functools import partial
from pathlib import Path

from marathon_eval.cache.clean_mark import CleanMark
from marathon_eval.cache.database import (
    LOCK_SECONDS,
    RANK_MARK,
    TABLE,
    Connection,
    file_id,
    interruptible,
    lock_trouble,
    refuse_other_tables,
)
from marathon_eval.errors import MarathonError

#: Seconds that the opening waits for another process to release the file.
OPEN_SECONDS = 5.0


class Writer:
    """Writes to the cache file. Opens it on first use; the owner ensures that one thread at a time uses it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mark = CleanMark(path)
        self._connection: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        #: The file that has the name, as far as this process knows; None before `begin`.
        self._known: tuple[int, int] | None = None

    def begin(self) -> None:
        """Make or open the file, and note which one it is. Raises MarathonError.

        All of the file is checked only if its last user did not end cleanly: reading a large one takes long.
        """
        with suppress(OSError):  # `prepare` reports it
            self.path.parent.mkdir(parents=True, exist_ok=True)
        # a rank's file has no mark: it is small and may be on a shared disk
        prepare(self.path, check=RANK_MARK in self.path.name or self._mark.begin())
        self._known = file_id(self.path)

    def look(self, make: bool = True) -> None:
        """Warn on stderr if the file was deleted or replaced since `begin`; `make`: begin a new one if it is gone.

        A file that another process mended keeps its answers, and that process has said so. Raises MarathonError.
        """
        found = file_id(self.path)
        if self._known is None or found == self._known:
            return
        mended = found and any(self.path.parent.glob(f"{self.path.stem}.damaged-*{self.path.suffix}"))
        if not mended:
            what = "deleted" if found is None else "replaced by another file"
            rest = "; answers from now on go into the file of that name" if make else ""
            print(
                f"marathon-eval: warning: {self.path} was {what} during this run, and the answers that it held are "
                f"no longer there{rest}",
                file=sys.stderr,
            )
        self._known = found
        if make:
            self.begin()

    def locked(self) -> sqlite3.Connection:
        """Begin a transaction on the file that has the name now, and return its connection.

        A process that repairs a file locks it first, so the file can't be replaced during the transaction. Raises
        sqlite3.Error, and MarathonError where the new file can't be used.
        """
        while True:
            self.look()
            if self._connection is not None and file_id(self.path) != self._file:
                # another process replaced the file: entries written to the old one would be lost
                self.close()
                self.begin()
            if self._connection is None:
                self._file = file_id(self.path)
                self._connection = sqlite3.connect(self.path, timeout=LOCK_SECONDS, check_same_thread=False)
            self._connection.execute("BEGIN IMMEDIATE")
            if file_id(self.path) == self._file:
                return self._connection
            self._connection.rollback()

    def close(self) -> None:
        """Close the connection; the next `locked` opens it again."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def end(self) -> None:
        """Close the connection, and note that the file is whole: no answer follows."""
        self.close()
        self._mark.end()


def prepare(path: Path, check: bool = True) -> None:
    """Create the file, or check that it is writable, not locked and a database. Raises MarathonError.

    `check` reads all of it. A damaged cache is renamed, and its intact entries are copied to a new file. A file that was never a cache
    raises: the user must move it.
    """
    advice = "--use_cache DIR names another folder, --no_cache runs without a cache"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            _open_or_make(path, check)
        except sqlite3.DatabaseError as error:
            from marathon_eval.cache.salvage import is_damage, salvage, was_a_cache

            if not (is_damage(error) and was_a_cache(path)):
                raise
            salvage(path)
            _open_or_make(path, check=True)
    except OSError as error:
        raise MarathonError(f"{path}: cannot keep a cache here ({error.strerror}); {advice}") from None
    except sqlite3.OperationalError as error:
        raise MarathonError(
            f"{path}: cannot use this cache ({error}{lock_trouble(path)}); {advice}"
        ) from None
    except sqlite3.DatabaseError as error:
        raise MarathonError(f"{path}: is damaged ({error}); move it away, or {advice}") from None


def _open_or_make(path: Path, check: bool) -> None:
    """Open or create the file, and `check` all of it. Raises sqlite3.DatabaseError for a damaged file.

    sqlite itself notices damage only in the pages that a query reads: then the cache repairs the file.
    """
    connect = partial(sqlite3.connect, path, timeout=OPEN_SECONDS, factory=Connection)
    with closing(connect(check_same_thread=False)) as connection:
        refuse_other_tables(connection)
        connection.execute(f"PRAGMA journal_mode={'DELETE' if RANK_MARK in path.name else 'WAL'}")
        connection.execute(f"CREATE TABLE IF NOT EXISTS {TABLE} (key TEXT PRIMARY KEY, value BLOB)")
        connection.execute("BEGIN IMMEDIATE")
        connection.rollback()
        result = interruptible(connection, "PRAGMA quick_check(1)") if check else "ok"
    if result != "ok":
        raise sqlite3.DatabaseError(f"malformed: {' '.join(result.split())}")
