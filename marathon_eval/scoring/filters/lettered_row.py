"""Works out which option each letter of a row stands for.

Usually that is the option at the letter's place in the alphabet. Options may also carry letters or numbers of their
own ("A. Dog", "2) Cat"), or be single letters themselves ("C", "C#"), so that a letter may mean two things.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.option_text import option_texts
from marathon_eval.scoring.filters.words import plain_text

_CARRIED = lazy_pattern(
    r"\s*(?:[(\[](?P<inside>[A-Za-z]|\d{1,2})[)\]]\s*|(?P<plain>[A-Za-z]|\d{1,2})(?:[.):]|\s-)\s+)(?P<text>\S.*)",
    re.DOTALL,
)
#: Words in which a lone letter is a name of what was heard: "the note is D", "grade C".
_NAMING = r"\b(?:note|key|chord|pitch|tone|grade|class|type|string|scale|vitamin|root|tonic)s?"
_NAMED = lazy_pattern(
    rf"{_NAMING}(?:\s+(?:is|was|of|sounds like|must be|should be|would be|seems to be))?\s*:?\s*(?:an?\s+)?[\"'(*]*([A-Za-z])(?![\w#\u266f\u266d+'-]|\s(?:[#\u266f\u266d]|(?:sharp|flat)\b))",
    re.IGNORECASE,
)
#: What a lower-case ASCII text has if one of its words may be a letter, or a letter with an accidental, however notes are
#: written. Of a number the unit at it may become a word: "5s" is "5 s".
_MAY_NAME_A_LETTER = lazy_pattern(r"(?<![a-z0-9])(?:[a-z]|[a-g]b)(?![a-z0-9])|flat|sharp|[0-9][a-z]|#")
_LETTER_SPAN = {
    "\u266f": r"(?:\s?[#\u266f]|[\s-]sharp)",
    "\u266d": r"(?:\s?\u266d|b|[\s-]flat)",
}


class LetteredRow(NamedTuple):
    """Holds a row's options in the order of their letters.

    `texts` are without carried letters; `places` leads back to the row's own order, with None where a letter has no
    option; `letters` counts them. `unclear` holds places whose letter also is another option, or another option's
    carried letter. `carried` maps carried numbers and whole options, with what they carry, to places in `texts`. `spans` matches option texts that hold a lone letter.
    """

    texts: tuple[str, ...]
    places: tuple[int | None, ...]
    letters: int
    unclear: frozenset[int]
    carried: dict[str, int]
    spans: re.Pattern[str] | None


@lru_cache(maxsize=256)
def lettered_row(choices: tuple[str, ...], letters: int) -> LetteredRow:
    """Return the row of these options, `letters` of which were shown with a letter (0: none)."""
    carried = _carried(choices)
    if carried is None:
        return _own_letters(choices, letters)
    marks, texts = carried
    names = {plain_text(choice): place for place, choice in enumerate(choices)}
    if marks[0].isdigit():
        row = _own_letters(texts, letters)
        return row._replace(carried=names | {mark: place for place, mark in enumerate(marks)})
    order = [ord(mark.upper()) - ord("A") for mark in marks]
    if letters:
        row = _own_letters(texts, letters)
        moved = {place for place, own in enumerate(order) if place != own}
        return row._replace(
            carried=names, unclear=row.unclear | moved | {own for own in order if own in moved}
        )
    return _by_carried(texts, order)


def _by_carried(texts: tuple[str, ...], order: list[int]) -> LetteredRow:
    count = max(order) + 1
    places: list[int | None] = [None] * count
    for place, own in enumerate(order):
        places[own] = place
    lettered = tuple("" if place is None else texts[place] for place in places)
    return LetteredRow(lettered, tuple(places), count, frozenset(), {}, _spans(lettered))


def _own_letters(texts: tuple[str, ...], letters: int) -> LetteredRow:
    if not _may_name_a_letter(texts):
        # most rows: the names of their options, which cost more than all else, are needed for longer answers alone
        return LetteredRow(texts, tuple(range(len(texts))), letters, frozenset(), {}, None)
    lone = {ord(name.upper()) - ord("A"): place for name, place in option_texts(texts).lone.items()}
    if not letters and len(lone) == len(texts) > 1:
        return _by_carried(texts, sorted(lone, key=lambda letter: lone[letter]))
    unclear = frozenset(letter for letter, place in lone.items() if letters and letter != place)
    return LetteredRow(texts, tuple(range(len(texts))), letters, unclear, {}, _spans(texts))


def _may_name_a_letter(texts: tuple[str, ...]) -> bool:
    """Return whether a word of the texts may be a letter; False only where none is one."""
    joined = "\n".join(texts)
    if not joined.isascii():
        return True
    if "'" in joined:  # without apostrophes "'s" is a letter; with them "x'Bb" has a note
        joined += "\n" + joined.replace("'", "")
    return _MAY_NAME_A_LETTER.search(joined.lower()) is not None


def _carried(choices: tuple[str, ...]) -> tuple[list[str], tuple[str, ...]] | None:
    """Return the letters or numbers that all options carry, and their texts without them; None if some carry none."""
    matches = [_CARRIED.fullmatch(choice) for choice in choices]
    found = [match for match in matches if match]
    marks = [match["inside"] or match["plain"] for match in found]
    same_kind = {mark.isdigit() for mark in marks}
    if (
        len(found) < max(len(choices), 2)
        or len({mark.upper() for mark in marks}) < len(marks)
        or len(same_kind) > 1
    ):
        return None
    return marks, tuple(match["text"].strip() for match in found)


def _spans(texts: tuple[str, ...]) -> re.Pattern[str] | None:
    """Return a pattern for option texts that hold a lone letter, which names no other option inside of them."""
    names = [
        name
        for name in option_texts(texts).whole
        if len(name) > 1 and re.search(r"(?<!\S)[a-z][\u266f\u266d+-]?(?!\S)", name)
    ]
    if not names:
        return None
    spelled = [
        r"[\W_]+".join(_spelled(word) for word in name.split())
        for name in sorted(names, key=len, reverse=True)
    ]
    return re.compile(rf"(?<![^\W_])(?:{'|'.join(spelled)})(?![^\W_])", re.IGNORECASE)


def _spelled(word: str) -> str:
    accidental = _LETTER_SPAN.get(word[-1])
    return re.escape(word[:-1]) + accidental if accidental else re.escape(word)


def lone_named(text: str, row: LetteredRow) -> int | None:
    """Return the place of the one-letter option that a text names as a note, a key or a grade; None if there is none."""
    lone = option_texts(row.texts).lone
    named = {lone[match[1].lower()] for match in _NAMED.finditer(text) if match[1].lower() in lone}
    return named.pop() if len(named) == 1 else None


def carried_named(text: str, row: LetteredRow) -> int | None:
    """Return the place of the option whose carried number, or all of it, is the answer: "2", "the answer is 2"."""
    words = plain_text(text).split()
    while words:
        if (place := row.carried.get(" ".join(words))) is not None:
            return place
        if words[0] not in _LEADS_TO_NUMBER:
            break
        words = words[1:]
    return None


def entry_named(text: str, row: LetteredRow) -> int | None:
    """Return the place of the option that is the whole text with its letter: "A. C" where A is C."""
    match = _CARRIED.fullmatch(text)
    letter = (match["inside"] or match["plain"]) if match else ""
    if match is None or letter.isdigit():
        return None
    place = ord(letter.upper()) - ord("A")
    return place if option_texts(row.texts).whole.get(plain_text(match["text"])) == place else None


_LEADS_TO_NUMBER = frozenset(
    [
        "the",
        "correct",
        "right",
        "best",
        "final",
        "answer",
        "option",
        "choice",
        "number",
        "is",
        "my",
        "it",
        "its",
        "so",
    ]
)
