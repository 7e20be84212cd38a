"""Keeps the rows of a long file of JSON lines as compressed text, and parses a row each time it is read."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import overload

from marathon_eval.api.compressed_lines import CompressedLines
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.parsing import not_utf8
from marathon_eval.task.data.selection import Row

#: A file of JSON lines of more bytes is not parsed at once: as objects, rows take four times the bytes of their text.
LONG_FILE = 8 << 20


class LineRows(Sequence[Row]):
    """Holds the rows of one file; a slice holds the same text. `places` are the numbers of the rows (default: all)."""

    def __init__(self, lines: CompressedLines, folder: str, places: range | None = None) -> None:
        self._lines = lines
        self._folder = folder
        self._places = range(len(lines)) if places is None else places

    def __len__(self) -> int:
        return len(self._places)

    def __iter__(self) -> Iterator[Row]:
        return (self._row(place) for place in self._places)

    @overload
    def __getitem__(self, index: int) -> Row: ...
    @overload
    def __getitem__(self, index: slice) -> LineRows: ...
    def __getitem__(self, index: int | slice) -> Row | LineRows:
        if isinstance(index, slice):
            return LineRows(self._lines, self._folder, self._places[index])
        return self._row(self._places[index])

    def _row(self, place: int) -> Row:
        return Row(place, self._folder, json.loads(self._lines[place]))


def checked_lines(path: Path, name: str) -> CompressedLines:
    """Read a file of JSON lines, and parse each to see that it can be parsed.

    Raises MarathonError naming file and line, and OSError.
    """
    lines = CompressedLines()
    try:
        # Python's text files end a line where parsing.py does: at \n, \r\n and \r
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                try:
                    json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise MarathonError(f"{name}:{number}: not readable as JSON ({error})") from None
                lines.append(line.removesuffix("\n") + "\n")
    except UnicodeDecodeError:
        raise _first_not_utf8(path, name) from None
    return lines


def _first_not_utf8(path: Path, name: str) -> MarathonError:
    """Return the error about a file that is not UTF-8, with the first such line."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                line.decode()
            except UnicodeDecodeError as error:
                return not_utf8(name, number, line[error.start])
    return MarathonError(f"{name}: not UTF-8 text")  # written anew since it was read
