"""Answers that travel between caches: an export as JSON lines, and merging one cache into another."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marathon_eval.api.model import Entry
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import Selection, fingerprints, opened_read_only, stored
from marathon_eval.cache.entry import FINGERPRINT, RESPONSE, belongs
from marathon_eval.errors import MarathonError

#: The first line of an exported file.
HEADER = {"marathon_eval_cache": 1}
_CHUNK = 500


@dataclass
class Merged:
    """What a merge did: `kept` had the answer already, `conflicts` had another one (ours stays)."""

    added: int = 0
    kept: int = 0
    conflicts: int = 0
    refused: int = 0


def exported_entries(path: Path, selection: Selection) -> Iterator[dict[str, Any]]:
    """The selected answers and their models' fingerprints as JSON objects; no path of this machine."""
    yield HEADER
    with opened_read_only(path) as connection:
        known = fingerprints(connection)
        chosen = selection.chooser(known)
        told: set[str] = set()
        for entry in stored(connection, RESPONSE):
            identity = entry.value["fingerprint"]
            if not chosen(entry.value):
                continue
            if identity not in told and identity in known:
                told.add(identity)
                yield Entry(FINGERPRINT + identity, known[identity])._asdict()
            yield entry._asdict()


def merge_caches(source: Path, folder: Path) -> Merged:
    """Add what `source` has and the cache in `folder` lacks: another cache's folder or file, or an export.

    Entries whose key is not the hash of their content are refused. Raises MarathonError.
    """
    done = Merged()
    with ResponseCache(folder) as cache:
        for chunk in _chunks(_entries_of(source)):
            ours = cache.get_many(entry.key for entry in chunk)
            for entry in chunk:
                _merge_one(entry, ours.get(entry.key), cache, done)
    return done


def _merge_one(entry: Entry, ours: Any, cache: ResponseCache, done: Merged) -> None:
    if not belongs(entry):
        done.refused += 1
    elif ours is None:
        cache.put(entry.key, entry.value)
        done.added += entry.key.startswith(RESPONSE)
    elif entry.key.startswith(RESPONSE):
        same = ours["response"]["text"] == entry.value["response"]["text"]
        done.kept += same
        done.conflicts += not same


def _entries_of(source: Path) -> Iterator[Entry]:
    path = source / FILE_NAME if source.is_dir() else source
    if path.suffix == ".jsonl":
        yield from _exported_entries(path)
        return
    with opened_read_only(path) as connection:
        for prefix in (FINGERPRINT, RESPONSE):
            yield from stored(connection, prefix)


def _exported_entries(path: Path) -> Iterator[Entry]:
    number = 0
    try:
        with path.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                if number == 1:
                    if row != HEADER:
                        raise MarathonError(f"cache merge: {path}: was not made by `cache export`")
                elif isinstance(row, dict) and set(row) == {"key", "value"} and _is_key(row["key"]):
                    yield Entry(**row)
                else:
                    raise MarathonError(f"cache merge: {path}:{number}: must be an object with key and value")
    except OSError as error:
        raise MarathonError(f"cache merge: {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise MarathonError(
            f"cache merge: {path}:{number + 1}: not readable as text ({error.reason})"
        ) from None
    except (ValueError, RecursionError) as error:
        raise MarathonError(f"cache merge: {path}:{number}: not readable as JSON ({error})") from None


def _is_key(key: Any) -> bool:
    """Text that sqlite takes: half a surrogate pair is no UTF-8."""
    return isinstance(key, str) and not any("\ud800" <= sign <= "\udfff" for sign in key)


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    yield chunk
