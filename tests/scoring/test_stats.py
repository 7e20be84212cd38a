"""Tests intervals and p-values against published values and by their defining properties."""

from __future__ import annotations

import math
import tracemalloc
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest

from marathon_eval.scoring.stats import Interval, bootstrap, bootstraps, cluster_sums, holm, mcnemar, wilson


def mean(sums: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(invalid="ignore"):
        return np.asarray(sums[:, 0] / sums[:, 1])


def hits(values: NDArray[Any]) -> NDArray[Any]:
    return np.stack([values, np.ones(len(values))], axis=1)


def test_cluster_sums() -> None:
    counts = np.array([[1.0, 1], [0, 1], [1, 1], [1, 1]])
    assert cluster_sums(counts, ["x", "y", "x", "z"]).tolist() == [[2, 2], [0, 1], [1, 1]]


def test_bootstrap_of_a_mean_is_near_the_normal_interval() -> None:
    values = (np.arange(400) % 5 < 3).astype(float)
    found = bootstrap(hits(values), [str(row) for row in range(400)], mean, draws=4000)
    half = 1.96 * math.sqrt(0.6 * 0.4 / 400)
    assert found is not None
    assert found.low == pytest.approx(0.6 - half, abs=0.006)
    assert found.high == pytest.approx(0.6 + half, abs=0.006)


def test_rows_of_a_clip_move_together() -> None:
    values = np.repeat([0.0, 1.0] * 25, 8)
    alone = bootstrap(hits(values), [str(row) for row in range(400)], mean)
    clips = bootstrap(hits(values), [str(row // 8) for row in range(400)], mean)
    assert alone is not None
    assert clips is not None
    # eight equal rows per clip: the interval is wider by the square root of eight
    assert (clips.high - clips.low) / (alone.high - alone.low) == pytest.approx(math.sqrt(8), rel=0.15)


def test_coverage_is_about_95_percent() -> None:
    random = np.random.default_rng(3)
    names = [str(row // 2) for row in range(160)]
    covered = 0
    for trial in range(200):
        clip = random.random(80) < 0.7
        values = np.where(random.random(160) < 0.3, random.random(160) < 0.7, np.repeat(clip, 2)).astype(
            float
        )
        found = bootstrap(hits(values), names, mean, draws=400, seed=trial)
        assert found is not None
        covered += found.low <= 0.7 <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_a_paired_difference_takes_the_same_clips_for_both_runs() -> None:
    first = (np.arange(100) % 3 == 0).astype(float)
    both = np.concatenate([hits(first), hits(first)], axis=1)
    found = bootstrap(
        both, [str(row) for row in range(100)], lambda sums: mean(sums[:, :2]) - mean(sums[:, 2:])
    )
    assert found == Interval(0.0, 0.0)


def test_the_same_seed_gives_the_same_interval_and_another_one_another() -> None:
    counts, names = hits((np.arange(50) % 3 == 0).astype(float)), [str(row) for row in range(50)]
    assert bootstrap(counts, names, mean, seed=1) == bootstrap(counts, names, mean, seed=1)
    assert bootstrap(counts, names, mean, seed=1) != bootstrap(counts, names, mean, seed=2)


def test_many_clips_are_drawn_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    counts, names = hits((np.arange(700) % 3 == 0).astype(float)), [str(row) for row in range(700)]
    whole = bootstrap(counts, names, mean, draws=300, seed=11)
    monkeypatch.setattr("marathon_eval.scoring.stats._CELLS", 5000)
    parts = bootstrap(counts, names, mean, draws=300, seed=12)
    assert whole is not None
    assert parts is not None
    assert parts.low == pytest.approx(whole.low, abs=0.02)


@pytest.mark.parametrize("limit", ["_KEPT_BYTES", "_HELD_BYTES"])
def test_neither_drawing_again_nor_apart_changes_an_interval(
    monkeypatch: pytest.MonkeyPatch, limit: str
) -> None:
    random, names = np.random.default_rng(5), [str(row // 2) for row in range(300)]
    measures = [(hits(random.random(300)), mean) for _ in range(3)]
    alone = [bootstrap(counts, names, value) for counts, value in measures]
    monkeypatch.setattr(f"marathon_eval.scoring.stats.{limit}", 0)
    assert [bootstrap(counts, names, value) for counts, value in measures] == alone
    assert bootstraps(measures, names) == alone
    assert None not in alone


def test_draws_of_many_clips_are_not_held() -> None:
    names = [str(row) for row in range(20_000)]
    counts = hits(np.ones(len(names)))
    tracemalloc.start()
    found = bootstraps([(counts, mean)], names)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert found == [Interval(1.0, 1.0)]
    # a table of all draws would be 40 MB
    assert peak < 16 << 20


@pytest.mark.parametrize("names", [[], ["a"], ["a", "a", "a"]])
def test_fewer_than_two_clips_have_no_interval(names: list[str]) -> None:
    assert bootstrap(hits(np.ones(len(names))), names, mean) is None


def test_no_value_in_any_draw_is_no_interval() -> None:
    assert bootstrap(np.zeros((4, 2)), list("abcd"), mean) is None


@pytest.mark.parametrize(
    ("b", "c", "p"), [(0, 0, 1.0), (5, 5, 1.0), (0, 5, 2 / 32), (5, 0, 2 / 32), (1, 9, 2 * 11 / 1024)]
)
def test_mcnemar_by_hand(b: int, c: int, p: float) -> None:
    assert mcnemar(b, c) == pytest.approx(p, rel=1e-12)


@pytest.mark.parametrize(("b", "c"), [(3, 15), (10, 30), (44, 45), (70, 120), (0, 300)])
def test_mcnemar_is_the_exact_binomial_test(b: int, c: int) -> None:
    assert mcnemar(b, c) == pytest.approx(binomtest(b, b + c).pvalue, rel=1e-9)


def test_mcnemar_of_thousands() -> None:
    # normal approximation with continuity correction
    z = (3100 - 2900 - 1) / math.sqrt(6000)
    assert mcnemar(2900, 3100) == pytest.approx(math.erfc(z / math.sqrt(2)), rel=0.01)


def test_mcnemar_refuses_negative_counts() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        mcnemar(-1, 3)


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
    with pytest.raises(ValueError, match=r"lie in \[0, 1\]"):
        holm([1.2])


@pytest.mark.parametrize(("k", "n"), [(0, 10), (10, 10), (5, 10), (81, 263), (1, 1), (2, 900)])
def test_wilson(k: int, n: int) -> None:
    found, known = wilson(k, n), binomtest(k, n).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((known.low, known.high), abs=1e-9)


def test_wilson_of_nothing_and_nonsense() -> None:
    assert wilson(0, 0) == Interval(0.0, 1.0)
    with pytest.raises(ValueError, match="4 successes in 3 trials"):
        wilson(4, 3)
