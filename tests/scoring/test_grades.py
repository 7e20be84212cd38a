"""Tests grades: how votes are stored, what the metrics make of them, and Krippendorff's alpha."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pytest

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.scoring.grades import (
    KrippendorffAlpha,
    Vote,
    alpha_counts,
    grade,
    grade_agreement,
    grade_flip_rate,
    grade_position_bias,
    grade_win_rate,
    other_grade,
    votes_text,
)


def row(*votes: Vote, rule: str = "graded") -> ScoredRow:
    return ScoredRow(Answer(votes_text(votes) if votes else None, rule), "gold", FilterContext(), "clip")


def alone(judge: str, **grades: float) -> Vote:
    return Vote(judge, 0, "alone", grades, {})


def pair(judge: str, second: tuple[float, float], first: tuple[float, float]) -> list[Vote]:
    """Return both orders of a pair as (answer, other)."""
    return [
        Vote(judge, 0, "second", {"grade": second[0]}, {"grade": second[1]}),
        Vote(judge, 0, "first", {"grade": first[0]}, {"grade": first[1]}),
    ]


def test_the_mean_over_criteria_then_over_votes_and_the_lowest_for_no_answer() -> None:
    rows = [
        row(alone("a", correct=5, style=3), alone("b", correct=1, style=1)),
        row(alone("a", correct=2, style=2), alone("b", correct=4, style=2)),
        row(rule="unclosed_reasoning"),
        row(rule="judge_failed"),
    ]
    assert grade(lowest=1).aggregate(rows) == pytest.approx((2.5 + 2.5 + 1) / 3)
    assert grade("correct", lowest=1).aggregate(rows) == pytest.approx((3 + 3 + 1) / 3)
    assert grade(judge="b", lowest=1).aggregate(rows) == pytest.approx((1 + 3 + 1) / 3)
    assert grade("style").name == "grade_style"


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (grade(), (7 + 6 + 2 + 4) / 4),
        (other_grade(), (6 + 6 + 9 + 3) / 4),
        (grade_win_rate(), 2 / 4),
        (grade_position_bias(), ((7 - 6) + (2 - 4)) / 2),
        (grade_flip_rate(), 1.0),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_pairs(metric: Metric, expected: float) -> None:
    rows = [row(*pair("a", (7, 6), (6, 6))), row(*pair("a", (2, 9), (4, 3)))]
    assert metric.aggregate(rows) == pytest.approx(expected)


#: Krippendorff's example of four coders and twelve units: interval alpha 0.849 (2011, section C and D).
CODERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


def alpha(units: Sequence[Sequence[float]]) -> float:
    return float(
        KrippendorffAlpha().value(np.array([alpha_counts(unit) for unit in units]).sum(axis=0)[None])[0]
    )


def test_alpha_of_krippendorffs_example() -> None:
    units = [[float(x) for x in unit if x is not None] for unit in zip(*CODERS, strict=True)]
    assert alpha(units) == pytest.approx(0.849, abs=5e-4)


def test_alpha_of_full_and_of_no_agreement() -> None:
    assert alpha([[1, 1], [5, 5], [3, 3]]) == 1.0
    assert alpha([[1, 5], [5, 1], [1, 5], [5, 1]]) < 0
    assert np.isnan(alpha([[3], [4]]))
    for equal in (3, 0.1, 0.7, 1e-9):
        assert np.isnan(alpha([[equal] * 3] * 7))
    assert alpha([[1e-5, 2e-5], [2e-5, 2e-5], [1e-5, 1e-5]]) == pytest.approx(alpha([[1, 2], [2, 2], [1, 1]]))


def test_agreement_of_rows() -> None:
    rows = [row(alone("a", grade=one), alone("b", grade=other)) for one, other in ((1, 1), (5, 5), (3, 4))]
    value = grade_agreement().aggregate(rows)
    assert value is not None
    assert 0.8 < value < 1
    assert grade_agreement().aggregate([row(alone("a", grade=1))]) is None


@pytest.mark.parametrize(
    "text",
    [
        "[",
        "{}",
        "3",
        '[{"judge": "a"}]',
        '[{"judge": "a", "rater": 0, "order": "alone", "answer": {"grade": "5"}, "other": {}}]',
        '[{"judge": "a", "rater": 0, "order": "alone", "answer": {"grade": NaN}, "other": {}}]',
        '[{"judge": "a", "rater": 0, "order": "alone", "answer": {}, "other": {}}]',
        "[" * 100_000,
    ],
)
def test_a_forged_text_has_no_grades(text: str) -> None:
    forged = ScoredRow(Answer(text, "graded"), "gold", FilterContext(), "clip")
    for metric in (grade(), other_grade(), grade_win_rate(), grade_flip_rate(), grade_agreement()):
        assert metric.aggregate([forged]) is None


def test_the_stored_text_is_json() -> None:
    assert json.loads(votes_text([alone("judge\u2028é", grade=4)]))[0]["answer"] == {"grade": 4}
