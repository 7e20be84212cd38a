"""Reads times in seconds out of a text: "1:05", "1h2m", "1.5 min", "2 minutes 5 seconds", "90 ms", or a bare number.

Amounts have the forms of numerals.py, so that "1,234 s" is 1234 seconds and "1½ min" is 90.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.words import UNSPACED
from marathon_eval.scoring.metrics.numerals import (
    is_scaled,
    is_unread,
    number_of,
    plain_digits,
    with_fractions,
)
from marathon_eval.scoring.metrics.stated import stated_parts

_UNITS = {
    0.001: "ms msec millisecond milliseconds millisekunden 毫秒 ミリ秒",
    1.0: "s sec secs second seconds sekunde sekunden seconde secondes segundo segundos secondo secondi 秒 秒钟 秒鐘 초",
    60.0: "m min mins minute minutes minuten minuto minutos minuti 分 分钟 分鐘 분",
    3600.0: "h hr hrs hour hours stunde stunden heure heures hora horas ora ore 小时 个小时 小時 個小時 時間 时 시간",
}
_SECONDS = {name: seconds for seconds, names in _UNITS.items() for name in names.split()}
_UNIT = "|".join(sorted(_SECONDS, key=len, reverse=True))
_GROUPED = r"\d{1,3}(?:[ \u00a0\u2009\u202f]\d{3})+(?!\d)(?:[.,]\d+)?"
_AMOUNT = rf"(?P<number>{_GROUPED}|\d+(?:[.,]\d+)*)\s*(?P<unit>{_UNIT})(?:(?![a-z])|(?=\d))"
#: Where no letter of a script with spaces follows; times run into the words of other scripts.
_ENDS = rf"(?![^\W{UNSPACED}])"
_TO = "-|–|—|~|to|until|till|bis|à|到|至|から"
_TIME = lazy_pattern(
    rf"(?:(?P<clock>\d+(?::\d+){{1,2}}(?:\.\d+|,\d{{3}}(?![\d:]))?){_ENDS}"
    r"|(?P<prime>\d+)\s*['′](?:\s*(?P<primes>\d+(?:\.\d+)?)\s*(?:\"|″|''))?"
    rf"|{_AMOUNT}|(?P<bare>\d+(?:\.\d+)?)(?:(?!\w)|(?=[到至和与及]|から)))",
    re.IGNORECASE,
)
_WITHIN = lazy_pattern(r"\s*,?\s*(?:(?:and|und|et|y|e)\s+)?", re.IGNORECASE)
_RANGE = lazy_pattern(rf"\s*(?:{_TO}|and|und|a|et|y|和|与|及)\s*", re.IGNORECASE)
_WIDE_COLON = lazy_pattern(r"(?<=\d)：(?=\d)")
#: Bare numbers with thousands in a range; elsewhere the comma of a bare "100,200" is that of a list.
_THOUSANDS = r"[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?"
_GROUPED_RANGE = lazy_pattern(
    rf"(?<![\w.,:])(?:(?:{_THOUSANDS}|\d+(?:\.\d+)?)\s*(?:{_TO})\s*{_THOUSANDS}|{_THOUSANDS}(?=\s*(?:{_TO})\s*\d)"
    rf"|(?<=between ){_THOUSANDS}\s+and\s+{_THOUSANDS})(?![\d:])",
    re.IGNORECASE,
)
#: A larger unit whose number is spelled, before a time: the "two minutes" of "two minutes 5 seconds".
_SPELLED = lazy_pattern(
    r"\b(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|\w+teen|\w+ty|half)[\s-]+(?:minutes?|hours?),?\s+(?:and\s+)?\Z",
    re.IGNORECASE,
)
#: Signs before a time that `_SPELLED` is searched in.
_NEAR = 30


class _Found(NamedTuple):
    """Holds a time of a text, its place, and the seconds of its unit; None for a bare number.

    Amounts have the forms of numerals.py, so that "1,234 s" is 1234 seconds and "1½ min" is 90.
    """

    value: float
    start: int
    end: int
    unit: float | None


def times_in(text: str) -> list[float] | None:
    """Return the times of a text in seconds, in order; None if one of them is none, such as "1:75".

    A bare number is in seconds, except before a range's end with a unit: "1 to 2 min" is 60 and 120.
    """
    text = with_fractions(plain_digits(text))
    if "：" in text:
        text = _WIDE_COLON.sub(":", text)
    if "," in text:
        text = _GROUPED_RANGE.sub(lambda found: found[0].replace(",", ""), text)
    for part in stated_parts(text):
        if found := [*_found(part)]:
            near = (part[max(0, time.start - _NEAR) : time.start] for time in found)
            spelled = any(text.rstrip(", ")[-1:].isalpha() and _SPELLED.search(text) for text in near)
            return None if spelled or is_unread(part) else _in_seconds(part, found)
    return []


def _in_seconds(text: str, found: list[_Found]) -> list[float] | None:
    values: list[float] = []
    for place, time in enumerate(found):
        value = time.value
        after = found[place + 1] if place + 1 < len(found) else None
        if time.unit is None and after and after.unit and _RANGE.fullmatch(text[time.end : after.start]):
            value *= after.unit
        values.append(value)
    return None if any(value < 0 for value in values) else values


def _found(text: str) -> Iterator[_Found]:
    """Yield the times of a text; an amount of a smaller unit that follows at once belongs to the one before it."""
    waiting: _Found | None = None
    end = 0
    for match in _TIME.finditer(text):
        # digits inside a word, such as "MP3", are no time, but those after "1h" in "1h2m" are
        before = text[match.start() - 1 : match.start()]
        inside_word = (before in ("_", ".") or before.isascii() and before.isalpha()) and match.start() != end
        end = match.end()
        if inside_word:
            continue
        value, unit = _read(match)
        if unit is None and is_scaled(text, end):
            value = -1.0
        time = _Found(value, match.start(), match.end(), unit)
        if (
            waiting
            and unit
            and (waiting.unit or 0) > unit
            and _WITHIN.fullmatch(text[waiting.end : time.start])
        ):
            waiting = _Found(waiting.value + value, waiting.start, time.end, unit)
            continue
        if waiting:
            yield waiting
        waiting = time
    if waiting:
        yield waiting


def _read(match: re.Match[str]) -> tuple[float, float | None]:
    """Return a time in seconds, below 0 for an impossible one, and its unit; None for the unit of a bare number."""
    if match["clock"]:
        return _clock(match["clock"]), 1.0
    if match["prime"]:
        return int(match["prime"]) * 60 + float(match["primes"] or 0), 1.0
    if match["bare"]:
        return float(match["bare"]), None
    unit = _SECONDS[match["unit"].lower()]
    number = number_of(match["number"])
    return -1.0 if number is None else float(number) * unit, unit


def _clock(text: str) -> float:
    *higher, seconds = text.replace(",", ".").split(":")
    inner = [float(part) for part in (*higher[1:], seconds)]
    if any(part >= 60 for part in inner):
        return -1.0
    total = 0.0
    for part in (*higher, seconds):
        total = total * 60 + float(part)
    return total
