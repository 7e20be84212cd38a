"""Splits texts into the words by which options and answers are compared.

Case, punctuation and spacing do not count. Signs that change a meaning belong to the word they stand at: "-5", "<10",
"1.5", "3/4", "71+", "50%", "25°", and the accidentals of notes ("C#", "B flat").
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from marathon_eval.api.lazy_pattern import lazy_pattern

#: Stands for a punctuation mark that ends a clause.
BREAK = "\n"
#: Combining marks, which Python's \w does not match: Latin, Cyrillic, Hebrew, Arabic, the Indic scripts, Thai, Lao.
MARKS_OF_LETTERS = (
    "\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u06d6-\u06dc"
    "\u06df-\u06e4\u06e7\u06e8\u06ea-\u06ed\u0900-\u0963\u0970-\u0dff\u0e31\u0e34-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb4-\u0ebc"
    "\u0ec8-\u0ecd\u102b-\u103e\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff"
)
_WORD = rf"(?:[^\W_]|[+%°\u266f\u266d{MARKS_OF_LETTERS}])+"
_NUMBER = rf"[<>\u2264\u2265]?(?:(?<![^\W_])(?<![)%+°])-)?\d+(?:[./:]\d+)*(?:{_WORD})?"
_BREAKS = "[.,;:!?\n\u2013\u2014\u3001\u3002\u0964\u061f\u060c\u061b]"
_TOKEN = lazy_pattern(rf"{_NUMBER}|{_WORD}|(?P<mark>{_BREAKS})")
_ASCII_TOKEN = lazy_pattern(r"[a-z0-9+%]+|(?P<mark>[.,;:!?\n])")
_APOSTROPHES = str.maketrans("", "", "'\u2019\ufe0f\u200d")
#: The point of "3.5" or "U.S." ends no sentence.
_SENTENCE_END = lazy_pattern(r"[!?\n]|[.](?!\w)")
#: Letters of scripts whose words run together, or carry endings (Hangul).
UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af"
_SCRIPT_CHANGE = lazy_pattern(rf"(?<=[{UNSPACED}])(?=[a-z0-9])|(?<=[a-z0-9])(?=[{UNSPACED}])")
_DIGIT = lazy_pattern(r"\d")
_MINUS = lazy_pattern(r"(?:\b(?:minus|negative)\s+|(?<![^\W_])(?<![)%+°])[\u2212\u2013](?=\d))-?(?=\d)")
_PLUS = lazy_pattern(r"(?:\b(?:plus|positive)\s+|(?<![^\s(\[:=\"]) *\+)(?=\d)")
_THOUSANDS = lazy_pattern(r"(?<=\d),(?=\d{3}(?!\d))")
_DECIMAL_COMMA = lazy_pattern(r"(?<=\d),(?=\d)")
_LEADING_POINT = lazy_pattern(r"(?<![\w.])\.(?=\d)")
_DOTTED_FRACTION = lazy_pattern(r"(?<=\d)[\u2044\u2215](?=\d)")
_UNIT = lazy_pattern(r"(?<=\d)(?=(?:db|hz|khz|bpm|sec|secs|s|ms|min|mins|kg|km|cm|mm|m|k)\b)")
_PERCENT = lazy_pattern(r"(?<=\d)\s*(?:%|percent\b|per cent\b)")
_RANGE = lazy_pattern(r"(?<=\d)\s+to\s+(?=\d)")
_COMPARATORS = (
    (
        lazy_pattern(
            r"\b(?:no more than|not more than|at most|up to|maximum of)\s+(?=-?\d)|<\s*=\s*(?=-?\d)|\u2264\s+(?=-?\d)"
        ),
        "\u2264",
    ),
    (
        lazy_pattern(
            r"\b(?:no less than|no fewer than|not less than|at least|minimum of)\s+(?=-?\d)|>\s*=\s*(?=-?\d)|\u2265\s+(?=-?\d)"
        ),
        "\u2265",
    ),
    (
        lazy_pattern(
            r"\b(?:less than|fewer than|lower than|smaller than|under|below)\s+(?=-?\d)|<\s+(?=-?\d)"
        ),
        "<",
    ),
    (
        lazy_pattern(
            r"\b(?:more than|greater than|higher than|larger than|over|above)\s+(?=-?\d)|>\s+(?=-?\d)"
        ),
        ">",
    ),
)
# A flat or sharp note; other words may follow "a flat" ("a flat tyre"), so the end or a word of music must.
_NOTE_END = r"(?=\s*(?:\Z|[^\w\s]|\b(?:major|minor|maj|min|dur|moll|key|note|chord|scale|string|string)\b))"
_ACCIDENTAL = lazy_pattern(
    rf"(?<![^\W_])([a-g])(?:\s?([#\u266f])(?!\w)|[\s-](sharp)\b{_NOTE_END}|\s?(\u266d)|[\s-](flat)\b{_NOTE_END})"
)
_SHORT_FLAT = lazy_pattern(
    r"(?<![^\W_])([A-Ga-g])(?:(?<=[A-G])b(?![^\W_])|[bB](?=\s+(?i:major|minor|maj|min)\b))"
)
_GRADE = lazy_pattern(r"(?<![^\W_])([a-f])[-\u2212](?=\Z|[.,;:!?)\]\"]|\s)")
_HAS_NOTE = lazy_pattern(r"[#\u266f\u266d]|[Ff]lat|FLAT|[Ss]harp|SHARP|\b[A-Ga-g][bB]\b")


@lru_cache(maxsize=1 << 14)
def plain_text(text: str) -> str:
    """Fold case and replace punctuation by spaces; accents stay, and signs that change a meaning belong to words."""
    return " ".join(word for word in words_and_breaks(text) if word != BREAK)


def words_and_breaks(text: str) -> list[str]:
    """Return the words of a text in order; each mark that ends a clause becomes `BREAK`."""
    if _HAS_NOTE.search(text):
        text = _ACCIDENTAL.sub(_note, _SHORT_FLAT.sub("\\1\u266d", text).lower())
    if text.isascii():
        folded, pattern = text.lower().replace("'", ""), _ASCII_TOKEN
    else:
        folded, pattern = unicodedata.normalize("NFKC", text).casefold().translate(_APOSTROPHES), _TOKEN
        folded = _SCRIPT_CHANGE.sub(" ", folded)
    if _DIGIT.search(folded):
        folded, pattern = _numbers(folded), _TOKEN
    return [BREAK if match["mark"] else match[0] for match in pattern.finditer(folded)]


def _note(match: re.Match[str]) -> str:
    return match[1] + ("\u266f" if match[2] or match[3] else "\u266d")


def _numbers(text: str) -> str:
    """Write numbers in one form: "minus 5" is -5, "1,500" is 1500, "1,5" is 1.5, "more than 10" is >10, "5dB" 5 dB."""
    text = _LEADING_POINT.sub("0.", text)
    text = _RANGE.sub(" ", _PERCENT.sub("%", text))
    text = _PLUS.sub(" ", _MINUS.sub("-", _DOTTED_FRACTION.sub("/", text)))
    text = _UNIT.sub(" ", _DECIMAL_COMMA.sub(".", _THOUSANDS.sub("", text)))
    for pattern, sign in _COMPARATORS:
        text = pattern.sub(sign, text)
    return text


def written(text: str, fold: bool = True) -> str:
    """Return a text with all its signs, in one form of characters and spaces; `fold` folds case."""
    form = " ".join(unicodedata.normalize("NFKC", text).replace("\ufe0f", "").split())
    return form.casefold() if fold else form


def without_questions(text: str) -> str:
    """Return a text with a space in place of every sentence that ends with a question mark; takes linear time."""
    kept, start = [], 0
    for end in _SENTENCE_END.finditer(text):
        kept.append(" " if end[0] == "?" else text[start : end.end()])
        start = end.end()
    return "".join([*kept, text[start:]])
