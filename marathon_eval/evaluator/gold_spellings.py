"""A text that a filter would read as a given answer: what a model would have to write.

A pattern's own words are written out, its repeats as seldom as it allows, and the answer in each place that it captures:
`Answer: ([A-D])` and "C" give "Answer: C". Whether the filter then reads "C" is for the caller to try.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# the standard library's own parser of patterns: private by its name, and the only one there is
from re import _constants as codes  # type: ignore[attr-defined]  # not in the stubs
from re import _parser as parser  # type: ignore[attr-defined]  # not in the stubs
from typing import Any, NamedTuple

#: More ways to write one answer than this are not tried.
MAX_SPELLINGS = 128
#: lm-eval's own.
DEFAULT_PATTERN = r"#### (\-?[0-9\.\,]+)"
_KINDS = {
    codes.CATEGORY_DIGIT: "7",
    codes.CATEGORY_NOT_DIGIT: "x",
    codes.CATEGORY_SPACE: " ",
    codes.CATEGORY_NOT_SPACE: "x",
    codes.CATEGORY_WORD: "x",
    codes.CATEGORY_NOT_WORD: " ",
}


class Spelled(NamedTuple):
    """Texts to try; `complete` False: a pattern says something that is not written out here, such as a reference back."""

    texts: list[str]
    complete: bool


class _Unwritable(Exception):
    """Inside this file only: makes `complete` False."""


def spellings(steps: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Spelled:
    """Texts that the filters of a reading (`function` and its options, in order) might turn into one of `answers`."""
    texts, complete = list(dict.fromkeys(answers)), True
    for step in reversed(steps):
        before: list[str] = []
        for answer in texts:
            try:
                before += _before(step, answer)
            except _Unwritable:
                complete = False
        # most filters leave a text as it is where it is nothing but the answer
        texts = list(dict.fromkeys([*before, *texts]))[: 4 * MAX_SPELLINGS]
    return Spelled(texts, complete)


def _before(step: Mapping[str, Any], answer: str) -> Iterator[str]:
    """What one filter may have read to give this answer."""
    function = step.get("function")
    if step.get("group_select", -1) not in (0, -1):
        raise _Unwritable("a match of several")
    if function in ("regex", "multi_choice_regex"):
        yield from _written(str(step.get("regex_pattern", DEFAULT_PATTERN)), answer)
    elif function == "map":
        yield from (
            str(text) for text, value in (step.get("mapping_dict") or {}).items() if str(value) == answer
        )
    elif function == "regex_pos":
        yield "[" + ", ".join(f"('x', '{tag}')" for tag in answer.split()) + "]"


def _written(pattern: str, answer: str) -> Iterator[str]:
    """The pattern with the answer in each of its groups, or as its whole match where it has none."""
    tree = parser.parse(pattern)
    if tree.state.groups > 1:
        for number in range(1, tree.state.groups):
            yield from _sequence(tree, number, answer)
        return
    around = [
        _sequence([part], 0, answer) if part[0] is codes.ASSERT else [""] for part in (*tree[:1], *tree[-1:])
    ]
    yield from (f"{before}{answer}{behind}" for before in around[0] for behind in around[-1] if len(tree))


def _sequence(tree: Any, group: int, answer: str) -> list[str]:
    """Every way to write a part, each further one as often as the limit allows."""
    texts = [""]
    for code, value in tree:
        pieces = _pieces(code, value, group, answer)
        texts = _few([text + piece for text in texts for piece in pieces])
    return texts


def _few(texts: list[str]) -> list[str]:
    if len(texts) > MAX_SPELLINGS:
        raise _Unwritable("more ways to write it than are tried")
    return texts


def _pieces(code: Any, value: Any, group: int, answer: str) -> list[str]:
    if code is codes.LITERAL:
        return [chr(value)]
    if code is codes.NOT_LITERAL:
        return ["x" if chr(value) != "x" else "y"]
    if code is codes.ANY:
        return ["x"]
    if code is codes.AT:
        # a place between words or lines needs perhaps a space or a new line to be one
        return ["", " ", "\n"]
    if code is codes.IN:
        return [_one_of(value)]
    if code is codes.SUBPATTERN:
        return [answer] if value[0] == group else _sequence(value[3], group, answer)
    if code is codes.BRANCH:
        return _few([text for branch in value[1] for text in _sequence(branch, group, answer)])
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least, _, part = value
        wanted = max(least, int(_holds(part, group)))
        if wanted > MAX_SPELLINGS:
            raise _Unwritable("too long a repeat")
        return [text * wanted for text in _sequence(part, group, answer)]
    if code is codes.ASSERT:  # what must stand before or behind is written where it is asked for
        # (and where what follows is matched by the pattern itself, nothing is added)
        ahead = _sequence(value[1], group, answer)
        return ["", *ahead] if value[0] > 0 else ahead
    if code is codes.ATOMIC_GROUP:
        return _sequence(value, group, answer)
    raise _Unwritable(str(code))


def _holds(tree: Any, group: int) -> bool:
    """Whether a part has the group inside, so that it must be written at least once."""
    for code, value in tree:
        parts = [value] if code is codes.ATOMIC_GROUP else []
        if code is codes.SUBPATTERN:
            if value[0] == group:
                return True
            parts = [value[3]]
        elif code is codes.BRANCH:
            parts = value[1]
        elif code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
            parts = [value[2]]
        elif code is codes.ASSERT:
            parts = [value[1]]
        if any(_holds(part, group) for part in parts):
            return True
    return False


def _one_of(members: Sequence[tuple[Any, Any]]) -> str:
    """One character of a class."""
    if members[0][0] is codes.NEGATE:
        refused = re.compile("[" + "".join(_class(code, value) for code, value in members[1:]) + "]")
        known = next((sign for sign in "x7 .-\nA" if not refused.match(sign)), None)
        if known is None:
            raise _Unwritable("a class of rare characters")
        return known
    code, value = members[0]
    if code is codes.RANGE:
        return chr(value[0])
    return chr(value) if code is codes.LITERAL else _KINDS[value]


def _class(code: Any, value: Any) -> str:
    if code is codes.RANGE:
        return f"{re.escape(chr(value[0]))}-{re.escape(chr(value[1]))}"
    if code is codes.LITERAL:
        return re.escape(chr(value))
    names = {"DIGIT": "d", "NOT_DIGIT": "D", "SPACE": "s", "NOT_SPACE": "S", "WORD": "w", "NOT_WORD": "W"}
    return "\\" + names[str(value).removeprefix("CATEGORY_")]
