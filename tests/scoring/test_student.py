"""Tests Student's t distribution against scipy."""

from __future__ import annotations

import pytest
from scipy.stats import t as known

from marathon_eval.scoring.student import t_quantile, t_tail


@pytest.mark.parametrize("df", [0.7, 1, 2.4, 5, 7.3, 100, 1e4, 1e6])
def test_tails_and_quantiles_are_those_of_scipy(df: float) -> None:
    for t in (-3.0, 0.0, 0.1, 1.0, 2.5, 10.0):
        assert t_tail(t, df) == pytest.approx(known.sf(t, df), abs=1e-8)
    for probability in (0.025, 0.5, 0.9, 0.975, 0.999):
        assert t_quantile(probability, df) == pytest.approx(known.ppf(probability, df), rel=1e-7, abs=1e-9)


def test_nonsense_is_refused() -> None:
    assert (t_tail(float("inf"), 3), t_tail(float("-inf"), 3)) == (0.0, 1.0)
    with pytest.raises(ValueError, match="above 0"):
        t_tail(1.0, 0)
    with pytest.raises(ValueError, match="between 0 and 1"):
        t_quantile(1.0, 3)
