"""Tests that `choice` takes no part of a longer number, note or grade for an option."""

from __future__ import annotations

import pytest

from marathon_eval.scoring.filters.choice import find

COUNTS = ("two", "three", "four", "five")
PITCHES = ("C", "C#", "D", "D#")
KEYS = ("C major", "C# major", "Db major", "F major")
LEVELS = ("-3 dB", "3 dB", "+6 dB", "6 dB")


def letter(text: str, options: tuple[str, ...]) -> str | None:
    place, _ = find(text, options, len(options))
    return None if place is None else "ABCDEFGH"[place]


@pytest.mark.parametrize(
    ("options", "text", "named"),
    [
        (COUNTS, "There were twenty-two speakers.", None),
        (COUNTS, "thirty five", None),
        (COUNTS, "two hundred", None),
        (COUNTS, "one hundred and four", None),
        (COUNTS, "I heard three thousand of them", None),
        (COUNTS, "two dozen", None),
        (COUNTS, "two and a half", None),
        (COUNTS, "two point five", None),
        (COUNTS, "half of four", None),
        (COUNTS, "three quarters of it", None),
        (COUNTS, "two and only two", "A"),
        (COUNTS, "four and an echo", "C"),
        (COUNTS, "three, a hundred percent sure", "B"),
        (("2", "3", "4"), "3 thousand of them", None),
        (("2", "3", "4"), "3 000", None),
        (("2", "3", "4"), "about 4k", None),
        (("2", "3", "4"), "3 of them", "B"),
        (("two speakers", "three speakers"), "There are thirty-two speakers", None),
        (("twenty-two", "two", "hundred"), "I hear twenty-two of them", "A"),
        (("twenty-two", "two", "hundred"), "I hear two hundred", None),
        (("twenty", "thirty", "forty"), "It is thirty four", None),
        (("dos", "tres", "cinco"), "Hay treinta y cinco personas", None),
        (("dos", "tres", "cinco"), "Hay cinco personas", "C"),
        (("deux", "trois", "quatre"), "quatre-vingt-deux", None),
        (PITCHES, "The key is C sharp.", "B"),
        (PITCHES, "The note is D sharp", "D"),
        (PITCHES, "The note is D.", "C"),
        (KEYS, "C#", None),
        (KEYS, "**C#**", None),
        (KEYS, "C# major", "B"),
        (KEYS, "# C", "C"),
        (("A+", "A", "A-", "B"), "A-", "C"),
        (("dog", "cat"), "A -", "A"),
        (LEVELS, "- 3 dB", None),
        (LEVELS, "The level is \u2013 3 dB", None),
        (LEVELS, "-3 dB", "A"),
        (LEVELS, "B - 3 dB", "B"),
        (("3 dB", "6 dB"), "- 3 dB", "A"),
    ],
)
def test_a_part_of_a_name_is_no_option(options: tuple[str, ...], text: str, named: str | None) -> None:
    assert letter(text, options) == named
