"""Each process of a shared run keeps its answers in a file of its own; whoever opens the folder's cache next takes them in.

A file of its own, for processes may be on different nodes, and sqlite's write-ahead log, which the folder's one file
has, is for processes of one machine: https://www.sqlite.org/wal.html. A rank's file has a rollback journal instead, and
is written again only by the rank of that number.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from marathon_eval.cache.database import LOCK_SECONDS, RANK_MARK, TABLE, refuse_other_tables
from marathon_eval.errors import MarathonError


def rank_file(folder_file: str, rank: int) -> str:
    """`answers.sqlite` of rank 2 is `answers.rank-2.sqlite`."""
    path = Path(folder_file)
    return f"{path.stem}{RANK_MARK}{rank}{path.suffix}"


def take_in(path: Path) -> None:
    """Move what ranks left beside this cache file into it. Raises MarathonError where a file refuses.

    A rank that still runs is not disturbed: it never reads its own answers again.
    """
    if RANK_MARK in path.name:
        return
    name = re.compile(re.escape(path.stem + RANK_MARK) + r"\d+" + re.escape(path.suffix))
    for file in path.parent.glob(f"{path.stem}{RANK_MARK}*{path.suffix}"):
        if name.fullmatch(file.name):
            _take(file, path)


def _take(file: Path, path: Path) -> None:
    from marathon_eval.cache.salvage import is_damage, salvage

    try:
        try:
            _move(file, path)
        except sqlite3.DatabaseError as error:
            if not is_damage(error):
                raise
            salvage(file)
            _move(file, path)
    except (sqlite3.Error, OSError) as error:
        raise MarathonError(f"{file}: cannot take these answers into {path.name} ({error})") from None


def _move(file: Path, path: Path) -> None:
    """Two transactions, so that a kill between them leaves an entry in both files rather than in neither."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection:
        connection.execute("ATTACH ? AS part", (str(file),))
        refuse_other_tables(connection, "part")
        # a rank that starts just now has its file before it has its table
        begun = connection.execute("SELECT 1 FROM part.sqlite_master WHERE name = ?", (TABLE,)).fetchone()
        if not begun or not connection.execute(f"SELECT 1 FROM part.{TABLE} LIMIT 1").fetchone():
            return
        with connection:
            connection.execute(f"INSERT OR IGNORE INTO main.{TABLE} SELECT key, value FROM part.{TABLE}")
        with connection:
            connection.execute(f"DELETE FROM part.{TABLE} WHERE key IN (SELECT key FROM main.{TABLE})")
