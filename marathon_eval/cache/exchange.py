"""Exports cache entries as JSON lines, and merges them into another cache."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from marathon_eval.api.model import Entry
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import Selection, fingerprints, opened_read_only, stored
from marathon_eval.cache.entry import FINGERPRINT, RESPONSE, belongs
from marathon_eval.cache.scan import stored_responses
from marathon_eval.errors import MarathonError

#: The first line of an exported file, as JSON.
HEADER = {"marathon_eval_cache": 1}
_CHUNK = 500


@dataclass
class Merged:
    """Counts what a merge did.

    `kept` responses were there already, `conflicts` were there with another text, which stays. `refused` entries
    have a key that is not the hash of their content.
    """

    added: int = 0
    kept: int = 0
    conflicts: int = 0
    refused: int = 0


def exported_entries(path: Path, selection: Selection) -> Iterator[dict[str, Any]]:
    """Yield the selected responses and their models' fingerprints as JSON objects, without paths of this machine."""
    yield HEADER
    with opened_read_only(path) as connection:
        models = fingerprints(connection)
        chosen = selection.chooser(models)
        exported: set[str] = set()
        for response in filter(chosen, stored_responses(connection)):
            identity = response.fingerprint
            if identity not in exported and identity in models:
                exported.add(identity)
                yield Entry(FINGERPRINT + identity, models[identity])._asdict()
            yield Entry(response.key, response.value())._asdict()


def merge_caches(source: Path, folder: Path) -> Merged:
    """Add the entries of `source`, a cache's folder or file or an export, that the cache in `folder` lacks.

    Entries whose key is not the hash of their content are refused. Raises MarathonError for an unreadable source.
    """
    counts = Merged()
    models: dict[str, Entry] = {}
    with ResponseCache(folder) as cache:
        for chunk in _chunks(_entries_of(source)):
            present = cache.get_many(entry.key for entry in chunk)
            for entry in chunk:
                if entry.key.startswith(FINGERPRINT) and belongs(entry):
                    models[entry.key.removeprefix(FINGERPRINT)] = entry
                _merge_one(entry, present.get(entry.key), cache, models, counts)
    return counts


def _merge_one(
    entry: Entry, present: Any, cache: ResponseCache, models: Mapping[str, Entry], counts: Merged
) -> None:
    if not belongs(entry):
        counts.refused += 1
    elif present is None:
        of_answer = entry.key.startswith(RESPONSE)
        cache.put(entry.key, entry.value, model=models.get(entry.value["fingerprint"]) if of_answer else None)
        counts.added += entry.key.startswith(RESPONSE)
    elif entry.key.startswith(RESPONSE):
        same = present["response"]["text"] == entry.value["response"]["text"]
        counts.kept += same
        counts.conflicts += not same


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
    """Return whether sqlite can store the key: text without lone surrogates, which UTF-8 can't encode."""
    return isinstance(key, str) and not any("\ud800" <= character <= "\udfff" for character in key)


def _chunks(entries: Iterable[Entry]) -> Iterator[list[Entry]]:
    chunk: list[Entry] = []
    for entry in entries:
        chunk.append(entry)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    yield chunk
