"""Reads times in seconds out of a text: "1:05", "1h2m", "1.5 min", "2 minutes 5 seconds", "90 ms", or a bare number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.metrics.stated import stated_parts

_UNITS = {
    0.001: "ms msec millisecond milliseconds millisekunden 毫秒",
    1.0: "s sec secs second seconds sekunde sekunden seconde secondes segundo segundos secondo secondi 秒 秒钟",
    60.0: "m min mins minute minutes minuten minuto minutos minuti 分 分钟",
    3600.0: "h hr hrs hour hours stunde stunden heure heures hora horas ora ore 小时 时",
}
_SECONDS = {name: seconds for seconds, names in _UNITS.items() for name in names.split()}
_UNIT = "|".join(sorted(_SECONDS, key=len, reverse=True))
_AMOUNT = rf"(?P<number>\d+(?:[.,]\d+)?)\s*(?P<unit>{_UNIT})(?:(?![a-z])|(?=\d))"
_TIME = lazy_pattern(
    r"(?:(?P<clock>\d+(?::\d+){1,2}(?:\.\d+)?)(?!\w)"
    r"|(?P<prime>\d+)\s*['′](?:\s*(?P<primes>\d+(?:\.\d+)?)\s*(?:\"|″|''))?"
    rf"|{_AMOUNT}|(?P<bare>\d+(?:\.\d+)?)(?!\w))",
    re.IGNORECASE,
)
_WITHIN = lazy_pattern(r"\s*,?\s*(?:(?:and|und|et|y|e)\s+)?", re.IGNORECASE)
_RANGE = lazy_pattern(r"\s*(?:-|–|—|~|to|until|till|and|bis|und|à|a|et|y)\s*", re.IGNORECASE)


class _Found(NamedTuple):
    """Holds a time of a text, its place, and the seconds of its unit; None for a bare number."""

    value: float
    start: int
    end: int
    unit: float | None


def times_in(text: str) -> list[float] | None:
    """Return the times of a text in seconds, in order; None if one of them is none, such as "1:75".

    A bare number is in seconds, except before a range's end with a unit: "1 to 2 min" is 60 and 120.
    """
    for part in stated_parts(text):
        if found := [*_found(part)]:
            return _in_seconds(part, found)
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
        inside_word = re.match(r"[A-Za-z_.]", text[max(0, match.start() - 1) :]) and match.start() not in (
            0,
            end,
        )
        end = match.end()
        if inside_word:
            continue
        value, unit = _read(match)
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
    return float(match["number"].replace(",", ".")) * unit, unit


def _clock(text: str) -> float:
    *higher, seconds = text.split(":")
    inner = [float(part) for part in (*higher[1:], seconds)]
    if any(part >= 60 for part in inner):
        return -1.0
    total = 0.0
    for part in (*higher, seconds):
        total = total * 60 + float(part)
    return total
