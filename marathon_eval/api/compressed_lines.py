"""Keeps lines of text in memory, compressed in blocks."""

from __future__ import annotations

import zlib
from bisect import bisect_right
from collections.abc import Iterator

#: Characters of a block. zlib looks back 32 KB, so larger blocks hardly compress better.
BLOCK = 1 << 16
#: The fastest zlib level: higher ones take longer and save almost nothing on such repetitive lines.
_LEVEL = 1


class CompressedLines:
    """Stores lines, each with its newline at the end and no other in it. Neighbours are read at the cost of one block."""

    def __init__(self) -> None:
        self._blocks: list[bytes] = []
        #: The number of each block's first line.
        self._firsts: list[int] = []
        #: Lines of the unfinished block.
        self._open: list[str] = []
        self._size = self._length = 0
        #: The block that was read last, by its number.
        self._read: tuple[int, list[str]] = (-1, [])

    def append(self, line: str) -> None:
        """Append a line."""
        self._open.append(line)
        self._length += 1
        self._size += len(line)
        if self._size >= BLOCK:
            self._firsts.append(self._length - len(self._open))
            self._blocks.append(zlib.compress("".join(self._open).encode(), _LEVEL))
            self._open, self._size = [], 0

    def texts(self) -> Iterator[str]:
        """Yield the text, one block at a time."""
        for block in self._blocks:
            yield zlib.decompress(block).decode()
        if self._open:
            yield "".join(self._open)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[str]:
        return (line for text in self.texts() for line in _lines(text))

    def __getitem__(self, position: int) -> str:
        """Return a line, without its newline where it is in a finished block. Raises IndexError."""
        if not 0 <= position < self._length:
            raise IndexError(f"line {position} of {self._length}")
        compressed = self._length - len(self._open)
        if position >= compressed:
            return self._open[position - compressed]
        number = bisect_right(self._firsts, position) - 1
        if self._read[0] != number:
            self._read = (number, _lines(zlib.decompress(self._blocks[number]).decode()))
        return self._read[1][position - self._firsts[number]]


def _lines(text: str) -> list[str]:
    """Split at newlines only: str.splitlines also splits at characters that may occur in a JSON string."""
    return text.removesuffix("\n").split("\n")
