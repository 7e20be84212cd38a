"""What is left of a damaged cache file: every entry that can still be read and proved, in a new file of the old name.

sqlite stops at the first broken page, so rows are asked for one by one; then the raw bytes are searched for answers
whose page nothing points to any more. An answer's key is the hash of its request, and its row carries a checksum:
what does not prove itself is not taken over. The damaged file stays beside the new one.
"""

from __future__ import annotations

import fcntl
import json
import re
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from marathon_eval.api.model import Entry
from marathon_eval.cache.database import LOCK_SECONDS, TABLE, Connection, read_only
from marathon_eval.cache.entry import AUDIO, FINGERPRINT, RESPONSE, belongs, storable
from marathon_eval.files import replaced_atomically

MAGIC = b"SQLite format 3\0"
#: Of the sixteen first bytes this many must be sqlite's, else the file never was a cache.
_ENOUGH_OF_MAGIC = 8
_SMALLEST_ROW = 40
_LONGEST_CARVED = 1 << 16
_CARVED = re.compile(rb"(?:response|fingerprint)/[0-9a-f]{64}(?=\{)")


def was_a_cache(path: Path) -> bool:
    """Whether the file began as sqlite's, as far as its first bytes can still say."""
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    return sum(a == b for a, b in zip(head, MAGIC, strict=False)) >= min(_ENOUGH_OF_MAGIC, max(1, len(head)))


def fault_of(path: Path) -> str | None:
    """What sqlite finds wrong with the file's structure; None for a sound one. A locked file raises."""
    try:
        with closing(read_only(path)) as connection:
            # quick_check does not look whether the index leads to the rows
            found = [line for (line,) in connection.execute("PRAGMA integrity_check(1)")]
            connection.execute(f"SELECT count(*) FROM (SELECT key, value FROM {TABLE} LIMIT 1)")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return str(error)
    return None if found == ["ok"] else " ".join(found[0].split())


def is_damage(error: sqlite3.Error) -> bool:
    """Whether sqlite complains of the file's content, not of a lock, a full disk or missing rights."""
    name = str(getattr(error, "sqlite_errorname", None) or "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return True
    return any(sign in str(error) for sign in ("malformed", "not a database", "no such table"))


def salvage(path: Path) -> None:
    """Replace a damaged file by one with all that is whole, and say so in one line on stderr.

    Whoever comes second to the same damage finds it mended. Raises OSError and sqlite3.Error where the folder refuses.
    """
    with _alone(path):
        fault = fault_of(path)
        if fault is None:
            return
        with _writers_waiting(path):
            aside = _set_aside(path)
            kept = _replace(path, _found(aside))
    print(
        f"marathon-eval: warning: {path} was damaged ({fault}); it is kept as {aside.name}, "
        f"and {kept} answers were taken over from it",
        file=sys.stderr,
    )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """One process at a time; the lock goes with the process, however it ends."""
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _writers_waiting(path: Path) -> Iterator[None]:
    """What another process commits now would be in neither file: it waits, and then finds the new one."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, factory=Connection)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            if not is_damage(error):  # of what cannot be locked nobody can write either
                raise
        yield


def _replace(path: Path, entries: dict[str, Any]) -> int:
    """A new file of that name; how many answers it holds."""
    with replaced_atomically(path) as fresh:
        fresh.unlink(missing_ok=True)
        kept = _write(fresh, entries)
        # an old write-ahead log beside a new file would be applied to it
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    return kept


def _set_aside(path: Path) -> Path:
    """A copy of the file and of its log under a name that is free."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    log = path.with_name(path.name + "-wal")
    if log.exists():
        shutil.copyfile(log, aside.with_name(aside.name + "-wal"))
    shutil.copyfile(path, aside)
    return aside


def _found(aside: Path) -> dict[str, Any]:
    """Every provable entry by key; what sqlite reads comes before what the raw bytes hold."""
    entries: dict[str, Any] = {}
    for key, text in [*_read(aside), *_carved(aside)]:
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            if key not in entries and belongs(Entry(key, value)):
                entries[key] = value
    return entries


def _read(aside: Path) -> Iterator[tuple[str, str]]:
    """Rows one by one through sqlite, as far as it finds its way to them."""
    with suppress(sqlite3.DatabaseError, UnicodeDecodeError), closing(read_only(aside)) as connection:
        connection.text_factory = bytes
        last = _last_row(connection, aside)
        for row_id in range(1, last + 1):
            with suppress(sqlite3.DatabaseError, UnicodeDecodeError, AttributeError):
                query = f"SELECT key, value FROM {TABLE} NOT INDEXED WHERE rowid = ?"
                for key, value in connection.execute(query, (row_id,)):
                    yield key.decode(), value.decode(errors="surrogatepass")
    aside.with_name(f"{aside.name}-shm").unlink(missing_ok=True)


def _last_row(connection: sqlite3.Connection, aside: Path) -> int:
    most = aside.stat().st_size // _SMALLEST_ROW
    with suppress(sqlite3.DatabaseError):
        found = connection.execute(f"SELECT max(rowid) FROM {TABLE} NOT INDEXED").fetchone()[0]
        # replaced rows take new numbers, so that the last may be over what fits in the file
        return min(int(found or 0), 100 * most)
    return most


def _carved(aside: Path) -> Iterator[tuple[str, str]]:
    """Keys and JSON objects that stand one behind the other in the file or in its log."""
    decoder = json.JSONDecoder()
    for path in (aside, aside.with_name(aside.name + "-wal")):
        content = path.read_bytes() if path.exists() else b""
        for match in _CARVED.finditer(content):
            text = content[match.end() : match.end() + _LONGEST_CARVED].decode(errors="replace")
            with suppress(ValueError, RecursionError):
                _, end = decoder.raw_decode(text)
                yield match.group().decode(), text[:end]


def _write(fresh: Path, entries: dict[str, Any]) -> int:
    """A new cache file with the entries; how many answers are among them."""
    prefixes = (RESPONSE, FINGERPRINT, AUDIO)
    rows = [(key, storable(value)) for key, value in entries.items() if key.startswith(prefixes)]
    with closing(sqlite3.connect(fresh)) as connection, connection:
        connection.execute(f"CREATE TABLE {TABLE} (key TEXT PRIMARY KEY, value BLOB)")
        connection.executemany(f"INSERT INTO {TABLE} VALUES (?, ?)", rows)
    return sum(key.startswith(RESPONSE) for key, _ in rows)
