"""Spells the counts from 0 to 99 that options begin with in the other way: "3" as "three", "three beeps" as "3 beeps"."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.words import plain_text

#: The words of 0 to 19, in order.
SMALL_NUMBERS = [
    "zero",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
]
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = [
    *SMALL_NUMBERS,
    *(f"{tens} {one}".removesuffix(" zero") for tens in _TENS for one in SMALL_NUMBERS[:10]),
]
_IN_WORDS = {str(number): words for number, words in enumerate(_WORDS)}
_IN_DIGITS = {words: str(number) for number, words in enumerate(_WORDS)}
_IN_TEXT = lazy_pattern(
    rf"\b(?:(?:{'|'.join(_TENS)})(?:[- ](?:{'|'.join(SMALL_NUMBERS[1:10])}))?|{'|'.join(sorted(SMALL_NUMBERS, key=len, reverse=True))})\b",
    re.IGNORECASE,
)


def counts_in_digits(text: str) -> str:
    """Return a text without digits with its counts as digits. "one" stays, which is a pronoun too, if it is not all."""
    if any(sign.isdigit() for sign in text):
        return text
    alone = text.strip(" .!*").lower() == "one"
    return _IN_TEXT.sub(lambda match: _digits(match[0], alone), text)


def _digits(words: str, alone: bool) -> str:
    name = words.lower().replace("-", " ")
    return words if name == "one" and not alone else _IN_DIGITS[name]


def respelled_counts(choices: Sequence[str], taken: Collection[str], first: Sequence[int]) -> dict[str, int]:
    """Return the places of options by their respelled names, in the form of `plain_text`.

    `first` has the place of the first equal option. A name that two options would share, or one of `taken`, is left out.
    """
    places: dict[str, set[int]] = {}
    for place, choice in enumerate(choices):
        if (name := _respelled(choice.strip().lower())) is not None:
            places.setdefault(plain_text(name), set()).add(first[place])
    return {name: min(found) for name, found in places.items() if len(found) == 1 and name not in taken}


def _respelled(name: str) -> str | None:
    words = name.replace("-", " ").split()
    for count in (2, 1):
        begin = " ".join(words[:count])
        other = _IN_DIGITS.get(begin) or _IN_WORDS.get(begin)
        # "-3" and "3-4" are no counts
        if (
            other is not None
            and name[: len(begin)].replace("-", " ") == begin
            and not _goes_on(name[len(begin) :])
        ):
            return other + name[len(begin) :]
    return None


def _goes_on(rest: str) -> bool:
    return rest[:1] not in ("", " ", ".", ",")
