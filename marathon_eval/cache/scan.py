"""Reads all stored responses one by one, in the order in which they lie in the file, without parsing their JSON.

Entries are canonical JSON with sorted keys, so that age, fingerprint and audio of a response stand at its beginning.
A million responses take seconds and no memory this way. A text of another layout is parsed as JSON.
"""

from __future__ import annotations

import json
import re
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator
from typing import Any, NamedTuple

from marathon_eval.cache.database import TABLE
from marathon_eval.errors import MarathonError

_BEGINNING = re.compile(
    rb'\{(?:"check":"[0-9a-f]{8}",)?"created":"([^"\\]*)","fingerprint":"([^"\\]*)",'
    rb'"request":\{"audio":(\[[^\]]*\])'
)
#: How a response with a checksum begins; ? is the first of the fingerprint's 64 characters.
_LAYOUT = b'{"check":"00000000","created":"2026-01-01T00:00:00Z","fingerprint":"?'
_AT = _LAYOUT.index(b"?")
_REQUEST = b'","request":{"audio":'
_AUDIO_AT = _AT + 64 + len(_REQUEST)
#: NOT INDEXED: in the order of the index, every row would be a jump to another page of the file.
_RESPONSES = f"FROM {TABLE} NOT INDEXED WHERE key >= 'response/' AND key < 'response0'"
_PARTS = "CAST(key AS BLOB), CAST(value AS BLOB)"
_SELECTED = f"SELECT {_PARTS}"
#: Characters of a list that holds the hash of one clip.
_ONE_CLIP = len('["') + 64 + len('"]')


def _at(start: int, length: int) -> str:
    """Return SQL for a part of the value as bytes; sqlite counts from 1."""
    return f"CAST(substr(value, {start + 1}, {length}) AS BLOB)"


#: Whether a response of the usual layout is on one clip that is not wanted. sqlite passes over a million of them in a
#: third of the time that Python takes to receive them.
_ELSEWHERE = (
    f"{_at(_AT - 15, 15)} = ? AND {_at(_AT + 64, len(_REQUEST))} = ? "
    f"AND {_at(_AUDIO_AT + _ONE_CLIP - 1, 1)} = CAST(']' AS BLOB) "
    f"AND {_at(_AUDIO_AT, _ONE_CLIP)} NOT IN (SELECT CAST(value AS BLOB) FROM json_each(?))"
)


class StoredResponse(NamedTuple):
    """Holds one response as stored: its key, when and by which model it was given, its audio's hashes, its JSON text.

    `audio` is a JSON list, such as `["3f…"]`.
    """

    key: str
    created: str
    fingerprint: str
    audio: str
    text: bytes

    def value(self) -> dict[str, Any]:
        """Parse the JSON text. Raises MarathonError where it is damaged."""
        return _parsed(self.key.encode(), self.text)


def stored_responses(
    connection: sqlite3.Connection, audio: Collection[str] | None = None, first: int = 0
) -> Iterator[StoredResponse]:
    """Yield every stored response, or with `audio` the `first` ones and those on such audio (its hashes as JSON).

    Raises MarathonError for one whose text cannot be read.
    """
    if audio is None:
        yield from map(_stored, connection.execute(f"{_SELECTED} {_RESPONSES}"))
        return
    last = -1
    for row, key, text in connection.execute(f"SELECT rowid, {_PARTS} {_RESPONSES} LIMIT ?", (first,)):
        last = row
        yield _stored((key, text))
    rest = connection.execute(
        f"{_SELECTED} {_RESPONSES} AND rowid > ? AND NOT ({_ELSEWHERE})", (last, *_elsewhere(audio))
    )
    yield from (response for response in map(_stored, rest) if response.audio in audio)


def _stored(entry: tuple[bytes, bytes | None]) -> StoredResponse:
    key, text = entry
    beginning = _BEGINNING.match(text or b"")
    if beginning is not None and text is not None and text.endswith(b"}"):
        created, fingerprint, clips = (part.decode(errors="replace") for part in beginning.groups())
    else:
        row = _parsed(key, text)
        text = text or b""
        created, fingerprint = row["created"], row["fingerprint"]
        clips = json.dumps(row["request"]["audio"], separators=(",", ":"))
    return StoredResponse(key.decode(errors="replace"), created, fingerprint, clips, text)


def _elsewhere(audio: Collection[str]) -> tuple[bytes, bytes, str]:
    """Return what `_ELSEWHERE` is filled with."""
    return _LAYOUT[-16:-1], _REQUEST, json.dumps([*audio])


def responses_by_fingerprint(connection: sqlite3.Connection, damaged: bool = False) -> Counter[str]:
    """Count the stored responses of each fingerprint; `damaged` leaves out those whose text cannot be read.

    Otherwise raises MarathonError for one.
    """
    counts: Counter[bytes] = Counter()
    for row, text in connection.execute(f"SELECT rowid, CAST(value AS BLOB) {_RESPONSES}"):
        # without a regular expression, which takes longer than sqlite
        usual = text and text[_AT - 15 : _AT] == _LAYOUT[-16:-1] and text[_AT + 64 : _AT + 66] == b'",'
        if usual and text[-1:] == b"}":
            counts[text[_AT : _AT + 64]] += 1
            continue
        try:
            counts[_parsed(*_entry(connection, row))["fingerprint"].encode()] += 1
        except MarathonError:
            if not damaged:
                raise
    return Counter({identity.decode(errors="replace"): count for identity, count in counts.items()})


def _entry(connection: sqlite3.Connection, row: int) -> tuple[bytes, bytes | None]:
    query = f"SELECT CAST(key AS BLOB), CAST(value AS BLOB) FROM {TABLE} WHERE rowid = ?"
    found: tuple[bytes, bytes | None] = connection.execute(query, (row,)).fetchone()
    return found


def _parsed(key: bytes, text: bytes | None) -> dict[str, Any]:
    """Return the entry, if it has the parts that readers use without verifying its key."""
    try:
        row = json.loads(text or b"")
        texts = [row["fingerprint"], row["created"], *row["request"]["audio"]]
    except (ValueError, TypeError, LookupError, RecursionError):
        texts = [None]
    if not all(isinstance(one, str) for one in texts):
        name = key.decode(errors="replace")
        raise MarathonError(f"cache: {name}: damaged; `cache prune --damaged` deletes damaged entries")
    whole: dict[str, Any] = row
    return whole
