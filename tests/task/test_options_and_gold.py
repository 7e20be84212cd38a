"""Tests options and gold answers: where they come from, how they are written, and what is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest

from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.prompt.choices import Choices, gold_of, letters_of, option_lines, text_gold
from marathon_eval.task.prompt.prompt import _listed
from marathon_eval.task.yaml.config import Layout

LETTERS = ("A", "B", "C", "D")
TEXTS = ("rock", "jazz", "disco", "metal")


class TestOptions:
    @pytest.mark.parametrize(
        ("layout", "lines"),
        [
            ("A.", "A. rock\nB. jazz"),
            ("A)", "A) rock\nB) jazz"),
            ("A:", "A: rock\nB: jazz"),
            ("(A)", "(A) rock\n(B) jazz"),
            ("a.", "a. rock\nb. jazz"),
            ("(a)", "(a) rock\n(b) jazz"),
            ("plain", "rock\njazz"),
            (None, "A. rock\nB. jazz"),
        ],
    )
    def test_layouts(self, layout: Layout | None, lines: str) -> None:
        assert option_lines(["rock", "jazz"], layout) == lines

    def test_braces_in_an_option_stay(self) -> None:
        assert option_lines(["{letter} {text}", "{{ x }}"], "A.") == "A. {letter} {text}\nB. {{ x }}"

    def test_plain_options_have_capital_letters(self) -> None:
        assert letters_of(3, "plain") == ("A", "B", "C")
        assert letters_of(2, "a)") == ("a", "b")
        with pytest.raises(RowError, match="27 options"):
            letters_of(27)
        many = [f"event {number}" for number in range(27)]
        assert letters_of(27, "plain")[-2:] == ("Z", "AA")
        assert option_lines(many, "plain").splitlines() == many

    @pytest.mark.parametrize(
        ("spec", "row"),
        [
            (["rock", "jazz"], {}),
            ({"A": "rock", "B": "jazz"}, {}),
            ("options", {"options": ["rock", "jazz"]}),
            ("choices", {"choices": {"B": "jazz", "A": "rock"}}),
            ("{{ [first, second] }}", {"first": "rock", "second": "jazz"}),
            ("{{ choices.text }}", {"choices": {"text": ["rock", "jazz"], "label": ["A", "B"]}}),
        ],
    )
    def test_where_options_come_from(self, spec: Any, row: dict[str, Any]) -> None:
        assert Choices(spec, None, False, "x").texts(row) == ("rock", "jazz")

    @pytest.mark.parametrize("value", ["no list", 3, [], {}])
    def test_a_column_without_a_list_is_a_row_error(self, value: Any) -> None:
        with pytest.raises(RowError, match="gives no list of options"):
            Choices("options", None, False, "x").texts({"options": value})

    def test_columns(self) -> None:
        columns = ["choice_a", "choice_b", "choice_c"]
        row = {"choice_a": "rock", "choice_b": "jazz", "choice_c": "disco"}
        assert Choices(None, columns, False, "x").texts(row) == ("rock", "jazz", "disco")
        with pytest.raises(RowError, match="the row has no 'choice_c'"):
            Choices(None, columns, False, "x").texts({**row, "choice_c": None})

    def test_only_trailing_options_may_be_absent(self) -> None:
        choices = Choices(None, ["a", "b", "c", "d"], True, "x")
        assert choices.texts({"a": "1", "b": "2", "c": " ", "d": None}) == ("1", "2")
        with pytest.raises(RowError, match="the row has no 'b'"):
            choices.texts({"a": "1", "c": "3", "d": "4"})

    def test_two_sources_are_refused(self) -> None:
        with pytest.raises(MarathonError, match="doc_to_choice or choice_columns, not both"):
            Choices(["a"], ["b"], False, "x")

    @pytest.mark.parametrize(
        ("text", "texts"),
        [
            (r'["and\/or", "\u00e9t\u00e9"]', ("and/or", "\u00e9t\u00e9")),
            (r'["\ud83d\ude00", "no"]', ("\U0001f600", "no")),
            (r"""["it's", 'C:\\new']""", ("it's", "C:\\new")),
        ],
    )
    def test_a_list_as_text_is_json_or_a_literal(self, text: str, texts: tuple[str, ...]) -> None:
        assert Choices("options", None, False, "x").texts({"options": text}) == texts
        assert _listed(text) == list(texts)


class TestGold:
    @pytest.mark.parametrize(
        ("raw", "target"),
        [
            ("B", "B"),
            (" b ", "B"),
            ("jazz", "jazz"),
            (1, "jazz"),
            ("1", "jazz"),
            (["B", "rock"], ("B", "rock")),
        ],
    )
    def test_a_letter_stays_a_letter_and_an_index_becomes_its_text(self, raw: Any, target: Any) -> None:
        assert gold_of(raw, TEXTS, LETTERS, "x") == target

    @pytest.mark.parametrize("raw", ["E", "Jazz music", "", 4, -1, "9", []])
    def test_gold_that_is_none_of_the_options_is_a_row_error(self, raw: Any) -> None:
        with pytest.raises(RowError, match=r"x: .*(none of the options|no index|empty)"):
            gold_of(raw, TEXTS, LETTERS, "x")

    @pytest.mark.parametrize("read", [gold_of, text_gold])
    @pytest.mark.parametrize(
        ("raw", "texts", "target"),
        [
            (True, ["True", "False"], "True"),
            (False, ["True", "False"], "False"),
            (True, ["FALSE", " true "], " true "),
            (False, ["yes", "no"], "no"),
            (True, ["No", "Yes", "Unclear"], "Yes"),
            ([True], ["yes", "no"], ("yes",)),
            (True, (), "True"),
        ],
    )
    def test_true_and_false_are_words_and_no_index(
        self, read: Callable[..., Any], raw: Any, texts: Sequence[str], target: Any
    ) -> None:
        assert read(raw, texts, LETTERS[: len(texts)], "x") == target

    @pytest.mark.parametrize("read", [gold_of, text_gold])
    @pytest.mark.parametrize(
        ("raw", "texts", "found"),
        [
            (True, ["dog", "cat"], "no option of dog, cat says true or yes"),
            (False, ["no", "yes", "false"], "more than one option of no, yes, false says false or no"),
        ],
    )
    def test_true_and_false_that_no_option_says_are_not_guessed(
        self, read: Callable[..., Any], raw: bool, texts: list[str], found: str
    ) -> None:
        with pytest.raises(RowError, match=f"^x: gold {str(raw).lower()} is no text, and {found}; write the"):
            read(raw, texts, LETTERS[: len(texts)], "x")

    def test_gold_that_is_one_options_letter_and_anothers_text_is_not_guessed(self) -> None:
        with pytest.raises(RowError, match="letter of one option and the text of another"):
            gold_of("A", ["B", "A"], ["A", "B"], "x")
        assert gold_of("A", ["A", "B"], ["A", "B"], "x") == "A"

    def test_an_option_that_is_a_number_comes_before_its_index(self) -> None:
        assert gold_of("2", ["4", "3", "2"], ["A", "B", "C"], "x") == "2"

    def test_open_questions(self) -> None:
        assert gold_of("a text", (), (), "x") == "a text"
        with pytest.raises(RowError, match="the gold answer is empty"):
            gold_of("  ", (), (), "x")
