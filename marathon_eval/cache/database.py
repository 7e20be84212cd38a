"""The cache's file: how it is opened, and what is looked at before anything is asked."""

from __future__ import annotations

import re
import sqlite3
from pathlib import Path
from typing import Any

TABLE = "entries"
#: Without an expression, which only brackets inside the columns' brackets can hold.
_PLAIN_TABLE = re.compile(r"CREATE TABLE [^()]*\([^()]*\)[^()]*", re.IGNORECASE)
LOCK_SECONDS = 30.0
#: In the name of one rank's file: see rank_files.py.
RANK_MARK = ".rank-"


class Connection(sqlite3.Connection):
    """Tells damage as sqlite3.DatabaseError even where sqlite quotes what is no UTF-8 in its message."""

    def execute(self, sql: str, parameters: Any = (), /) -> sqlite3.Cursor:
        try:
            return super().execute(sql, parameters)
        except UnicodeDecodeError:
            raise sqlite3.DatabaseError("malformed: the description of its tables is no text") from None


def read_only(path: Path) -> sqlite3.Connection:
    """A reader of the file. Text that is no UTF-8 is damage of one entry, which its checksum tells, not of all."""
    place = f"{path.resolve().as_uri()}?mode=ro"
    connection = sqlite3.connect(place, uri=True, timeout=LOCK_SECONDS, factory=Connection)
    connection.text_factory = _replaced
    return connection


def _replaced(text: bytes) -> str:
    return text.decode(errors="replace")


def refuse_other_tables(connection: sqlite3.Connection, schema: str = "main") -> None:
    """Raises sqlite3.DatabaseError where the table is a stranger's: a view or a trigger may compute without end."""
    made = connection.execute(
        f"SELECT sql FROM {schema}.sqlite_master WHERE lower(tbl_name) = ? AND sql IS NOT NULL", (TABLE,)
    )
    for (sql,) in made:
        if _PLAIN_TABLE.fullmatch(str(sql)) is None:
            raise sqlite3.DatabaseError(f"is no cache of this program: {' '.join(str(sql).split())[:80]}")


def file_id(path: Path) -> tuple[int, int] | None:
    """What tells a file from another that took its name; None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino
