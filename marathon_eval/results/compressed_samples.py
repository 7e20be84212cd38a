"""Keeps samples in memory as the lines of their file, compressed in blocks: a tenth of the memory of objects.

The blocks together are the text of samples_<task>.jsonl, so that writing the file encodes nothing again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, overload

from marathon_eval.api.compressed_lines import CompressedLines
from marathon_eval.api.results import ReadingScore, Sample
from marathon_eval.errors import MarathonError
from marathon_eval.files import json_line, plain_json_line

_PLAIN_TYPES = frozenset({str, int, float, bool, type(None)})


class CompressedSamples(Sequence[Sample]):
    """Stores one task's samples. Each access builds a new object, in which tuples have become lists."""

    def __init__(self, samples: Iterable[Sample] = ()) -> None:
        self._task = ""
        self._lines = CompressedLines()
        for sample in samples:
            self.append(sample)

    def append(self, sample: Sample) -> None:
        """Append a sample. Raises ValueError if its task is not that of the others: lines do not name it.

        Raises MarathonError for a field that contains itself.
        """
        if len(self._lines) and sample.task != self._task:
            raise ValueError(f"a sample of {sample.task} among those of {self._task}")
        self._task = sample.task
        try:
            self._lines.append(_line(sample))
        except MarathonError as error:
            raise MarathonError(f"{sample.task}: row {sample.doc_id}: {error}") from None

    def texts(self) -> Iterator[str]:
        """Yield the file's text, one block at a time."""
        return self._lines.texts()

    def __len__(self) -> int:
        return len(self._lines)

    def __iter__(self) -> Iterator[Sample]:
        return (_sample(self._task, row) for row in self.rows())

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the parsed lines."""
        return map(json.loads, self._lines)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> list[Sample]: ...
    def __getitem__(self, index: int | slice) -> Sample | list[Sample]:
        if isinstance(index, slice):
            return [self[position] for position in range(*index.indices(len(self)))]
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return _sample(self._task, json.loads(self._lines[position]))

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
    return map(_line, samples)


def rows_of(samples: Sequence[Sample]) -> Iterator[dict[str, Any]]:
    """Yield the parsed lines of samples_<task>.jsonl."""
    if isinstance(samples, CompressedSamples):
        return samples.rows()
    return (sample.line() for sample in samples)


def _line(sample: Sample) -> str:
    # only the columns of the data may hold other types than JSON's
    plain = all(type(value) in _PLAIN_TYPES for value in sample.fields.values())
    return (plain_json_line if plain else json_line)(sample.line())


def _sample(task: str, row: dict[str, Any]) -> Sample:
    """Build the sample of a parsed line; modifies `row`."""
    del row["schema_version"]
    row["readings"] = {name: ReadingScore(**score) for name, score in row["readings"].items()}
    return Sample(task=task, **row)
