"""Draws hostile input, and checks that each case ends in success or in an error that a user can read."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from marathon_eval.errors import MarathonError

#: `scripts/fuzz` multiplies the cases and draws new ones; without it every run draws the same.
FACTOR = int(os.environ.get("MARATHON_EVAL_FUZZ", "1"))


def cases(number: int) -> Callable[[Any], Any]:
    """Set the number of cases, each limited to ten seconds."""
    return settings(
        max_examples=number * FACTOR,
        deadline=10_000,
        derandomize=FACTOR == 1,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def survives(action: Callable[[], Any]) -> Any:
    """Return the action's result, or None for a MarathonError with a message. Other errors propagate."""
    try:
        return action()
    except MarathonError as error:
        reason = str(error)
    assert reason.strip()
    return None


def texts(most: int = 20) -> st.SearchStrategy[str]:
    """Draw texts that JSON can hold, including lone surrogates and NUL."""
    return st.text(st.characters(), max_size=most) | st.sampled_from(
        [
            "",
            " ",
            "\0",
            "\ud800",
            "../x",
            "/",
            "nan",
            "1e999",
            "{{ q }}",
            "{% for",
            "A",
            "(A)",
            "\u202e",
            "null",
            "[1, 2]",
        ]
    )


def values() -> st.SearchStrategy[Any]:
    """Draw JSON values of every kind."""
    plain = st.none() | st.booleans() | st.integers() | st.floats() | texts()
    return st.recursive(
        plain,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts(8), inner, max_size=4),
        max_leaves=6,
    )


def mutated(content: bytes, draw: st.DrawFn) -> bytes:
    """Draw content with a few bytes changed, cut out or doubled, or with its end cut off."""
    found = bytearray(content)
    for _ in range(draw(st.integers(1, 6))):
        if not found:
            break
        # headers are where the meaning is
        at = draw(st.integers(0, min(64, len(found) - 1)) | st.integers(0, len(found) - 1))
        kind = draw(st.sampled_from(["byte", "word", "cut", "double", "end"]))
        if kind == "byte":
            found[at] = draw(st.integers(0, 255))
        elif kind == "word":
            word = draw(st.sampled_from([b"\xff\xff\xff\xff", bytes(4), b"\xff\xff\xff\x7f", b"\0\0\0\x80"]))
            found[at : at + 4] = word
        elif kind == "cut":
            del found[at : at + draw(st.integers(1, 16))]
        elif kind == "double":
            found[at:at] = found[at : at + 16]
        else:
            del found[at:]
    return bytes(found)


def quietly_removed(path: Any) -> None:
    with suppress(FileNotFoundError):
        path.unlink()
