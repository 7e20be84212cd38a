"""Generates texts that a task's filters should parse to a given answer: what a model would have to write.

For a regular expression, its literal parts are written out, repeats as few times as allowed, and the answer in each
group: `Answer: ([A-D])` and "C" give "Answer: C". The caller must try whether the filter then extracts "C".
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence

# the standard library's parser of regular expressions; its name is private, but there is no public one
from re import _constants as codes  # type: ignore[attr-defined]  # not in the stubs
from re import _parser as parser  # type: ignore[attr-defined]  # not in the stubs
from typing import Any, NamedTuple

#: Limit of texts generated from one pattern.
MAX_SPELLINGS = 128
#: The default pattern of lm-eval's `regex` filter.
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
    """Holds texts to try; `complete` is False if a pattern has an unsupported part, such as a back-reference."""

    texts: list[str]
    complete: bool


class _Unwritable(Exception):
    """Signals, inside this module, an unsupported part of a pattern; makes `complete` False."""


def spellings(steps: Sequence[Mapping[str, Any]], answers: Sequence[str]) -> Spelled:
    """Return texts that a reading's filters (`function` and its options) might turn into one of `answers`."""
    texts, complete = list(dict.fromkeys(answers)), True
    for step in reversed(steps):
        before: list[str] = []
        for answer in texts:
            try:
                before += _before(step, answer)
            except _Unwritable:
                complete = False
        # most filters do not change a text that consists of the answer alone
        texts = list(dict.fromkeys([*before, *texts]))[: 4 * MAX_SPELLINGS]
    return Spelled(texts, complete)


def _before(step: Mapping[str, Any], answer: str) -> Iterator[str]:
    """Yield inputs from which one filter may extract this answer."""
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
    """Write out the pattern with the answer in each of its groups, or as the whole match if it has no groups."""
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
    """Return the ways to write out a part of a pattern, up to the limit."""
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
        # a word or line boundary may need a space or a new line
        return ["", " ", "\n"]
    if code is codes.IN:
        return [_one_of(value)]
    if code is codes.SUBPATTERN:
        return [answer] if value[0] == group else _sequence(value[3], group, answer)
    if code is codes.BRANCH:
        return _few([text for branch in value[1] for text in _sequence(branch, group, answer)])
    if code in (codes.MAX_REPEAT, codes.MIN_REPEAT, codes.POSSESSIVE_REPEAT):
        least, _, part = value
        count = max(least, int(_has_group(part, group)))
        if count > MAX_SPELLINGS:
            raise _Unwritable("too long a repeat")
        return [text * count for text in _sequence(part, group, answer)]
    if code is codes.ASSERT:  # the text of a look-around is written at its place; for a look-ahead, also
        # nothing, because the pattern itself may match what follows
        ahead = _sequence(value[1], group, answer)
        return ["", *ahead] if value[0] > 0 else ahead
    if code is codes.ATOMIC_GROUP:
        return _sequence(value, group, answer)
    raise _Unwritable(str(code))


def _has_group(tree: Any, group: int) -> bool:
    """Return whether a part contains the group, so that it must be written at least once."""
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
        if any(_has_group(part, group) for part in parts):
            return True
    return False


def _one_of(members: Sequence[tuple[Any, Any]]) -> str:
    """Return one character of a character class."""
    if members[0][0] is codes.NEGATE:
        excluded = re.compile("[" + "".join(_class(code, value) for code, value in members[1:]) + "]")
        character = next((sign for sign in "x7 .-\nA" if not excluded.match(sign)), None)
        if character is None:
            raise _Unwritable("a class of rare characters")
        return character
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
