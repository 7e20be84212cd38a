"""Keeps samples in memory as the lines of their file, compressed in blocks: a tenth of the memory of objects.

A block decompresses to the text of samples_<task>.jsonl, so that writing the file encodes nothing again.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from marathon_eval.api.results import ReadingScore, Sample
from marathon_eval.files import json_line

#: Characters of a block. zlib looks back 32 KB, so larger blocks hardly compress better.
BLOCK = 1 << 16
#: The fastest zlib level: higher ones take longer and save almost nothing on such repetitive lines.
_LEVEL = 1


class CompressedSamples(Sequence[Sample]):
    """Stores one task's samples. Each access builds a new object, in which tuples have become lists."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._task = ""
        self._blocks: list[bytes] = []
        #: The number of each block's first sample.
        self._firsts: list[int] = []
        #: Lines of the unfinished block.
        self._open: list[str] = []
        self._size = self._length = 0
        for sample in samples:
            self.append(sample)

    def append(self, sample: Sample) -> None:
        """Append a sample. Raises ValueError if its task is not that of the others: lines do not name it."""
        if self._length and sample.task != self._task:
            raise ValueError(f"a sample of {sample.task} among those of {self._task}")
        self._task = sample.task
        line = json_line(sample.line())
        self._open.append(line)
        self._length += 1
        self._size += len(line)
        if self._size >= BLOCK:
            self._close()

    def _close(self) -> None:
        self._firsts.append(self._length - len(self._open))
        self._blocks.append(zlib.compress("".join(self._open).encode(), _LEVEL))
        self._open, self._size = [], 0

    def texts(self) -> Iterator[str]:
        """Yield the file's text, one block at a time."""
        for block in self._blocks:
            yield zlib.decompress(block).decode()
        if self._open:
            yield "".join(self._open)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Sample]:
        return (_sample(self._task, row) for row in self.rows())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the parsed lines."""
        return (json.loads(line) for text in self.texts() for line in _lines(text))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(self._length))]
        position = index + self._length if index < 0 else index
        if not 0 <= position < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        compressed = self._length - len(self._open)
        if position >= compressed:
            return _sample(self._task, json.loads(self._open[position - compressed]))
        block = bisect_right(self._firsts, position) - 1
        lines = _lines(zlib.decompress(self._blocks[block]).decode())
        return _sample(self._task, json.loads(lines[position - self._firsts[block]]))

    def __eq__(self, other: object) -> bool:
        """Compare with a list or other CompressedSamples, sample by sample."""
        if not isinstance(other, (CompressedSamples, list)):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # mutable, like a list


def samples_text(samples: Sequence[Sample]) -> Iterator[str]:
    """Yield the text of samples_<task>.jsonl in parts."""
    if isinstance(samples, CompressedSamples):
        return samples.texts()
    return (json_line(sample.line()) for sample in samples)


def rows_of(samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """Yield the parsed lines of samples_<task>.jsonl."""
    if isinstance(samples, CompressedSamples):
        return samples.rows()
    return (sample.line() for sample in samples)


def _sample(task: str, row: dict[str, Any]) -> Sample:
    """Build the sample of a parsed line; modifies `row`."""
    del row["schema_version"]
    row["readings"] = {name: ReadingScore(**score) for name, score in row["readings"].items()}
    return Sample(task=task, **row)


def _lines(text: str) -> list[str]:
    """Split at newlines only: str.splitlines also splits at characters that may occur in a JSON string."""
    return text.removesuffix("\n").split("\n")
