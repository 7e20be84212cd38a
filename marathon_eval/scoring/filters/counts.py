"""Spells the counts from 0 to 99 that options begin with in the other way: "3" as "three", "three beeps" as "3 beeps"."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.words import BREAK, plain_text

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

_TENS_OF_OTHERS = (
    "vingt trente quarante cinquante soixante treinta cuarenta cincuenta sesenta setenta ochenta noventa vinte trinta quarenta "
    "cinquenta sessenta oitenta двадцать тридцать сорок пятьдесят шестьдесят семьдесят восемьдесят девяносто"
)
_SCALES = (
    "hundred thousand million billion trillion dozen hundreds thousands millions billions cent cents mille cien ciento cento mil "
    "millones milhões mila milioni hundert tausend millionen сто тысяч тысячи миллион миллиона миллионов"
)
_SCALE = frozenset(_SCALES.split())
_LARGE = frozenset([*_TENS, *_TENS_OF_OTHERS.split()]) | _SCALE
_SMALL_OF_OTHERS = (
    "un une deux trois quatre cinq sept huit neuf dix uno una dos tres cuatro cinco seis siete ocho nueve diez um uma dois duas três "
    "quatro sete oito nove dez due tre quattro cinque sei sette otto dieci zwei drei vier fünf sechs sieben acht neun zehn "
    "один два две три четыре пять шесть семь восемь девять десять"
)
_COUNTS = frozenset([*SMALL_NUMBERS, *_TENS, *_SMALL_OF_OTHERS.split()])
_ALSO = frozenset(["and", "et", "y", "e", "und"])
#: What makes another number of the one before it: "two and a half", "three quarters", "two point five".
_PART_FOLLOWS = lazy_pattern(
    r"(?:(?:and|et|y|e|und) )?(?:(?:an?|one|ein|une?|un) )?(?:half|quarter|third|demie?|medi[ao]|mezz[ao]|mei[ao]|halb)\b"
    r"|(?:and )?three quarters\b|(?:halves|thirds|quarters|fifths|sixths|eighths|tenths|hundredths)\b|point \w"
)


def is_inside_number(words: Sequence[str], first: int, last: int) -> bool:
    """Return whether the words from `first` to `last` are only a part of a number in words: "two" of "twenty-two".

    `words` is what `words_and_breaks` returns. Numbers are "one hundred and four", "three thousand" and "two and a half" too.
    """
    return _begins_before(words, first) or _ends_after(words, last)


def _is_count(word: str) -> bool:
    return word in _COUNTS or word in _LARGE or word.isdigit()


def _begins_before(words: Sequence[str], first: int) -> bool:
    before = words[max(0, first - 2) : first][::-1]
    if not before or before[0] == BREAK:
        return False
    if before == ["of", "half"] or before[0] == "point" and _is_count(before[-1]):
        return _is_count(words[first])
    if words[first] in _SCALE:  # "a hundred" and "one hundred" are the option "hundred"
        return _is_count(before[0]) and before[0] not in ("one", "1")
    linked = before[1:] if before[0] in _ALSO else before[:1]
    return bool(linked) and linked[0] in _LARGE


def _ends_after(words: Sequence[str], last: int) -> bool:
    after = list(words[last + 1 : last + 5])
    after = after[: after.index(BREAK)] if BREAK in after else after
    if not after or not _is_count(words[last]):
        return False
    if words[last].isdigit() and (after[0] == "k" or len(after[0]) == 3 and after[0].isdigit()):
        return True  # "5k", "3 000"
    if after[0] in _SCALE or after[0] in ("vingt", "vingts") or _PART_FOLLOWS.match(" ".join(after)):
        return True
    linked = after[1:2] if after[0] in _ALSO else after[:1]
    return words[last] in _LARGE and bool(linked) and _is_count(linked[0])


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
