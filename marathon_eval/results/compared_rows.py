"""Keeps in memory what a comparison reads of a run's samples: some hundred bytes of a row instead of five kilobytes.

Rows of one task repeat most of their parts (options, letters, an answer with its scores), so equal parts are kept once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

#: Fields of a sample that a comparison reads, besides the paths of its audio.
COMPARED = (
    *("doc_id", "target", "response", "status", "prompt_sha256", "cluster"),
    *("readings", "fields", "choices", "letters", "turns_sha256"),
)
#: Those of them that rows share.
_SHARED = frozenset({"target", "readings", "fields", "choices", "letters", "turns_sha256"})
_PLACES = {name: place for place, name in enumerate(COMPARED)}
#: Stands for a field that an early version did not write.
_ABSENT = object()
#: Parts that are kept for sharing; a task whose rows share nothing gains nothing from more.
_MOST_SHARED = 20_000


class ComparedRow(Mapping[str, Any]):
    """Holds the fields `COMPARED` of a sample and the paths of its clips. It is read like the sample's own dict."""

    __slots__ = ("_paths", "_values")

    def __init__(self, sample: Mapping[str, Any], parts: SharedParts) -> None:
        self._values = tuple(
            parts.shared(sample[name]) if name in _SHARED and name in sample else sample.get(name, _ABSENT)
            for name in COMPARED
        )
        self._paths = tuple(clip["path"] for clip in sample["audio"])

    def __getitem__(self, name: str) -> Any:
        if name == "audio":
            return [{"path": path} for path in self._paths]
        value = self._values[_PLACES[name]]
        if value is _ABSENT:
            raise KeyError(name)
        return value

    def __iter__(self) -> Iterator[str]:
        yield from (name for name, value in zip(COMPARED, self._values, strict=True) if value is not _ABSENT)
        yield "audio"

    def __len__(self) -> int:
        return sum(1 for _ in self)


class SharedParts:
    """Keeps one of equal JSON values, which must not be changed afterwards."""

    def __init__(self) -> None:
        self._parts: dict[Any, Any] = {}

    def shared(self, value: Any) -> Any:
        """Return the first value that was equal to this one, in all types too, or this one."""
        if isinstance(value, str | None):
            return value
        key = _hashable(value)
        if len(self._parts) >= _MOST_SHARED:
            return self._parts.get(key, value)
        return self._parts.setdefault(key, value)


def compared_rows(samples: Iterable[Mapping[str, Any]]) -> dict[int, ComparedRow]:
    """Return the rows of a task by document."""
    parts = SharedParts()
    return {sample["doc_id"]: ComparedRow(sample, parts) for sample in samples}


def _hashable(value: Any) -> Any:
    if isinstance(value, dict):
        return "d", tuple((name, _hashable(part)) for name, part in value.items())
    if isinstance(value, list):
        return "l", tuple(map(_hashable, value))
    # 1, 1.0 and True are equal in Python, and so are 0.0 and -0.0
    return value if isinstance(value, str) else (type(value), repr(value))
