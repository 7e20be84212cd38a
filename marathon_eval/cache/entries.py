"""Looks up a response in a cache file, checks every entry, and deletes entries.

Every entry can be checked by itself: its key is the hash of the request and the fingerprint that it stores.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marathon_eval.api.audio import path_of_memo_key
from marathon_eval.api.model import Entry
from marathon_eval.cache.database import LOCK_SECONDS, TABLE, Connection, read_only, refuse_other_tables
from marathon_eval.cache.entry import AUDIO, FINGERPRINT, RESPONSE, WEIGHTS, belongs
from marathon_eval.cache.rank_files import take_in
from marathon_eval.cache.scan import StoredResponse, responses_by_fingerprint, stored_responses
from marathon_eval.errors import MarathonError


@dataclass(frozen=True)
class Selection:
    """Selects stored responses; empty fields select all."""

    fingerprint: str = ""
    model: str = ""
    older_than_days: float | None = None

    def chooser(self, fingerprints: Mapping[str, Mapping[str, Any]]) -> Callable[[StoredResponse], bool]:
        """Return a function that says whether a stored response is selected."""
        limit = None
        if self.older_than_days is not None:
            oldest = time.gmtime(time.time() - self.older_than_days * 86_400)
            limit = time.strftime("%Y-%m-%dT%H:%M:%SZ", oldest)

        def chosen(response: StoredResponse) -> bool:
            of_model = not self.model or fingerprints.get(response.fingerprint, {}).get("model") == self.model
            old = limit is None or response.created < limit
            return response.fingerprint.startswith(self.fingerprint) and of_model and old

        return chosen


@contextmanager
def opened_read_only(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the file for reading. Raises MarathonError where it is missing, damaged or locked."""
    if not path.is_file():
        raise MarathonError(f"cache: {path}: no such file")
    take_in(path)
    try:
        with closing(read_only(path)) as connection:
            refuse_other_tables(connection)
            yield connection
    except sqlite3.DatabaseError as error:
        raise MarathonError(f"cache: {path}: not readable ({error})") from None


def stored(connection: sqlite3.Connection, prefix: str) -> Iterator[Entry]:
    """Yield the entries whose key begins with `prefix`. Raises MarathonError for a value that is not JSON."""
    # a range rather than LIKE: it uses the index, and it has no wildcards
    query = f"SELECT key, value FROM {TABLE} WHERE key >= ? AND key < ? ORDER BY key"
    for key, value in connection.execute(query, (prefix, prefix + "\U0010ffff")):
        try:
            entry = Entry(key, json.loads(value))
        except (ValueError, TypeError, RecursionError):
            entry = Entry(key, None)
        if not _has_its_parts(entry):
            raise MarathonError(f"cache: {key}: damaged; `cache prune --damaged` deletes damaged entries")
        yield entry


def _has_its_parts(entry: Entry) -> bool:
    """Return whether an entry has the fields that readers use without verifying its key."""
    if not entry.key.startswith((RESPONSE, FINGERPRINT)):
        return entry.value is not None
    if not isinstance(entry.value, dict):
        return False
    texts = ("fingerprint", "created") if entry.key.startswith(RESPONSE) else ()
    return all(isinstance(entry.value.get(name), str) for name in texts)


def fingerprints(connection: sqlite3.Connection) -> dict[str, dict[str, Any]]:
    """Return all fingerprints by their hash."""
    return {entry.key.removeprefix(FINGERPRINT): entry.value for entry in stored(connection, FINGERPRINT)}


def look_up(path: Path, prefix: str) -> dict[str, Any]:
    """Return the response whose key begins with `prefix`, and its model's fingerprint.

    Raises MarathonError unless exactly one key matches.
    """
    digits = prefix.removeprefix(RESPONSE)
    with opened_read_only(path) as connection:
        matches = list(stored(connection, RESPONSE + digits)) if digits else []
        if len(matches) != 1:
            keys = ", ".join(entry.key.removeprefix(RESPONSE)[:16] for entry in matches[:5])
            count = (
                f"{len(matches)} answers have such a key: {keys}" if matches else "no answer has such a key"
            )
            raise MarathonError(f"cache show: '{prefix}': {count}; `marathon-eval show TASK DOC` prints keys")
        identity = matches[0].value["fingerprint"]
        return {"key": matches[0].key, **matches[0].value, "model": fingerprints(connection).get(identity)}


def faults(path: Path) -> Iterator[tuple[str, str]]:
    """Yield key and fault of every damaged entry. Raises MarathonError where the file can't be read at all."""
    with opened_read_only(path) as connection:
        fingerprint_ids: set[str] = set()
        # fingerprint/ sorts before response/, so that all fingerprints are read before the first response
        for key, text in connection.execute(f"SELECT key, value FROM {TABLE} ORDER BY key"):
            fault = _fault(key, text, fingerprint_ids)
            if fault is not None:
                yield key, fault


def sqlite_faults(path: Path) -> list[str]:
    """Return the errors of sqlite's own check; empty for an intact file."""
    with opened_read_only(path) as connection:
        return [line for (line,) in connection.execute("PRAGMA quick_check") if line != "ok"]


def _fault(key: str, text: str, fingerprint_ids: set[str]) -> str | None:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return "the value is not JSON"
    if key.startswith(FINGERPRINT):
        fingerprint_ids.add(key.removeprefix(FINGERPRINT))
    if not key.startswith((FINGERPRINT, RESPONSE, AUDIO, WEIGHTS)):
        return "the key has an unknown prefix"
    if not belongs(Entry(key, value)):
        return "the key is not the hash of what is stored under it"
    if key.startswith(RESPONSE) and value["fingerprint"] not in fingerprint_ids:
        return f"its model's fingerprint {value['fingerprint'][:8]} is missing"
    return None


def prunable(path: Path, selection: Selection | None, gone_audio: bool, damaged: bool) -> Iterator[str]:
    """Yield the keys of selected responses, of audio facts whose file no longer exists, and of damaged entries.

    `selection` None selects no responses; `gone_audio` and `damaged` add the other two.
    """
    broken = {key for key, _ in faults(path)} if damaged else set()
    yield from broken
    with opened_read_only(path) as connection:
        if selection is not None:
            chosen = selection.chooser(fingerprints(connection))
            keys = (response.key for response in filter(chosen, stored_responses(connection)))
            yield from (key for key in keys if key not in broken)
        if gone_audio:
            memo = (entry.key for entry in stored(connection, AUDIO))
            yield from (
                key for key in memo if key not in broken and not os.path.exists(path_of_memo_key(key))
            )


def delete(path: Path, keys: Iterable[str]) -> tuple[int, int]:
    """Delete entries and fingerprints without responses, and shrink the file.

    Returns the numbers of responses and of other entries among `keys`. Raises MarathonError where the file is locked.
    """
    try:
        with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, factory=Connection)) as connection:
            # sqlite keeps this table in a file of its own: the keys of a million responses fill 200 MB of memory
            connection.execute("PRAGMA temp_store=FILE")
            connection.execute("CREATE TEMP TABLE chosen (key TEXT PRIMARY KEY) WITHOUT ROWID")
            with connection:
                connection.executemany("INSERT OR IGNORE INTO chosen VALUES (?)", ((key,) for key in keys))
            count = "SELECT count(*) FROM chosen WHERE key LIKE ?"
            answers, everything = (
                connection.execute(count, (prefix + "%",)).fetchone()[0] for prefix in (RESPONSE, "")
            )
            with connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"DELETE FROM {TABLE} WHERE key IN (SELECT key FROM chosen)")
                _delete_unused_fingerprints(connection)
            connection.execute("VACUUM")
    except sqlite3.Error as error:
        raise MarathonError(f"cache prune: {path}: {error}") from None
    return answers, everything - answers


def _delete_unused_fingerprints(connection: sqlite3.Connection) -> None:
    used = responses_by_fingerprint(connection, damaged=True)
    keys = connection.execute(f"SELECT key FROM {TABLE} WHERE key >= 'fingerprint/' AND key < 'fingerprint0'")
    unused = [key for (key,) in keys if key.removeprefix(FINGERPRINT) not in used]
    connection.executemany(f"DELETE FROM {TABLE} WHERE key = ?", ((key,) for key in unused))
