"""Refuses templates whose prompt no rerun repeats, and bounds the processor time of one rendering.

A random choice, and the text of an object that has its memory address in it (`<generator object ... at 0x7f...>`), differ
in every run, so the cache would never have an answer to them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from typing import Any

from jinja2.exceptions import SecurityError

#: Processor seconds of this thread that one rendering may take; ordinary templates take less than a thousandth.
RENDER_LIMIT_S = 5.0
#: Characters that filters may get which take microseconds for each: a single call cannot be broken off.
SLOW_FILTERS: Mapping[str, int] = {
    "wordwrap": 100_000,
    "pprint": 100_000,
    "urlize": 200_000,
    "title": 1_000_000,
}
#: Filters that turn their value into text.
TEXT_FILTERS = frozenset(
    [
        "capitalize",
        "center",
        "e",
        "escape",
        "forceescape",
        "format",
        "indent",
        "lower",
        "pprint",
        "regex_replace",
        "replace",
        "safe",
        "string",
        "striptags",
        "title",
        "trim",
        "truncate",
        "upper",
        "urlencode",
        "urlize",
        "wordcount",
        "wordwrap",
        "xmlattr",
    ]
)
#: Stands for the start of a rendering that has only printed columns so far: reading the clock would cost as much as that.
NOT_STARTED = -1.0
_PLAIN = (str, bytes, int, float, type(None), range)
_ADDRESS = re.compile(r"<[^<>]{1,200} at 0x[0-9a-fA-F]{4,}>")
#: Parts of a value that are looked at; larger values are refused for their size elsewhere.
_MOST_PARTS = 1_000_000


def since(started: float) -> float:
    """Return the processor time at which a rendering started: `started`, or now if that is NOT_STARTED.

    Raises SecurityError if this thread has used over RENDER_LIMIT_S since then.
    """
    now = time.thread_time()
    if started == NOT_STARTED:
        return now
    if now - started > RENDER_LIMIT_S:
        raise SecurityError(f"over {RENDER_LIMIT_S:g} s of processor time for one row")
    return started


def refuse_addresses(values: Iterable[Any]) -> None:
    """Raise SecurityError if the text of a value, or of a part of it, would have a memory address in it."""
    waiting, seen = list(values), 0
    while waiting and seen < _MOST_PARTS:
        value = waiting.pop()
        seen += 1
        if isinstance(value, _PLAIN):
            continue
        if isinstance(value, dict):
            waiting += [*value.keys(), *value.values()]
        elif isinstance(value, (list, tuple)):
            waiting += value
        elif _ADDRESS.search(repr(value)):
            raise _unrepeatable(repr(value))


def refuse_printed_addresses(text: str, values: Mapping[str, Any]) -> None:
    """Raise SecurityError for a memory address in the rendered text that does not stand in the row itself."""
    if " at 0x" not in text:
        return
    row = str(list(values.values()))
    found = next((match[0] for match in _ADDRESS.finditer(text) if match[0] not in row), None)
    if found is not None:
        raise _unrepeatable(found)


def _unrepeatable(text: str) -> SecurityError:
    return SecurityError(
        f"the text of an object with its address, which differs in every run: {text[:80]} (add |list)"
    )
