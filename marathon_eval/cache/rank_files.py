"""Names the cache file of each process of one launch, and moves its entries into the folder's cache.

Each rank writes its responses to its own file; the next process that opens the folder's cache moves them into it.
Ranks can't share the folder's file, because they may run on different nodes, and sqlite's write-ahead log works
only between processes of one machine: https://www.sqlite.org/wal.html. A rank's file has a rollback journal
instead, and only the rank of that number writes to it.
"""

from __future__ import annotations

import re
import sqlite3
from contextlib import closing
from pathlib import Path

from marathon_eval.cache.database import LOCK_SECONDS, RANK_MARK, TABLE, Connection, refuse_other_tables
from marathon_eval.cache.entry import is_sound
from marathon_eval.errors import MarathonError


def rank_file(folder_file: str, rank: int) -> str:
    """Return the file name of a rank: `answers.rank-2.sqlite` for `answers.sqlite` and rank 2."""
    path = Path(folder_file)
    return f"{path.stem}{RANK_MARK}{rank}{path.suffix}"


def take_in(path: Path) -> None:
    """Move the entries of all rank files beside this cache file into it. Raises MarathonError where a file fails.

    This does not disturb a rank that still runs, because a rank never reads its own responses again.
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
    """Copy, then delete, in two transactions: a kill between them leaves an entry in both files, never in none."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, factory=Connection)) as connection:
        connection.execute("ATTACH ? AS part", (str(file),))
        refuse_other_tables(connection, "part")
        # a rank that is just starting has created its file but not yet its table
        has_table = connection.execute("SELECT 1 FROM part.sqlite_master WHERE name = ?", (TABLE,)).fetchone()
        if not has_table or not connection.execute(f"SELECT 1 FROM part.{TABLE} LIMIT 1").fetchone():
            return
        connection.create_function("is_sound", 2, is_sound)
        with connection:
            connection.execute(f"INSERT OR IGNORE INTO main.{TABLE} SELECT key, value FROM part.{TABLE}")
            # a rank asks again what the folder's cache holds damaged
            connection.execute(
                f"REPLACE INTO main.{TABLE} SELECT of_rank.key, of_rank.value FROM part.{TABLE} AS of_rank JOIN main.{TABLE} AS kept "
                "ON kept.key = of_rank.key WHERE kept.value IS NOT of_rank.value AND NOT is_sound(kept.key, kept.value)"
            )
        with connection:
            connection.execute(f"DELETE FROM part.{TABLE} WHERE key IN (SELECT key FROM main.{TABLE})")
