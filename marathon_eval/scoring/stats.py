"""Computes p-values and sums by cluster: sign flips, Holm's correction, and the median's interval by ranks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEVEL = 0.95
#: Below this a p is not printed as a number, since it would read as 0.
_LEAST_P = 0.0001


@dataclass(frozen=True)
class Interval:
    """Holds a confidence interval, both ends included, in the metric's own unit."""

    low: float
    high: float


def p_text(p: float) -> str:
    """Return a p with four digits, or `<0.0001` where these would all be 0."""
    text = f"{p:.4f}"
    return f"<{_LEAST_P}" if float(text) == 0 else text


def cluster_sums(counts: NDArray[Any], clusters: Sequence[str]) -> NDArray[Any]:
    """Return counts added up per cluster [clusters, k], clusters in the order of their first row."""
    return _sums(counts, *_places(tuple(clusters)))


# all metrics of a task, one after the other, have the same rows
@lru_cache(maxsize=2)
def _places(clusters: tuple[str, ...]) -> tuple[NDArray[Any], int]:
    """Return the index of each row's cluster [n], which must not be changed, and the number of clusters."""
    import numpy as np

    places: dict[str, int] = {}
    place = np.fromiter((places.setdefault(name, len(places)) for name in clusters), np.intp, len(clusters))
    return place, len(places)


def _sums(counts: NDArray[Any], place: NDArray[Any], clusters: int) -> NDArray[Any]:
    import numpy as np

    columns = [np.bincount(place, column, clusters) for column in counts.T]
    return np.stack(columns, axis=1) if columns else np.zeros((clusters, 0))


def sign_flip(gains: Iterable[int]) -> float:
    """Return the exact two-sided p-value of clusters' gains, which under no effect have either sign (Fisher 1935).

    `gains` are, by cluster, the rows that the second run alone has right minus those that the first alone has right.
    The sum of all 2^k flips is counted by convolution. With one row per cluster this is McNemar's exact test.
    """
    import numpy as np

    signed = [gain for gain in gains if gain]
    found = [abs(gain) for gain in signed]
    total, seen = sum(found), abs(sum(signed))
    # chances[s]: of the sum s of the gains with a plus, so that the signed sum is 2 s - total
    chances = np.zeros(total + 1)
    chances[0] = 1.0
    for gain in found:
        with_plus = np.zeros(total + 1)
        with_plus[gain:] = chances[: total + 1 - gain]
        chances = (chances + with_plus) / 2
    extreme = np.abs(2 * np.arange(total + 1) - total) >= seen
    return min(1.0, float(chances[extreme].sum()))


def holm(pvalues: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in input order (Holm 1979). Raises ValueError outside [0, 1]."""
    if not all(0 <= p <= 1 for p in pvalues):
        raise ValueError(f"p-values lie in [0, 1]: {list(pvalues)}")
    adjusted = [0.0] * len(pvalues)
    largest = 0.0
    for rank, place in enumerate(sorted(range(len(pvalues)), key=pvalues.__getitem__)):
        largest = max(largest, min(1.0, (len(pvalues) - rank) * pvalues[place]))
        adjusted[place] = largest
    return adjusted


def median_interval(ordered: Sequence[float]) -> Interval | None:
    """Return an at least 95 % interval of the median of ascending values, by ranks alone; None below six values.

    The number of values below the median is binomial (n, 1/2), whatever their distribution: Conover 1999, 3.2.
    Beyond a thousand values the binomial is replaced by the normal distribution.
    """
    n = len(ordered)
    if n > 1000:
        rank = math.floor(n / 2 - NormalDist().inv_cdf((1 + _LEVEL) / 2) * math.sqrt(n) / 2)
    else:
        rank, term, below = 0, 1, 1
        while below * 2 <= (1 - _LEVEL) * (1 << n):
            rank += 1
            term = term * (n - rank + 1) // rank
            below += term
    return Interval(ordered[rank - 1], ordered[n - rank]) if rank else None
