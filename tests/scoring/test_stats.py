"""Tests p-values against scipy and by hand."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.stats import binomtest

from marathon_eval.scoring.stats import cluster_sums, holm, p_text, sign_flip


def test_cluster_sums() -> None:
    counts = np.array([[1.0, 1], [0, 1], [1, 1], [1, 1]])
    assert cluster_sums(counts, ["x", "y", "x", "z"]).tolist() == [[2, 2], [0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("p", "shown"),
    [(1.0, "1.0000"), (0.0312, "0.0312"), (0.00006, "0.0001"), (0.00004, "<0.0001"), (0.0, "<0.0001")],
)
def test_no_p_is_printed_as_zero(p: float, shown: str) -> None:
    assert p_text(p) == shown


@pytest.mark.parametrize(("b", "c"), [(0, 0), (0, 5), (3, 15), (44, 45), (70, 120), (0, 300), (2900, 3100)])
def test_sign_flips_of_single_rows_are_mcnemars_exact_test(b: int, c: int) -> None:
    known = binomtest(b, b + c).pvalue if b + c else 1.0
    assert sign_flip([-1] * b + [1] * c) == pytest.approx(known, rel=1e-9)


@pytest.mark.parametrize("gains", [[3, -1, 2, 0, 4], [1, 1, -2, 5, -3, 1], [7], [2, -2], [0, 0]])
def test_sign_flips_are_those_of_the_definition(gains: list[int]) -> None:
    sums = [
        abs(sum(sign * gain for sign, gain in zip(signs, gains, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(gains))
    ]
    known = sum(total >= abs(sum(gains)) for total in sums) / len(sums)
    assert sign_flip(gains) == pytest.approx(known, rel=1e-12)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        holm([1.2])
