"""Tests numbers in answers: the forms of locales, tolerances, and errors against scikit-learn's."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import mean_absolute_error

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.numbers import one_number


def metric(called: str, /, **options: Any) -> Metric:
    return build_metric({"metric": called, **options}, "task.yaml:9")


def row(said: str | None, *targets: str) -> ScoredRow:
    target = targets[0] if len(targets) == 1 else targets
    return ScoredRow(Answer(said, "test"), target, FilterContext(), "clip")


@pytest.mark.parametrize(
    ("text", "point", "comma"),
    [
        ("12.50", 12.5, 12.5),
        ("12,5", 12.5, 12.5),
        ("1,234", 1234, 1.234),
        ("1.234", 1.234, 1234),
        ("1.234,56", 1234.56, 1234.56),
        ("1,234.56", 1234.56, 1234.56),
        ("1 234,5", 1234.5, 1234.5),
        ("1\u202f234", 1234, 1234),
        ("1'000", 1000, 1000),
        ("12,34,567", 1234567, 1234567),
        ("0,125", 0.125, 0.125),
        ("\u22125 dB", -5, -5),
        ("It is $3,000.", 3000, 3),
        ("about 7.", 7, 7),
        (".5", 0.5, 0.5),
        ("1e3 Hz", 1000, 1000),
        ("१२", 12, 12),
        ("٣٫٥", 3.5, 3.5),
        ("CO2 at 400ppm", 400, 400),
        ("2 + 3 = 5", 5, 5),
        ("Between 3 and 5, so the answer is 4.", 4, 4),
        ("12, that is 12.0", 12, 12),
        ("minus 5 degrees", -5, -5),
        ("moins 5", -5, -5),
        ("负5度", -5, -5),
        ("5 degrees below zero", -5, -5),
        ("plus or minus 5", 5, 5),
        ("au moins 5", 5, 5),
        ("por lo menos 5", 5, 5),
        ("minus -5", -5, -5),
        ("1.5 million", 1.5e6, 1.5e6),
        ("2 hundred thousand", 200000, 200000),
        ("3 dozen", 36, 36),
        ("5k steps, at 5 kHz", None, None),
        ("5k", 5000, 5000),
        ("5kHz", 5, 5),
        ("300K", 300, 300),
        ("1.5万", 15000, 15000),
        ("2 hundred and five", None, None),
        ("two hundred and 5", None, None),
        ("3百5十", None, None),
        ("5 Billionen", None, None),
        ("2½ hours", 2.5, 2.5),
        ("½", 0.5, 0.5),
        ("2 and a half million", 2.5e6, 2.5e6),
        ("2 point 5", 2.5, 2.5),
        ("2 heures et demie", None, None),
        ("2个半小时", None, None),
        ("3 tenths", None, None),
        ("10²", None, None),
        ("１２．５", 12.5, 12.5),
        ("１，０００", 1000, 1),
        ("我听到3，4", None, None),
        ("答案是42个", 42, 42),
        ("3-5", None, None),
        ("3 or 5", None, None),
        ("1.2.3", None, None),
        ("H2O", None, None),
        ("nan", None, None),
        ("", None, None),
    ],
)
def test_forms_of_numbers(text: str, point: float | None, comma: float | None) -> None:
    for sign, wanted in ((".", point), (",", comma)):
        found = one_number(text, sign)  # type: ignore[arg-type]  # a loop's variable is no literal
        assert (None if found is None else float(found)) == wanted


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42. I am confident this answer is correct.", 42),
        ("Answer: 42 (the answer is approximate)", 42),
        ("42. Please note this answer is an estimate", 42),
        ("The answer is 42.\n\nNote that my answer is based on 3 listens.", 42),
        ("I heard 3 of them. My answer is a guess: 5", 5),
        ("My answer is based on the clip, so 5", 5),
        ("The answer is 3, because 4 - 1 = 3, and 10 = total", 3),
        ("The final answer is 4. Wait, the answer is 5", 5),
        ("**Answer:** 7", 7),
        ("3 dogs + 2 cats = 5", 5),
        ("2 dogs, 3 cats, total = 5", 5),
        ("tempo = 120", 120),
        ("Dogs = 3, cats = 4", None),
        ("The answer is 5. The alternative = 7", None),
        ("There are 3 dogs. The answer is unknown.", None),
        ("There are 3 dogs. The answer is five.", None),
        ("The answer is 42. This answer is 90% certain.", None),
        ("answer is", None),
    ],
)
def test_a_remark_on_the_answer_gives_way_to_the_answer(text: str, number: int | None) -> None:
    assert one_number(text) == number


def test_counts_in_words_are_read_in_the_part_that_states_the_answer() -> None:
    assert one_number("There are 3 dogs. The answer is five.", words=True) == 5
    assert one_number("The answer is five. This answer is final.", words=True) == 5
    assert one_number("two and a half", words=True) == Decimal("2.5")
    assert one_number("three thousand", words=True) == 3000
    assert one_number("one hundred and four", words=True) is None


@given(st.floats(-1e9, 1e9), st.sampled_from([".", ","]))
def test_every_number_as_python_writes_it_is_read(number: float, sign: Any) -> None:
    text = f"{number:.6f}"
    assert float(one_number(text, sign) or 0) == float(text)


def test_tolerances_are_exact() -> None:
    assert metric("number_match").score(row("12.50", "12.5")) == 1
    assert metric("number_match").score(row("12.51", "12.5")) == 0
    assert metric("number_match", abs_tol=0.1).score(row("0.3", "0.2")) == 1
    assert metric("number_match", abs_tol=0.1).score(row("0.31", "0.2")) == 0
    assert metric("number_match", rel_tol=0.05).score(row("-105", "-100")) == 1
    assert metric("number_match", rel_tol=0.05).score(row("106", "100")) == 0
    assert metric("number_match").score(row("7", "5", "7")) == 1
    assert metric("number_match", rel_tol=0.5).score(row("52", "10", "100")) == 1
    assert metric("number_match", rel_tol=0.5).score(row("49", "10", "100")) == 0


def test_the_language_says_what_a_comma_means_in_answers() -> None:
    assert metric("number_match", language="de").score(row("1.234 Hz", "1234")) == 1
    assert metric("number_match", language="en").score(row("1.234 Hz", "1.234")) == 1
    assert metric("number_match", language="de", gold_decimal=",").score(row("1,5", "1,50")) == 1


def test_no_number_is_wrong_and_a_gold_without_one_is_left_out() -> None:
    match, error = metric("number_match"), metric("mae")
    assert [match.score(row(said, "5")) for said in (None, "loud", "3 or 5")] == [0, 0, 0]
    assert [error.score(row(said, "5")) for said in (None, "loud", "3 or 5")] == [None] * 3
    assert match.score(row("5", "loud")) is None
    assert match.aggregate([row("5", "5"), row("5", "loud"), row(None, "5")]) == 0.5
    assert error.aggregate([row("5", "4"), row(None, "5")]) == 1


@given(st.lists(st.tuples(st.integers(-1000, 1000), st.integers(-1000, 1000)), min_size=1))
def test_mae_is_scikit_learns(pairs: list[tuple[int, int]]) -> None:
    found = metric("mae").aggregate([row(f"{said / 8} s", str(gold / 8)) for said, gold in pairs])
    said, gold = zip(*pairs, strict=True)
    assert found == pytest.approx(mean_absolute_error([g / 8 for g in gold], [s / 8 for s in said]))
    assert not metric("mae").higher_is_better


@pytest.mark.parametrize("options", [{"abs_tol": -1}, {"rel_tol": float("nan")}, {"decimal": ";"}])
def test_wrong_options_are_refused_by_line(options: dict[str, Any]) -> None:
    with pytest.raises(MarathonError, match=f"task.yaml:9: metric 'number_match': {next(iter(options))}: "):
        metric("number_match", **options)
