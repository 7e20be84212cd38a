"""Samples as the lines of their file, compressed block by block: a tenth of the room that objects take.

A block is given back as it will stand in samples_<task>.jsonl, so that writing copies and encodes nothing again.
"""

from __future__ import annotations

import json
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from marathon_eval.api.results import ReadingScore, Sample
from marathon_eval.files import json_line

#: Characters of a block. zlib looks back 32 KB, so that larger ones are hardly smaller.
BLOCK = 1 << 16
#: The fastest: higher levels take longer and save next to nothing on lines that repeat each other.
_LEVEL = 1


class CompressedSamples(Sequence[Sample]):
    """One task's samples. What is taken out is made anew each time: lists, where a tuple was put in."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._task = ""
        self._blocks: list[bytes] = []
        #: The number of each block's first sample.
        self._firsts: list[int] = []
        #: Lines that fill no block yet.
        self._open: list[str] = []
        self._size = self._length = 0
        for sample in samples:
            self.append(sample)

    def append(self, sample: Sample) -> None:
        """Take a sample in. All are of one task, for no line names it. Raises ValueError for one of another."""
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
        """The file's text, a block at a time."""
        for block in self._blocks:
            yield zlib.decompress(block).decode()
        if self._open:
            yield "".join(self._open)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[Sample]:
        return (_sample(self._task, row) for row in self.rows())

    def rows(self) -> Iterator[dict[str, Any]]:
        """The lines, read."""
        return (json.loads(line) for text in self.texts() for line in _lines(text))

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[at] for at in range(*index.indices(self._length))]
        at = index + self._length if index < 0 else index
        if not 0 <= at < self._length:
            raise IndexError(f"sample {index} of {self._length}")
        packed = self._length - len(self._open)
        if at >= packed:
            return _sample(self._task, json.loads(self._open[at - packed]))
        block = bisect_right(self._firsts, at) - 1
        lines = _lines(zlib.decompress(self._blocks[block]).decode())
        return _sample(self._task, json.loads(lines[at - self._firsts[block]]))

    def __eq__(self, other: object) -> bool:
        """As lists are equal, and to a list."""
        if not isinstance(other, (CompressedSamples, list)):
            return NotImplemented
        return len(self) == len(other) and all(
            mine == theirs for mine, theirs in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]  # as a list, it may grow


def samples_text(samples: Sequence[Sample]) -> Iterator[str]:
    """The text of samples_<task>.jsonl in parts."""
    if isinstance(samples, CompressedSamples):
        return samples.texts()
    return (json_line(sample.line()) for sample in samples)


def rows_of(samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """The lines of samples_<task>.jsonl, read."""
    if isinstance(samples, CompressedSamples):
        return samples.rows()
    return (sample.line() for sample in samples)


def _sample(task: str, row: dict[str, Any]) -> Sample:
    """The sample of a line; the row is used up."""
    del row["schema_version"]
    row["readings"] = {name: ReadingScore(**read) for name, read in row["readings"].items()}
    return Sample(task=task, **row)


def _lines(text: str) -> list[str]:
    """Not str.splitlines, for which characters that may stand in a JSON text end a line."""
    return text.removesuffix("\n").split("\n")
