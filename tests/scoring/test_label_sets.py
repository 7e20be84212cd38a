"""Tests sets and ranked lists of labels against scikit-learn, and the forms in which answers list them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import (
    accuracy_score,
    f1_score,
    jaccard_score,
    label_ranking_average_precision_score,
    ndcg_score,
)

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.label_sets import listed_labels

LABELS = ("dog", "cat", "rain", "bell", "horn")
SETS = st.sets(st.sampled_from(LABELS))
OPEN = FilterContext()
OPTIONS = FilterContext(("dog", "cat, small", "rain", "D major"), ("A", "B", "C", "D"))


def metric(called: str, /, **options: Any) -> Metric:
    return build_metric({"metric": called, **options}, "task.yaml:9")


def row(said: str | None, *targets: str, context: FilterContext = OPEN) -> ScoredRow:
    return ScoredRow(Answer(said, "test"), targets, context, "clip")


def matrix(sets: list[set[str]]) -> list[list[int]]:
    return [[int(label in one) for label in LABELS] for one in sets]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sets(st.sampled_from(LABELS), min_size=1), SETS), min_size=2, max_size=12))
def test_set_figures_are_scikit_learns(pairs: list[tuple[set[str], set[str]]]) -> None:
    rows = [row(", ".join(sorted(said)) or None, *sorted(gold)) for gold, said in pairs]
    gold, said = matrix([pair[0] for pair in pairs]), matrix([pair[1] for pair in pairs])
    for average in ("samples", "micro"):
        known = f1_score(gold, said, average=average, zero_division=0)
        assert metric("set_f1", average=average).aggregate(rows) == pytest.approx(known)
    known = jaccard_score(gold, said, average="samples", zero_division=0)
    assert metric("jaccard").aggregate(rows) == pytest.approx(known)
    assert metric("exact_set").aggregate(rows) == pytest.approx(accuracy_score(gold, said))


@settings(max_examples=100, deadline=None)
@given(st.permutations(LABELS), st.sets(st.sampled_from(LABELS), min_size=1), st.integers(1, 6))
def test_ranked_figures_are_scikit_learns(ranked: list[str], gold: set[str], k: int) -> None:
    rows = [row("\n".join(f"{place}. {label}" for place, label in enumerate(ranked, 1)), *sorted(gold))]
    truth, scores = matrix([gold]), [[-ranked.index(label) for label in LABELS]]
    assert metric("ndcg", k=k).aggregate(rows) == pytest.approx(ndcg_score(truth, scores, k=k))
    known = label_ranking_average_precision_score(truth, scores)
    assert metric("average_precision").aggregate(rows) == pytest.approx(known)
    first = min(ranked.index(label) for label in gold)
    assert metric("mrr").aggregate(rows) == pytest.approx(1 / (first + 1))
    assert metric("hits_at_k", k=k).aggregate(rows) == float(first < k)


@pytest.mark.parametrize(
    "text",
    [
        "A, C",
        "A and C",
        "AC",
        "A C",
        "(A), (C)",
        "**A**; **C**",
        "A. dog\nC. rain",
        "dog, rain",
        "Dog and rain.",
        '["dog", "rain"]',
        "1. dog\n2. rain",
        "- dog\n- rain",
        "The answers are: A and C.",
        "C/A, A",
    ],
)
def test_forms_of_lists(text: str) -> None:
    assert {*listed_labels(text, row(None, "A", "C", context=OPTIONS))} == {"dog", "rain"}
    assert metric("exact_set").score(row(text, "A", "rain", context=OPTIONS)) == 1
    assert metric("exact_set").score(row(text, "A", "B", context=OPTIONS)) == 0


def test_labels_that_hold_a_separator_or_begin_with_a_letter() -> None:
    assert listed_labels("cat, small, dog", row(None, "A", context=OPTIONS)) == ["cat, small", "dog"]
    assert listed_labels("d major", row(None, "A", context=OPTIONS)) == ["d major"]
    jazz = row("Jazz and rock and roll", "rock and roll", "jazz")
    assert metric("exact_set").score(jazz) == 1


@pytest.mark.parametrize(
    ("said", "gold", "score"),
    [
        ("Option A, Option C", ("dog", "rain"), 1),
        ("choice (a) and choice (c)", ("dog", "rain"), 1),
        ("Option A: dog; option C: rain", ("dog", "rain"), 1),
        ("Option 0, Option 2", ("dog", "rain"), 0),
        ("option 1", ("cat, small",), 0),
    ],
)
def test_options_are_named_by_letter_and_not_by_number(said: str, gold: tuple[str, ...], score: int) -> None:
    for name in ("exact_set", "set_f1", "mrr"):
        assert metric(name).score(row(said, *gold, context=OPTIONS)) == score


def test_an_option_may_be_called_by_a_number() -> None:
    numbered = FilterContext(("Option 2", "Option 1"), ("A", "B"))
    assert metric("exact_set").score(row("option 1", "B", context=numbered)) == 1
    assert metric("exact_set").score(row("option a", "option 2", context=numbered)) == 1


@pytest.mark.parametrize("context", [OPTIONS, OPEN])
@pytest.mark.parametrize(
    "text",
    [
        "The answers are dog, rain. I am confident this answer is correct.",
        "dog, rain\nMy answer is based on the whole clip.",
        "dog, rain (this answer is an estimate)",
        "Answer: dog and rain. The answer is approximate.",
    ],
)
def test_a_remark_on_the_answer_is_no_list(text: str, context: FilterContext) -> None:
    assert metric("exact_set").score(row(text, "dog", "rain", context=context)) == 1


def test_a_later_statement_and_a_denial_go_before_what_they_take_back() -> None:
    assert (
        metric("exact_set").score(row("Answer: rain. Wait, the answer is dog", "dog", context=OPTIONS)) == 1
    )
    assert metric("set_f1").score(row("I heard dog. The answer is none", "dog", context=OPTIONS)) == 0
    correct = FilterContext(("correct", "incorrect"), ("A", "B"))
    assert metric("exact_set").score(row("I heard all. The answer is correct", "A", context=correct)) == 1


def test_what_is_no_option_is_a_false_alarm() -> None:
    assert metric("set_f1").score(row("A, E", "A", context=OPTIONS)) == pytest.approx(2 / 3)
    assert metric("set_f1").score(row("none", "A", context=OPTIONS)) == 0
    assert metric("set_f1").score(row(None, "A", context=OPTIONS)) == 0


def test_one_target_may_list_several() -> None:
    assert metric("exact_set").score(row("rain, dog", "dog, rain")) == 1
    assert metric("set_f1").score(row("rain", "none")) is None


def test_wrong_options_are_refused_by_line() -> None:
    with pytest.raises(MarathonError, match="task.yaml:9: metric 'ndcg': k: must be at least 1, got 0"):
        metric("ndcg", k=0)
    with pytest.raises(MarathonError, match="task.yaml:9: metric 'set_f1': average: .*'samples' or 'micro'"):
        metric("set_f1", average="macro")
