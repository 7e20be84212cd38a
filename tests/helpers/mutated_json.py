"""Changes a JSON document at one place, for tests of files that other people wrote."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

#: What stands in the place of a value, in turn: every type of JSON, and texts that a terminal, a page or a path obeys.
VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    1 << 70,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\x1b]0;x\x07\ud800",
    "../../x",
    "<script>alert(1)</script>",
    [],
    [None],
    [[["x"]]],
    ["x", 1, {}],
    {},
    {"x": None},
    {"": {"x": []}},
)
#: Names that replace a key.
NAMES = ("", "../../x", "\x1b[31m", "a/b", "readings")

Place = tuple[str | int, ...]


def places(document: Any, below: Place = ()) -> Iterator[Place]:
    """Yield the place of every value in a document, outer ones first; of a list, the first two."""
    entries = document.items() if isinstance(document, dict) else enumerate(document[:2])
    for key, value in entries:
        yield (*below, key)
        if isinstance(value, (dict, list)):
            yield from places(value, (*below, key))


def mutants(document: Any) -> Iterator[Any]:
    """Yield copies of a document that differ at one place: another value, no value, or another name of a key.

    They share their other parts with the document: change none of them.
    """
    for place in places(document):
        for value in VALUES:
            yield _changed(document, place, value)
        yield _without(document, place)
        if isinstance(place[-1], str):
            for name in NAMES:
                yield _renamed(document, place, name)


def _changed(document: Any, place: Place, value: Any) -> Any:
    changed, parent = _copied(document, place)
    parent[place[-1]] = value
    return changed


def _without(document: Any, place: Place) -> Any:
    changed, parent = _copied(document, place)
    del parent[place[-1]]
    return changed


def _renamed(document: Any, place: Place, name: str) -> Any:
    changed, parent = _copied(document, place)
    parent[name] = parent.pop(place[-1])
    return changed


def _copied(document: Any, place: Place) -> tuple[Any, Any]:
    """Return a copy of the document, and in it what holds the place; what lies beside the way there is shared."""
    changed = parent = copy.copy(document)
    for key in place[:-1]:
        parent[key] = copy.copy(parent[key])
        parent = parent[key]
    return changed, parent
