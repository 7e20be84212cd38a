"""Tests intervals against scipy, by their coverage in simulations, and where nothing can be said."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binom, binomtest, norm
from scipy.stats import t as student

from marathon_eval.api.metric import Mean
from marathon_eval.scoring import intervals
from marathon_eval.scoring.intervals import (
    Estimate,
    count_interval,
    metric_interval,
    paired,
    paired_interval,
    wilson,
)
from marathon_eval.scoring.metrics.classification import LabelF1, label_counts
from marathon_eval.scoring.metrics.wer import CorpusWER

ACCURACY, F1, WER = Mean("accuracy", lambda row: None, share=True), LabelF1("macro"), CorpusWER("none")


def hits(values: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack([values, np.ones(len(values))], axis=1)


def named(rows: int, each: int = 1) -> list[str]:
    return [str(row // each) for row in range(rows)]


def of_accuracy(values: NDArray[np.float64], each: int = 1) -> Estimate:
    return metric_interval(hits(values), named(len(values), each), ACCURACY.value, share=True, rowwise=True)


def difference(
    first: NDArray[np.float64], second: NDArray[np.float64], each: int = 1
) -> intervals.KnownDifference:
    return paired(hits(first), hits(second), named(len(first), each), ACCURACY.value, True, True)


def right(k: int, n: int) -> NDArray[np.float64]:
    return (np.arange(n) < k).astype(float)


@pytest.mark.parametrize(("k", "n"), [(5, 10), (81, 263), (450, 900), (30, 40)])
def test_wilson_is_that_of_scipy_at_its_critical_value(k: int, n: int) -> None:
    level = 1 - 2 * norm.sf(student.ppf(0.98, n - 1))
    known = binomtest(k, n).proportion_ci(level, method="wilson")
    assert wilson(k / n, n) == pytest.approx((known.low, known.high), abs=1e-7)
    assert of_accuracy(right(k, n)).ci95 == pytest.approx((known.low, known.high), abs=1e-7)
    assert count_interval(k, n).ci95 == pytest.approx((known.low, known.high), abs=1e-7)


@pytest.mark.parametrize("n", [6, 8, 24, 40, 100])
@pytest.mark.parametrize("p", [0.5, 0.8, 0.9, 0.95, 0.99])
def test_accuracy_covers_exactly(n: int, p: float) -> None:
    ends = [of_accuracy(right(k, n)).ci95 for k in range(n + 1)]
    held = [k for k, pair in enumerate(ends) if pair is not None and pair[0] <= p <= pair[1]]
    assert sum(binom.pmf(k, n, p) for k in held) >= 0.95


@pytest.mark.parametrize(("k", "n"), [(8, 8), (0, 8), (6, 6), (100, 100)])
def test_no_interval_has_zero_width(k: int, n: int) -> None:
    found = of_accuracy(right(k, n)).ci95
    assert found is not None
    assert found[1] - found[0] > 2.9 / n
    assert (found[1] if k else 1 - found[0]) == 1.0


def test_equal_rows_of_a_clip_count_once() -> None:
    clips = (np.arange(60) % 5 < 3).astype(float)
    alone, often = of_accuracy(clips).ci95, of_accuracy(np.repeat(clips, 8), each=8).ci95
    assert alone is not None
    assert often is not None
    # one degree of freedom less
    assert often == pytest.approx(alone, abs=0.002)


def test_too_few_clips_have_a_reason_instead() -> None:
    assert of_accuracy(right(3, 5)) == Estimate(None, "n too small (5 of 6 rows)")
    assert of_accuracy(right(30, 50), each=10) == Estimate(None, "n too small (5 of 6 clusters)")
    assert count_interval(3, 5) == Estimate(None, "n too small (5 of 6 rows)")
    few = metric_interval(np.ones((23, 2)), named(23), WER.value, share=False)
    assert few == Estimate(None, "n too small (23 of 24 rows)")
    assert metric_interval(np.zeros((9, 2)), named(9), ACCURACY.value, share=True) == Estimate(
        None, "no value"
    )
    assert paired_interval(difference(right(3, 5), right(4, 5))).reason == "n too small (5 of 6 rows)"


def test_rows_that_a_metric_leaves_out_are_no_part_of_its_n() -> None:
    counts = np.concatenate([hits(right(7, 10)), np.zeros((90, 2))])
    found = metric_interval(counts, named(100), ACCURACY.value, share=True, rowwise=True)
    assert found == of_accuracy(right(7, 10))


def test_an_error_rate_without_spread_has_a_reason() -> None:
    counts = np.tile([0.0, 12.0], (30, 1))
    assert metric_interval(counts, named(30), WER.value, share=False).reason == "the same in all 30 clips"
    known = paired(counts, counts, named(30), WER.value, False, False)
    assert paired_interval(known).reason == "no row differs among 30 clips"


def test_a_value_that_is_no_share_has_a_reason() -> None:
    found = metric_interval(hits(np.full(30, 0.5)), named(30), lambda sums: 100 * ACCURACY.value(sums), True)
    assert found == Estimate(None, "50 is no share, which lies between 0 and 1")


@pytest.mark.parametrize("clips", [6, 30, 2000])
@pytest.mark.parametrize("errors", [1.0, 0.3])
def test_clips_of_unequal_length_with_one_error_rate_have_no_spread(clips: int, errors: float) -> None:
    """As where no transcript was answered, and each lacks all its words: the gradient's rounding is no spread."""
    words = np.random.default_rng(0).integers(1, 900, 5 * clips).astype(float)
    empty = np.stack([errors * words, words], axis=1)
    clusters = named(5 * clips, 5)
    found = metric_interval(empty, clusters, WER.value, share=False)
    assert found == Estimate(None, f"the same in all {clips} clips")
    known = paired(np.stack([0 * words, words], axis=1), empty, clusters, WER.value, False, False)
    assert paired_interval(known).reason == f"all differ alike among {clips} clips"


@pytest.mark.parametrize(("lost", "won", "n"), [(0, 3, 40), (5, 2, 24), (10, 10, 100), (1, 0, 8)])
def test_differences_are_bonetts_and_prices(lost: int, won: int, n: int) -> None:
    first = right(n - won, n)
    second = first.copy()
    second[:lost], second[n - won :] = 0, 1
    of_lost, of_won = (lost + 1) / (n + 2), (won + 1) / (n + 2)
    half = norm.ppf(0.975) * math.sqrt((of_lost + of_won - (of_won - of_lost) ** 2) / (n + 2))
    known = of_won - of_lost - half, of_won - of_lost + half
    # the jackknife divides by n - 1
    assert paired_interval(difference(first, second)).ci95 == pytest.approx(known, abs=0.4 / n)


def test_without_flips_the_rule_of_three_stands() -> None:
    same = difference(right(20, 24), right(20, 24))
    assert paired_interval(same).ci95 == (-0.125, 0.125)
    assert not isinstance(same, str)
    assert same.tail(-0.125) == pytest.approx(0.875**24)
    assert same.tail(0.01) == 1.0
    # a clip of many rows counts once
    assert paired_interval(difference(right(20, 24), right(20, 24), each=2)).ci95 == (-0.25, 0.25)


@pytest.mark.parametrize("share", [True, False])
def test_tails_agree_with_ends(share: bool) -> None:
    random = np.random.default_rng(5)
    first, second = (hits((random.random(60) < p).astype(float)) for p in (0.9, 0.6))
    known = paired(first, second, named(60), ACCURACY.value, share, True)
    assert not isinstance(known, str)
    low, high = known.ends(0.95)
    assert known.tail(low) == pytest.approx(0.025, abs=0.004)
    assert known.mirrored().tail(-high) == pytest.approx(0.025, abs=0.004)
    assert known.mirrored().ends(0.95) == pytest.approx((-high, -low))


def labelled(random: np.random.Generator, n: int, p: float, labels: int) -> NDArray[np.float64]:
    gold = random.integers(0, labels, n)
    said = np.where(random.random(n) < p, gold, (gold + random.integers(1, labels, n)) % labels)
    return label_counts([*map(str, gold)], [*map(str, said)], [*map(str, range(labels))])


def words(random: np.random.Generator, n: int) -> NDArray[np.float64]:
    lengths = random.integers(20, 300, n)
    return np.stack([random.poisson(lengths * random.gamma(2, 0.05, n)), lengths], axis=1).astype(float)


def covered(find: Callable[[np.random.Generator], Estimate], truth: float, runs: int = 200) -> float:
    random = np.random.default_rng(7)
    ends = [find(random).ci95 for _ in range(runs)]
    return sum(pair is not None and pair[0] <= truth <= pair[1] for pair in ends) / runs


@pytest.mark.parametrize("p", [0.8, 0.95])
def test_f1_and_word_errors_cover(p: float) -> None:
    def of_f1(random: np.random.Generator) -> Estimate:
        return metric_interval(labelled(random, 40, p, 4), named(40), F1.value, share=True)

    def of_wer(random: np.random.Generator) -> Estimate:
        return metric_interval(words(random, 24), named(24), WER.value, share=False)

    assert covered(of_f1, p) >= 0.92
    assert covered(of_wer, 0.1) >= 0.92


def test_clustered_rows_cover_and_independent_ones_would_not() -> None:
    def one(random: np.random.Generator, each: int) -> Estimate:
        latent = 0.3**0.5 * np.repeat(random.normal(size=9), 22) + 0.7**0.5 * random.normal(size=198)
        return of_accuracy((latent < norm.ppf(0.8)).astype(float), each)

    assert covered(lambda random: one(random, 22), 0.8) >= 0.92
    assert covered(lambda random: one(random, 1), 0.8) < 0.8
