"""Computes Student's t distribution for any real degrees of freedom, with numbers of Python alone.

The tail is a regularised incomplete beta function, by Lentz's continued fraction (Press et al. 2007, Numerical
Recipes, 6.4). SciPy has the same functions and serves as the tests' oracle: its import would cost a run 1.7 s.
"""

from __future__ import annotations

import math
from functools import lru_cache

_SMALLEST = 1e-300
#: Terms of the continued fraction; it needs about the square root of the larger parameter.
_TERMS = 10_000


def t_tail(t: float, df: float) -> float:
    """Return the probability that a t variable with `df` degrees of freedom is at least `t`.

    Raises ValueError unless df is above 0.
    """
    if not df > 0:
        raise ValueError(f"degrees of freedom are above 0, got {df}")
    if math.isinf(t):
        return 0.0 if t > 0 else 1.0
    half = _beta_share(df / (df + t * t), df / 2, 0.5) / 2
    return half if t >= 0 else 1 - half


@lru_cache(maxsize=4096)
def t_quantile(probability: float, df: float) -> float:
    """Return the value that a t variable stays below with this probability, by bisection.

    Raises ValueError unless the probability lies between 0 and 1.
    """
    if not 0 < probability < 1:
        raise ValueError(f"a probability lies between 0 and 1, got {probability}")
    if probability < 0.5:
        return -t_quantile(1 - probability, df)
    low, high = 0.0, 1.0
    while t_tail(high, df) > 1 - probability:
        low, high = high, 2 * high
    for _ in range(100):
        middle = (low + high) / 2
        if middle in (low, high):
            # neighbouring numbers: the interval does not shrink any more
            break
        if t_tail(middle, df) > 1 - probability:
            low = middle
        else:
            high = middle
    return (low + high) / 2


def _beta_share(x: float, a: float, b: float) -> float:
    """Return the regularised incomplete beta function I_x(a, b)."""
    if x <= 0 or x >= 1:
        return float(x >= 1)
    log_front = math.lgamma(a + b) - math.lgamma(a) - math.lgamma(b) + a * math.log(x) + b * math.log1p(-x)
    if x < (a + 1) / (a + b + 2):
        return math.exp(log_front) * _fraction(x, a, b) / a
    return 1 - math.exp(log_front) * _fraction(1 - x, b, a) / b


def _fraction(x: float, a: float, b: float) -> float:
    """Return the continued fraction of I_x(a, b), which converges fast for x < (a + 1) / (a + b + 2)."""
    above, below = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = below
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        change = 1.0
        for factor in (even, odd):
            below = 1 / _away_from_zero(1 + factor * below)
            above = _away_from_zero(1 + factor / above)
            change = above * below
            value *= change
        if abs(change - 1) < 1e-15:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _SMALLEST else _SMALLEST
