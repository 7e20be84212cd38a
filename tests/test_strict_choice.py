"""The strict reading: every text of the table, and that nothing is ever guessed."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strict_choice_table import EVENTS, TABLE, Case

from marathon_eval.choice_filter import extract
from marathon_eval.filters import FilterContext

CASES = [(choices, case) for choices, cases in TABLE.items() for case in cases]


def context(choices: tuple[str, ...], letters: str = string.ascii_uppercase) -> FilterContext:
    return FilterContext(choices, tuple(letters[: len(choices)]))


@pytest.mark.parametrize(("choices", "case"), CASES, ids=[repr(case.text)[:60] for _, case in CASES])
def test_table(choices: tuple[str, ...], case: Case) -> None:
    answer = extract(case.text, context(choices))
    assert (answer.value, answer.rule) == (case.letter, case.rule)


def test_the_table_is_large() -> None:
    assert len({(choices, case.text) for choices, case in CASES}) >= 220


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
@given(st.lists(st.sampled_from("the a man woman car of in it was and then very loud room noise".split()), max_size=30))
def test_words_that_name_no_option_are_no_answer(words: list[str]) -> None:
    assert extract(" ".join(words) + " noise", context(EVENTS)).value is None


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=80))
def test_any_text_gives_a_letter_of_the_row_or_nothing(text: str) -> None:
    assert extract(text, context(EVENTS)).value in {None, "A", "B", "C", "D"}


@pytest.mark.parametrize("letter", "ABCD")
@pytest.mark.parametrize("frame", ["{}", "({})", "The answer is {}.", "Option {}", "answer: {}", "**{}**", "\\boxed{{{}}}"])
def test_every_letter_in_every_frame(letter: str, frame: str) -> None:
    assert extract(frame.format(letter), context(EVENTS)).value == letter
