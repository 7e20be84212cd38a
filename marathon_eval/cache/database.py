"""Opens the cache's sqlite file, and refuses a file with other tables."""

from __future__ import annotations

import errno
import re
import sqlite3
from pathlib import Path
from typing import Any

TABLE = "entries"
#: Matches a CREATE TABLE without nested parentheses, i.e. without computed columns or CHECK expressions.
_PLAIN_TABLE = re.compile(r"CREATE TABLE [^()]*\([^()]*\)[^()]*", re.IGNORECASE)
LOCK_SECONDS = 30.0
#: Steps of sqlite's machine after which a statement lets Python handle signals: some milliseconds.
STEPS = 100_000
#: Part of the name of a rank's file: see rank_files.py.
RANK_MARK = ".rank-"


class Connection(sqlite3.Connection):
    """Raises sqlite3.DatabaseError for damage even where sqlite's message quotes bytes that are not UTF-8.

    Ctrl-C and SIGTERM end a long statement, such as the check of a whole file: Python handles signals in its own code
    only, and sqlite calls into it every STEPS steps.
    """

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.set_progress_handler(lambda: 0, STEPS)

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError:
            raise sqlite3.DatabaseError("malformed: the description of its tables is no text") from None
        except sqlite3.OperationalError as error:
            if str(error) == "interrupted":  # the signal's KeyboardInterrupt was lost in the call from sqlite
                raise KeyboardInterrupt from None
            raise


def interruptible(connection: sqlite3.Connection, sql: str) -> Any:
    """Execute a statement that takes long inside one step of sqlite, and return its first value.

    A thread executes it, since Python handles signals only between statements of the main thread: Ctrl-C and SIGTERM
    end it at once. The connection must allow other threads.
    """
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1, thread_name_prefix="sqlite") as pool:
        future = pool.submit(lambda: connection.execute(sql).fetchone()[0])
        try:
            return future.result()
        except KeyboardInterrupt:
            connection.interrupt()
            raise


def lock_trouble(path: Path) -> str:
    """Return "" or why no process can lock this file: sqlite says `locked` also where a disk has no locks.

    Another file beside it is tried: closing the same one would end this process's own locks on it.
    """
    try:
        import fcntl
        import tempfile

        with tempfile.TemporaryFile(dir=path.parent) as file:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except ImportError:
        return ""
    except OSError as error:
        if error.errno in (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS):
            return f"; its disk has no file locks ({error.strerror})"
    return ""


def read_only(path: Path) -> sqlite3.Connection:
    """Open the file for reading.

    Bytes that are not UTF-8 are replaced: then the checksum shows that one entry is damaged, and others stay
    readable.
    """
    uri = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(uri, uri=True, timeout=LOCK_SECONDS, factory=Connection)
    connection.text_factory = _replaced
    return connection


def _replaced(text: bytes) -> str:
    return text.decode(errors="replace")


def refuse_other_tables(connection: sqlite3.Connection, schema: str = "main") -> None:
    """Raise sqlite3.DatabaseError for a table of another program. Its views and triggers may never finish."""
    definitions = connection.execute(
        f"SELECT sql FROM {schema}.sqlite_master WHERE lower(tbl_name) = ? AND sql IS NOT NULL", (TABLE,)
    )
    for (sql,) in definitions:
        if _PLAIN_TABLE.fullmatch(str(sql)) is None:
            raise sqlite3.DatabaseError(f"is no cache of this program: {' '.join(str(sql).split())[:80]}")


def file_id(path: Path) -> tuple[int, int] | None:
    """Return device and inode, which differ once another file has taken the name; None where no file exists."""
    try:
        stat = path.stat()
    except OSError:
        return None
    return stat.st_dev, stat.st_ino
