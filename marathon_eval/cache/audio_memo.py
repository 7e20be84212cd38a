"""Remembers the hash and length of every clip that was decoded, and decides whether a stored value is still valid.

A key holds the file's whole identity (api/file_identity.py). Earlier versions knew size and modification time only.
Their entries are taken over, without decoding the clip again, where one of two facts proves that the file is
unchanged:

- its inode last changed when its content was written, so it was never replaced under its modification time;
- an answer on this hash was stored later than the inode's last change: the model heard the file as it is now.

All other clips are decoded once more, and a line on stderr says how many.
"""

from __future__ import annotations

import calendar
import json
import os
import sqlite3
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol

from marathon_eval.api.audio import Audio, AudioFacts, MemoKey, memo_keys
from marathon_eval.cache.database import TABLE, read_only
from marathon_eval.cache.heard_files import HeardFiles
from marathon_eval.errors import AudioError

#: Clips decoded side by side for their hash.
HASHED_AT_ONCE = 8
#: Clips whose keys, which are long, are in memory at the same time.
KEYS_AT_ONCE = 1000


class MemoStore(Protocol):
    """Says what the memo needs of the response cache: values by key, and the file in which earlier answers lie."""

    path: Path | None

    def get_many(self, keys: Iterable[str]) -> dict[str, Any]: ...
    def put(self, key: str, value: Any) -> None: ...


def remembered_facts(
    store: MemoStore, audios: Iterable[Audio], heard: HeardFiles
) -> tuple[dict[Audio, AudioFacts], dict[Audio, str]]:
    """Return hash and seconds of each stretch, decoding those that are not remembered; or why it cannot be heard.

    `heard` notes the state of the files.
    """
    facts: dict[Audio, AudioFacts] = {}
    errors: dict[Audio, str] = {}
    unknown: list[MemoKey] = []
    every = list(dict.fromkeys(audios))
    for first in range(0, len(every), KEYS_AT_ONCE):
        keys, absent = memo_keys(every[first : first + KEYS_AT_ONCE])
        errors.update(absent)
        heard.note(keys.values())
        memo = store.get_many(one.key for one in keys.values())
        for audio, one in keys.items():
            if one.key in memo:
                facts[audio] = AudioFacts(*memo[one.key])
            else:
                unknown.append(one)
        del keys, memo  # before the next ones are made
    if unknown:
        found, reasons = _looked_up(store, unknown)
        facts.update({one.audio: AudioFacts(*found[one.key]) for one in unknown if one.key in found})
        errors.update({one.audio: reasons[one.key] for one in unknown if one.key in reasons})
    return facts, errors


def _looked_up(store: MemoStore, unknown: Sequence[MemoKey]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the values of stretches that are not remembered by key, and store them; or why they cannot be heard."""
    by_key = {one.key: one for one in unknown}
    found = _taken_over(store, list(by_key.values()))
    to_decode = {key: one.audio for key, one in by_key.items() if key not in found}
    reasons: dict[str, str] = {}
    for key, facts in zip(to_decode, _hashed(list(to_decode.values())), strict=True):
        if isinstance(facts, AudioFacts):
            found[key] = list(facts)
        else:
            reasons[key] = facts
        if key in found:
            store.put(key, found[key])
    return found, reasons


def _taken_over(store: MemoStore, unknown: Sequence[MemoKey]) -> dict[str, Any]:
    """Return the values of earlier versions' entries that are proved to be true, by their new key, and store them."""
    earlier = store.get_many(one.earlier for one in unknown)
    candidates = [one for one in unknown if one.earlier in earlier]
    answered: Mapping[str, float] | None = None
    taken: dict[str, Any] = {}
    for one in candidates:
        value = earlier[one.earlier]
        if not _of_this_length(one.audio, value):
            continue
        if not one.identity.unchanged_since_written:
            answered = _first_answers(store.path) if answered is None else answered
            if one.identity.ctime_ns >= 1e9 * answered.get(value[0], 0.0):
                continue
        taken[one.key] = value
        store.put(one.key, value)
    if len(taken) < len(candidates):
        print(
            f"marathon-eval: {len(candidates) - len(taken)} clips are hashed again: an earlier version noted only their size and "
            "time, which does not prove that they are unchanged",
            file=sys.stderr,
        )
    return taken


def _of_this_length(audio: Audio, value: Any) -> bool:
    """Return whether facts of an earlier version have the section's length.

    Earlier versions trusted headers and accepted truncated files.
    """
    try:
        return abs(audio.seconds - float(value[1])) < 1e-3
    except (AudioError, ValueError, TypeError, LookupError):
        return False


def _first_answers(path: Path | None) -> dict[str, float]:
    """Return for each clip's hash when the first answer on it was stored, in seconds since 1970."""
    first: dict[str, float] = {}
    if path is None:
        return first
    query = (
        "SELECT json_extract(value, '$.request.audio'), min(json_extract(value, '$.created')) "
        f"FROM {TABLE} WHERE key >= 'response/' AND key < 'response0' AND json_valid(value) GROUP BY 1"
    )
    try:
        with closing(read_only(path)) as connection:
            for hashes, created in connection.execute(query):
                moment = float(calendar.timegm(time.strptime(created, "%Y-%m-%dT%H:%M:%SZ")))
                for sha256 in json.loads(hashes):
                    first[sha256] = min(moment, first.get(sha256, moment))
    except (sqlite3.DatabaseError, ValueError, TypeError):  # damage proves nothing: the clips are decoded
        return {}
    return first


def _hashed(audios: Sequence[Audio]) -> Iterator[AudioFacts | str]:
    """Yield each stretch's facts, or why it cannot be decoded, in order; decodes in threads, since decoding releases the GIL."""

    def facts(audio: Audio) -> AudioFacts | str:
        try:
            return audio.facts()
        except AudioError as error:
            return str(error)

    if len(audios) < 2:
        yield from map(facts, audios)
        return
    from concurrent.futures import ThreadPoolExecutor

    pool = ThreadPoolExecutor(min(HASHED_AT_ONCE, os.cpu_count() or 1), thread_name_prefix="hash")
    try:
        yield from pool.map(facts, audios)
    finally:
        # after Ctrl-C nobody waits for a thousand clips
        pool.shutdown(cancel_futures=True)
