"""Keeps the rows of a finished run compressed, with what finds a row: what it asked, its options, its number."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import PurePath
from typing import Any

from marathon_eval.api.compressed_lines import CompressedLines
from marathon_eval.files import canonical_json, json_line, parsed_json, utf8

StoredRow = Mapping[str, Any]
#: Fields that hold a row's options; early versions wrote neither.
_OPTIONS = ("choices", "letters")


class StoredRows:
    """Holds the rows of one task; a row is its place in the file, and is parsed anew each time it is read."""

    def __init__(self, rows: Iterable[StoredRow]) -> None:
        self._lines = CompressedLines()
        #: The document number of each row.
        self.doc_ids: list[int] = []
        #: Places by document number, and by what was asked (`asked_digest`).
        self.numbers: dict[int, int] = {}
        self.places: dict[bytes, list[int]] = {}
        self._options: dict[str, list[bytes | None]] = {name: [] for name in _OPTIONS}
        self._shared: dict[bytes, bytes] = {}
        for place, row in enumerate(rows):
            self._lines.append(json_line(row))
            self.doc_ids.append(row["doc_id"])
            self.numbers[row["doc_id"]] = place
            clips = (clip.get("sha256") or PurePath(str(clip.get("path"))).name for clip in row["audio"])
            self.places.setdefault(asked_digest(row["prompt_sha256"], tuple(clips)), []).append(place)
            for name, column in self._options.items():
                column.append(self._shared_digest(row[name]) if name in row else None)

    @cached_property
    def named(self) -> Mapping[bytes, list[int]]:
        """Places by what was asked, with the clips' file names in place of their hashes: for clips that are not there any more."""
        named: dict[bytes, list[int]] = {}
        for place, line in enumerate(self._lines):
            row = parsed_json(line)
            names = tuple(PurePath(str(clip.get("path"))).name for clip in row["audio"])
            named.setdefault(asked_digest(row["prompt_sha256"], names), []).append(place)
        return named

    def _shared_digest(self, value: Any) -> bytes:
        digest = _digest(value)
        return self._shared.setdefault(digest, digest)

    def __len__(self) -> int:
        return len(self._lines)

    def __getitem__(self, place: int) -> StoredRow:
        row: StoredRow = parsed_json(self._lines[place])
        return row

    def has_options(self, place: int, now: Mapping[str, list[str]]) -> bool:
        """Return whether a row had these choices and letters, as far as it recorded them."""
        recorded = ((self._options[name][place], options) for name, options in now.items())
        return all(digest is None or digest == _digest(options) for digest, options in recorded)


class RowsByDoc(Mapping[int, StoredRow]):
    """Reads rows by the number of the document that they answer; `places` leads from one to the other."""

    def __init__(self, rows: StoredRows, places: Mapping[int, int]) -> None:
        self._rows = rows
        self._places = places

    def __getitem__(self, doc_id: int) -> StoredRow:
        return self._rows[self._places[doc_id]]

    def __contains__(self, doc_id: object) -> bool:
        return doc_id in self._places

    def __iter__(self) -> Iterator[int]:
        return iter(self._places)

    def __len__(self) -> int:
        return len(self._places)


def asked_digest(prompt_sha256: str | None, clips: tuple[str, ...]) -> bytes:
    """Return a hash of what a row asked: its prompt's hash and its clips' hashes or names."""
    return _digest([prompt_sha256, clips])


def _digest(value: Any) -> bytes:
    return hashlib.sha256(utf8(canonical_json(value))).digest()
