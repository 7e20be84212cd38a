"""Repairs a damaged cache file: copies every entry that can be read and verified to a new file of the same name.

sqlite stops at the first broken page, so rows are read one by one; then the raw bytes are searched for entries
whose page is no longer linked. An entry's key is the hash of its request, and its row has a checksum; entries that
fail these checks are not copied. The damaged file stays beside the new one.
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
#: A file counts as a cache when at least this many of its first sixteen bytes are those of an sqlite file.
_ENOUGH_OF_MAGIC = 8
#: Bytes of the smallest row, and of the longest entry that is searched for in the raw bytes.
_SMALLEST_ROW = 40
_LONGEST_CARVED = 1 << 16
_CARVED = re.compile(rb"(?:response|fingerprint)/[0-9a-f]{64}(?=\{)")


def was_a_cache(path: Path) -> bool:
    """Return whether the file was an sqlite file, judged by its first bytes, of which some may be damaged."""
    with path.open("rb") as file:
        head = file.read(len(MAGIC))
    return sum(a == b for a, b in zip(head, MAGIC, strict=False)) >= min(_ENOUGH_OF_MAGIC, max(1, len(head)))


def fault_of(path: Path) -> str | None:
    """Return the fault that sqlite finds in the file's structure, None for an intact file.

    Raises sqlite3.Error if locked.
    """
    try:
        with closing(read_only(path)) as connection:
            # integrity_check, because quick_check does not compare the index with the rows
            lines = [line for (line,) in connection.execute("PRAGMA integrity_check(1)")]
            connection.execute(f"SELECT count(*) FROM (SELECT key, value FROM {TABLE} LIMIT 1)")
    except sqlite3.DatabaseError as error:
        if not is_damage(error):
            raise
        return str(error)
    return None if lines == ["ok"] else " ".join(lines[0].split())


def is_damage(error: sqlite3.Error) -> bool:
    """Return whether an error is about the file's content, and not about a lock, a full disk or missing rights."""
    name = str(getattr(error, "sqlite_errorname", None) or "")
    if name.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return True
    return any(text in str(error) for text in ("malformed", "not a database", "no such table"))


def salvage(path: Path) -> None:
    """Replace a damaged file by one with all its intact entries, and print a one-line warning on stderr.

    A second process that meets the same damage waits and then finds the file repaired. Raises OSError and
    sqlite3.Error where the folder can't be written.
    """
    with _exclusive(path):
        fault = fault_of(path)
        if fault is None:
            return
        with _writers_waiting(path):
            aside = _copy_aside(path)
            count = _replace(path, _intact_entries(aside))
    print(
        f"marathon-eval: warning: {path} was damaged ({fault}); it is kept as {aside.name}, "
        f"and {count} answers were taken over from it",
        file=sys.stderr,
    )


@contextmanager
def _exclusive(path: Path) -> Iterator[None]:
    """Lock out other repairing processes; the operating system releases the lock when the process ends."""
    with path.with_name(f".{path.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _writers_waiting(path: Path) -> Iterator[None]:
    """Make writers of other processes wait for the new file: an entry committed now would be in neither file."""
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, factory=Connection)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.DatabaseError as error:
            # no process can write to a file too damaged to lock, so there is no need to wait; sqlite calls a file whose header
            # names a later format read-only
            is_readonly = str(error.sqlite_errorname).startswith("SQLITE_READONLY")
            if not (is_damage(error) or is_readonly):
                raise
        yield


def _replace(path: Path, entries: dict[str, Any]) -> int:
    """Write a new file of that name, and return how many responses it holds."""
    with replaced_atomically(path) as fresh:
        fresh.unlink(missing_ok=True)
        count = _write(fresh, entries)
        # sqlite would apply an old write-ahead log to the new file
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    return count


def _copy_aside(path: Path) -> Path:
    """Copy the file and its log to an unused name, such as answers.damaged-1.sqlite."""
    number = 1
    while (aside := path.with_name(f"{path.stem}.damaged-{number}{path.suffix}")).exists():
        number += 1
    log = path.with_name(path.name + "-wal")
    if log.exists():
        shutil.copyfile(log, aside.with_name(aside.name + "-wal"))
    shutil.copyfile(path, aside)
    return aside


def _intact_entries(aside: Path) -> dict[str, Any]:
    """Return every entry that can be verified, by key. Rows read by sqlite take precedence over raw bytes."""
    entries: dict[str, Any] = {}
    for key, text in [*_read(aside), *_carved(aside)]:
        with suppress(ValueError, RecursionError):
            value = json.loads(text)
            if key not in entries and belongs(Entry(key, value)):
                entries[key] = value
    return entries


def _read(aside: Path) -> Iterator[tuple[str, str]]:
    """Yield rows one by one through sqlite, as far as it can reach them."""
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
        last = connection.execute(f"SELECT max(rowid) FROM {TABLE} NOT INDEXED").fetchone()[0]
        # a replaced row gets a new number, so the last number may exceed the count of rows that fit in the file
        return min(int(last or 0), 100 * most)
    return most


def _carved(aside: Path) -> Iterator[tuple[str, str]]:
    """Yield each key in the raw bytes of the file or its log that a JSON object follows, with that object."""
    decoder = json.JSONDecoder()
    for path in (aside, aside.with_name(aside.name + "-wal")):
        content = path.read_bytes() if path.exists() else b""
        for match in _CARVED.finditer(content):
            text = content[match.end() : match.end() + _LONGEST_CARVED].decode(errors="replace")
            with suppress(ValueError, RecursionError):
                _, end = decoder.raw_decode(text)
                yield match.group().decode(), text[:end]


def _write(fresh: Path, entries: dict[str, Any]) -> int:
    """Write a new cache file with the entries, and return how many of them are responses."""
    prefixes = (RESPONSE, FINGERPRINT, AUDIO)
    rows = [(key, storable(value)) for key, value in entries.items() if key.startswith(prefixes)]
    with closing(sqlite3.connect(fresh)) as connection, connection:
        connection.execute(f"CREATE TABLE {TABLE} (key TEXT PRIMARY KEY, value BLOB)")
        connection.executemany(f"INSERT INTO {TABLE} VALUES (?, ?)", rows)
    return sum(key.startswith(RESPONSE) for key, _ in rows)
