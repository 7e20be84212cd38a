"""Tests the strict reading with every text of data/strict_choice.jsonl, and that it never guesses.

The file holds rows of options, each followed by the texts that answer it, with the letter (or null) and the rule.
The texts were written for this project.
"""

from __future__ import annotations

import json
import string
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marathon_eval.api.filter import FilterContext
from marathon_eval.scoring.filters.choice import extract

FILE = Path(__file__).resolve().parents[1] / "data" / "strict_choice.jsonl"
EVENTS = ("Cat", "Dog barking", "Frying", "Running water")
RULES = "bare boxed answer_tag answer_is letter_and_text option_letter option_text"
REASONS = "empty ambiguous conflict out_of_range negated refusal no_answer"


class Case(NamedTuple):
    choices: tuple[str, ...]
    text: str
    letter: str | None
    rule: str


def cases() -> list[Case]:
    found: list[Case] = []
    choices: tuple[str, ...] = ()
    for line in FILE.read_text(encoding="utf-8").splitlines():
        entry: dict[str, Any] = json.loads(line)
        if "choices" in entry:
            choices = tuple(entry["choices"])
        else:
            found.append(Case(choices, entry["text"], entry["letter"], entry["rule"]))
    return found


CASES = cases()


def context(choices: tuple[str, ...], letters: str = string.ascii_uppercase) -> FilterContext:
    return FilterContext(choices, tuple(letters[: len(choices)]))


@pytest.mark.parametrize("case", CASES, ids=[repr(case.text)[:60] for case in CASES])
def test_table(case: Case) -> None:
    answer = extract(case.text, context(case.choices))
    assert (answer.value, answer.rule) == (case.letter, case.rule)


def test_the_table_is_large_and_has_every_rule() -> None:
    assert len({(case.choices, case.text) for case in CASES}) >= 220
    assert {case.rule for case in CASES if case.letter} == set(RULES.split())
    assert {case.rule for case in CASES if not case.letter} == set(REASONS.split())


def test_letters_come_in_the_layouts_case() -> None:
    lower = context(EVENTS, string.ascii_lowercase)
    assert extract("The answer is C.", lower).value == "c"
    assert extract("Dog barking", lower).value == "b"


def test_the_order_of_options_does_not_matter_to_a_text() -> None:
    turned = EVENTS[::-1]
    for text in ("Dog barking", "I can hear running water", "It sounds like a cat"):
        straight, back = extract(text, context(EVENTS)).value, extract(text, context(turned)).value
        assert straight is not None
        assert back is not None
        assert EVENTS["ABCD".index(straight)] == turned["ABCD".index(back)]


def test_options_without_letters_are_read_by_text_alone() -> None:
    plain = FilterContext(EVENTS)
    assert extract("Dog barking", plain).value == "B"
    assert extract("B", plain).value is None


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.sampled_from(
            [
                "the",
                "a",
                "man",
                "woman",
                "of",
                "in",
                "it",
                "was",
                "and",
                "then",
                "very",
                "loud",
                "room",
                "noise",
            ]
        ),
        max_size=30,
    )
)
def test_words_that_name_no_option_are_no_answer(words: list[str]) -> None:
    assert extract(" ".join(words) + " noise", context(EVENTS)).value is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_gives_a_letter_of_the_row_or_nothing(text: str) -> None:
    assert extract(text, context(EVENTS)).value in {None, "A", "B", "C", "D"}


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize(
    "frame", ["{}", "({})", "The answer is {}.", "Option {}", "answer: {}", "**{}**", "\\boxed{{{}}}"]
)
def test_every_letter_in_every_frame(letter: str, frame: str) -> None:
    assert extract(frame.format(letter), context(EVENTS)).value == letter
