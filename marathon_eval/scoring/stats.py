"""Computes intervals and p-values: bootstrap by clip, exact McNemar, Holm, Wilson, median by ranks.

Rows of one clip (or speaker) are not independent, so intervals resample clips and recompute the metric in each
draw: Efron & Tibshirani 1993, chapter 13; clusters as in Miller 2024, https://arxiv.org/abs/2411.00640.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The confidence level of every interval.
LEVEL = 0.95
#: Draws x clusters in memory at once as floats: 100 k cells are 0.8 MB.
_CELLS = 100_000
#: Largest table of draws that is cached for the next metric of a comparison; a larger one is drawn again.
_KEPT_BYTES = 64 << 20
#: Bytes of metrics' sums that are resampled together.
_HELD_BYTES = 16 << 20


@dataclass(frozen=True)
class Interval:
    """Holds a confidence interval, both ends included, in the metric's own unit."""

    low: float
    high: float


#: Maps summed counts [draws, k] to metric values [draws].
Value = Callable[["NDArray[Any]"], "NDArray[Any]"]


def bootstrap(
    counts: NDArray[Any], clusters: Sequence[str], value: Value, draws: int = 1000, seed: int = 0
) -> Interval | None:
    """Return the 95 % percentile interval of `value` under resampling of whole clusters.

    `counts` [n, k] are a metric's additive counts per row, `clusters` [n] names each row's clip, and `value` maps
    summed counts [draws, k] to metric values [draws]. Two runs are compared by giving the columns of both and a
    `value` that returns the difference: every draw then has the same clips for both. Draws without a value (nan) are
    left out. Returns None with fewer than two clusters, and where no draw has a value.
    """
    sums = cluster_sums(counts, clusters)
    return _intervals([(sums, value)], len(sums), _kept_weights(len(sums), draws, seed))[0]


def bootstraps(
    measures: Iterable[tuple[NDArray[Any], Value]], clusters: Sequence[str], draws: int = 1000, seed: int = 0
) -> list[Interval | None]:
    """Return `bootstrap` of several metrics over the same rows; they share the draws, which are not cached."""
    place, count = _places(clusters)
    intervals: list[Interval | None] = []
    waiting: list[tuple[NDArray[Any], Value]] = []
    for counts, value in measures:
        waiting.append((_sums(counts, place, count), value))
        if sum(sums.nbytes for sums, _ in waiting) > _HELD_BYTES:
            intervals += _intervals(waiting, count, _weights(count, draws, seed))
            waiting = []
    return intervals + _intervals(waiting, count, _weights(count, draws, seed))


def _intervals(
    measures: Sequence[tuple[NDArray[Any], Value]], clusters: int, drawn: Iterable[NDArray[Any]]
) -> list[Interval | None]:
    if clusters < 2 or not measures:
        return [None] * len(measures)
    import numpy as np

    resampled: list[list[NDArray[Any]]] = [[] for _ in measures]
    for weights in drawn:
        for parts, (sums, _) in zip(resampled, measures, strict=True):
            parts.append(weights @ sums)
    return [
        _interval(value(np.concatenate(parts))) for parts, (_, value) in zip(resampled, measures, strict=True)
    ]


def _interval(values: NDArray[Any]) -> Interval | None:
    import numpy as np

    values = values[~np.isnan(values)]
    if not len(values):
        return None
    tail = 100 * (1 - LEVEL) / 2
    low, high = np.percentile(values, [tail, 100 - tail])
    return Interval(float(low), float(high))


def cluster_sums(counts: NDArray[Any], clusters: Sequence[str]) -> NDArray[Any]:
    """Return counts added up per cluster [clusters, k], clusters in the order of their first row."""
    return _sums(counts, *_places(clusters))


def _places(clusters: Sequence[str]) -> tuple[NDArray[Any], int]:
    """Return the index of each row's cluster [n], and the number of clusters."""
    import numpy as np

    places: dict[str, int] = {}
    place = np.fromiter((places.setdefault(name, len(places)) for name in clusters), np.intp, len(clusters))
    return place, len(places)


def _sums(counts: NDArray[Any], place: NDArray[Any], clusters: int) -> NDArray[Any]:
    import numpy as np

    columns = [np.bincount(place, column, clusters) for column in counts.T]
    return np.stack(columns, axis=1) if columns else np.zeros((clusters, 0))


def _weights(clusters: int, draws: int, seed: int) -> Iterator[NDArray[Any]]:
    """Yield how often each cluster is in each draw [draws, clusters], some draws at a time."""
    import numpy as np

    random = np.random.default_rng(seed)
    step = max(1, _CELLS // clusters)
    for at in range(0, draws, step):
        rows = min(step, draws - at)
        drawn = random.integers(0, clusters, (rows, clusters))
        drawn += np.arange(rows)[:, None] * clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        yield counts.astype(np.float64)


def _kept_weights(clusters: int, draws: int, seed: int) -> Iterator[NDArray[Any]]:
    """Yield the same from a cached table: the metrics and readings of a comparison use the same draws in turn."""
    import numpy as np

    if draws * clusters * np.min_scalar_type(clusters).itemsize > _KEPT_BYTES:
        yield from _weights(clusters, draws, seed)
        return
    table, step = _table(clusters, draws, seed), max(1, _CELLS // clusters)
    yield from (table[at : at + step].astype(np.float64) for at in range(0, draws, step))


@lru_cache(maxsize=1)
def _table(clusters: int, draws: int, seed: int) -> NDArray[Any]:
    """Return all draws [draws, clusters], in the smallest integer type that fits."""
    import numpy as np

    table = np.empty((draws, clusters), dtype=np.min_scalar_type(clusters))
    at = 0
    for weights in _weights(clusters, draws, seed):
        table[at : at + len(weights)] = weights
        at += len(weights)
    return table


def mcnemar(b: int, c: int) -> float:
    """Return McNemar's exact two-sided p-value: `b` rows are right in the first run alone, `c` in the second.

    It is the binomial test of min(b, c) in b + c fair trials (McNemar 1947), in integers, so without rounding.
    Raises ValueError for negative counts.
    """
    if b < 0 or c < 0:
        raise ValueError(f"counts of disagreeing rows cannot be negative: {b}, {c}")
    trials, term, total = b + c, 1, 0
    for successes in range(min(b, c) + 1):
        total += term
        term = term * (trials - successes) // (successes + 1)
    return min(1.0, 2 * total / (1 << trials))


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


def wilson(k: int, n: int) -> Interval:
    """Return the 95 % Wilson score interval of `k` successes in `n` trials (Wilson 1927); [0, 1] when n is 0.

    Raises ValueError unless 0 <= k <= n.
    """
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes in {n} trials")
    if n == 0:
        return Interval(0.0, 1.0)
    z = NormalDist().inv_cdf((1 + LEVEL) / 2)
    rate, spread = k / n, z * z / n
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(rate * (1 - rate) / n + spread / (4 * n))
    # for k = 0 and k = n the exact ends are 0 and 1, which rounding must not exceed
    low = 0.0 if k == 0 else max(0.0, centre - half)
    high = 1.0 if k == n else min(1.0, centre + half)
    return Interval(low, high)


def median_interval(ordered: Sequence[float]) -> Interval | None:
    """Return an at least 95 % interval of the median of ascending values, by ranks alone; None below six values.

    The number of values below the median is binomial (n, 1/2), whatever their distribution: Conover 1999, 3.2.
    Beyond a thousand values the binomial is replaced by the normal distribution.
    """
    n = len(ordered)
    if n > 1000:
        rank = math.floor(n / 2 - NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(n) / 2)
    else:
        rank, term, below = 0, 1, 1
        while below * 2 <= (1 - LEVEL) * (1 << n):
            rank += 1
            term = term * (n - rank + 1) // rank
            below += term
    return Interval(ordered[rank - 1], ordered[n - rank]) if rank else None
