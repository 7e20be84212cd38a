"""Computes 95 % intervals of metrics and of paired differences, by cluster; every interval shown comes from here.

Shares (accuracy, F1) have Wilson's interval on the effective number of rows; differences of shares have Bonett's
and Price's (2012, doi.org/10.3102/1076998611411915) on the same; error rates have a bootstrap-t. Rows of one clip or
speaker depend on each other, so variances are those of a jackknife over clusters (Miller 2024, arXiv 2411.00640),
with Student's t for their few degrees of freedom. `scripts/bench statistics` prints the coverage by simulation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from marathon_eval.scoring.bootstrap_t import Studentised, Value, studentised
from marathon_eval.scoring.stats import cluster_sums
from marathon_eval.scoring.student import t_quantile, t_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: The confidence level of every interval.
LEVEL = 0.95
#: Fewer clusters have no interval.
FEWEST_CLUSTERS = 6
#: Fewer rows have no interval of F1 or of an error rate.
FEWEST_ROWS = 24
#: Why a baseline such as `chance` has no interval: of these rows it is known exactly.
OF_NO_ANSWER = "no answer enters it"
#: The level of Wilson's critical value: at 0.95 coverage swings with n and p down to 0.936 (Brown et al. 2001).
_WILSON_LEVEL = 0.96
#: Degrees of freedom for the normal distribution: the two rows that Bonett and Price add are allowance enough.
_MANY = 1e6
#: 5 % quantiles of a gamma variable of shape 0, 1, 2 and 3: the least mean that so few events allow.
_FEW_EVENTS = (0.0, 0.0513, 0.3554, 0.8177)


@dataclass(frozen=True)
class Estimate:
    """Holds a 95 % interval in the metric's own unit; or None, and `reason` why nothing can be said."""

    ci95: tuple[float, float] | None
    reason: str | None = None


class _Spread(NamedTuple):
    """Holds a metric's value and its variance by cluster, `degrees` (of freedom), and the numbers of both units."""

    value: float
    variance: float
    rows: int
    clusters: int
    degrees: float

    def too_small(self, few_rows_suffice: bool) -> str:
        """Return the reason not to show an interval, with what there is of what is needed."""
        return too_few(self.clusters, self.rows, few_rows_suffice)


def has_interval(clusters: int, rows: int, few_rows_suffice: bool) -> bool:
    """Return whether so many rows, from so many clips or clusters, are enough for an interval.

    `few_rows_suffice`: the metric is a mean of one share per row, as accuracy is, and needs no more rows than clusters.
    """
    return clusters >= FEWEST_CLUSTERS and (few_rows_suffice or rows >= FEWEST_ROWS)


def too_few(clusters: int, rows: int, few_rows_suffice: bool = True) -> str:
    """Return that so many rows, from so many clips or clusters, are too few to say anything; where known, of how many."""
    if not few_rows_suffice and rows < FEWEST_ROWS:
        return f"n too small ({rows} of {FEWEST_ROWS} rows)"
    unit = "rows" if clusters == rows else "clusters"
    return f"n too small ({clusters}{f' of {FEWEST_CLUSTERS}' if clusters < FEWEST_CLUSTERS else ''} {unit})"


def metric_interval(
    counts: NDArray[Any], clusters: Sequence[str], value: Value, share: bool, rowwise: bool = False
) -> Estimate:
    """Return the interval of a metric.

    `counts` [n, k] are its additive counts per row, `clusters` [n] names each row's clip or speaker, and `value` maps
    summed counts [draws, k] to values [draws]. `share`: it lies between 0 and 1, as accuracy and F1 do; `rowwise`: it
    is the mean of a number of each row.
    """
    counts, clusters = _counted(counts, clusters)
    sums, sizes = _by_cluster(counts, clusters)
    found = _spread(sums, sizes, counts, value)
    if found is None:
        return Estimate(None, "no value")
    if not has_interval(found.clusters, found.rows, share and rowwise):
        return Estimate(None, found.too_small(share and rowwise))
    if share and not 0 <= found.value <= 1:
        # a class of a user's may say so of any numbers
        return Estimate(None, f"{found.value:g} is no share, which lies between 0 and 1")
    if share:
        variance = found.variance * (found.clusters - 1) / found.clusters
        n = _effective(found.rows, found.clusters, found.value * (1 - found.value), variance)
        return Estimate(wilson(found.value, n, found.degrees))
    drawn = studentised(sums, value, found.degrees)
    return _of_draws(drawn, found, f"the same in all {found.clusters} clips")


def wilson(share: float, n: float, degrees: float | None = None) -> tuple[float, float]:
    """Return the 95 % interval of a share of `n` effective rows (Wilson 1927), with Student's t for the normal.

    Where up to three rows are right or wrong, the end beyond them is widened as Brown, Cai & DasGupta 2001 (10.1214/ss/1009213286)
    do, because Wilson's own covers too little there. Raises ValueError for a share outside [0, 1] or n <= 0.
    """
    if not (0 <= share <= 1 and n > 0):
        raise ValueError(f"a share lies in [0, 1], and n is above 0: {share}, {n}")
    t = t_quantile((1 + _WILSON_LEVEL) / 2, max(1.0, n - 1) if degrees is None else degrees)
    extra = t * t / n
    centre = (share + extra / 2) / (1 + extra)
    half = t / (1 + extra) * math.sqrt(share * (1 - share) / n + extra / (4 * n))
    low = min(centre - half, _least(share * n) / n)
    high = max(centre + half, 1 - _least((1 - share) * n) / n)
    return max(0.0, low), min(1.0, high)


def _least(events: float) -> float:
    """Return the one-sided 95 % lower Poisson bound for 0-3 events, interpolated; inf, for more, means: don't widen."""
    place = min(math.floor(events), len(_FEW_EVENTS) - 1)
    if events > len(_FEW_EVENTS) - 1 + 1e-9:
        return math.inf
    after = _FEW_EVENTS[min(place + 1, len(_FEW_EVENTS) - 1)]
    return _FEW_EVENTS[place] + (events - place) * (after - _FEW_EVENTS[place])


def count_interval(k: int, n: int) -> Estimate:
    """Return the interval of `k` of `n` independent rows. Raises ValueError unless 0 <= k <= n."""
    if not 0 <= k <= n:
        raise ValueError(f"{k} successes in {n} trials")
    return Estimate(None, too_few(n, n)) if n < FEWEST_CLUSTERS else Estimate(wilson(k / n, n))


class PairedShare(NamedTuple):
    """Holds a difference of two shares after Bonett and Price: one pseudo-row is added to each discordant cell.

    `flips` is the share of rows that differ; None: not one differs, and the rule of three bounds the difference.
    """

    difference: float
    flips: float | None
    n: float
    degrees: float

    def ends(self, level: float) -> tuple[float, float]:
        """Return the interval's ends, within -1 and 1."""
        if self.flips is None:
            bound = min(1.0, 3 / self.n)
            return -bound, bound
        t = t_quantile((1 + level) / 2, self.degrees)
        centre, error = self._adjusted()
        return max(-1.0, centre - t * error), min(1.0, centre + t * error)

    def tail(self, bound: float) -> float:
        """Return the one-sided p-value against a true difference of at most `bound`."""
        if self.flips is None:
            # the largest P(no discordant row among n) if a share of at least -bound of rows truly flips
            return (1 - min(1.0, -bound)) ** self.n if bound < 0 else 1.0
        centre, error = self._adjusted()
        return t_tail((centre - bound) / error, self.degrees)

    def mirrored(self) -> PairedShare:
        """Return the same for the first run minus the second."""
        return self._replace(difference=-self.difference)

    def _adjusted(self) -> tuple[float, float]:
        n = self.n + 2
        centre = self.difference * self.n / n
        flips = ((self.flips or 0.0) * self.n + 2) / n
        return centre, math.sqrt(max(flips - centre * centre, 1 / n) / n)


#: The distribution of a paired difference, or the reason why nothing can be said of it.
KnownDifference: TypeAlias = "PairedShare | Studentised | str"


def paired(
    first: NDArray[Any],
    second: NDArray[Any],
    clusters: Sequence[str],
    value: Value,
    share: bool,
    rowwise: bool,
    within_one: bool = False,
) -> KnownDifference:
    """Return what is known of the difference second - first, from counts [n, k] of the same rows in the same order.

    The other arguments are those of `metric_interval`. With `within_one`, values of single rows differ by about 1 at most, as
    error rates do: where all rows differ alike, or none does, the difference is bounded as that of shares.
    """
    import numpy as np

    width = first.shape[1]

    def change(sums: NDArray[Any]) -> NDArray[Any]:
        return value(sums[:, width:]) - value(sums[:, :width])

    counts, clusters = _counted(np.hstack([first, second]), clusters)
    sums, sizes = _by_cluster(counts, clusters)
    found = _spread(sums, sizes, counts, change)
    if found is None:
        return "no value"
    if not has_interval(found.clusters, found.rows, share and rowwise):
        return found.too_small(share and rowwise)
    same = np.array_equal(counts[:, :width], counts[:, width:])
    if not share:
        drawn = studentised(sums, change, found.degrees)
        if drawn is not None or not within_one or abs(found.value) > 1:
            told = "no row differs" if same else "all differ alike"
            return drawn or f"{told} among {found.clusters} clips"
        if not same:
            return PairedShare(found.value, found.value**2, found.clusters, found.degrees)
    if same:
        return PairedShare(0.0, None, found.clusters, found.degrees)
    row = _jackknifed(change, counts) * found.rows
    n = _effective(found.rows, found.clusters, row, found.variance)
    degrees = _MANY if found.clusters == found.rows else found.degrees
    return PairedShare(found.value, row + found.value**2, n, degrees)


def paired_interval(known: KnownDifference) -> Estimate:
    """Return the 95 % interval of a paired difference."""
    if isinstance(known, str):
        return Estimate(None, known)
    ends = known.ends(LEVEL)
    return Estimate(ends) if all(map(math.isfinite, ends)) else Estimate(None, "n too small")


def _of_draws(drawn: Studentised | None, found: _Spread, same: str) -> Estimate:
    if drawn is None:
        return Estimate(None, same)
    ends = drawn.ends(LEVEL)
    return Estimate(ends) if all(map(math.isfinite, ends)) else Estimate(None, found.too_small(True))


def _counted(counts: NDArray[Any], clusters: Sequence[str]) -> tuple[NDArray[Any], Sequence[str]]:
    """Leave out rows without any count: the metric does not apply to them, so they are no part of its n."""
    import numpy as np

    used = np.asarray(counts.any(axis=1))
    if used.all():
        return counts, clusters
    return counts[used], [name for name, use in zip(clusters, used.tolist(), strict=True) if use]


class _Clusters(NamedTuple):
    """Holds the counts summed by cluster [clusters, k], and how many rows each cluster has [clusters]."""

    sums: NDArray[Any]
    sizes: NDArray[Any]


def _by_cluster(counts: NDArray[Any], clusters: Sequence[str]) -> _Clusters:
    import numpy as np

    both = cluster_sums(np.column_stack([counts, np.ones(len(counts))]), clusters)
    return _Clusters(np.ascontiguousarray(both[:, :-1]), both[:, -1])


def _spread(sums: NDArray[Any], sizes: NDArray[Any], counts: NDArray[Any], value: Value) -> _Spread | None:
    """Return value and variance; None without a value. Unequal clusters count as fewer (Kish)."""

    if not len(sums):
        return None
    whole = float(value(sums.sum(axis=0, keepdims=True))[0])
    if math.isnan(whole):
        return None
    alike = float(sizes.sum() ** 2 / (sizes**2).sum())
    # one more is lost where the design effect, too, is estimated
    lost = 1 if len(sums) == len(counts) else 2
    return _Spread(whole, _jackknifed(value, sums), len(counts), len(sums), max(1.0, alike - lost))


def _jackknifed(value: Value, parts: NDArray[Any]) -> float:
    """Return the variance of the value over `parts` [m, k], each left out in turn (Efron & Tibshirani 1993, 11)."""
    import numpy as np

    left = value(parts.sum(axis=0) - parts)
    left = left[~np.isnan(left)]
    if not len(left):
        return 0.0
    return float(((left - left.mean()) ** 2).sum() * (len(left) - 1) / len(left))


def _effective(rows: int, clusters: int, row_variance: float, variance: float) -> float:
    """Return the number of independent rows with the same variance, at most `rows`.

    Where no spread is seen it is unknown, and a cluster counts as one row.
    """
    if variance <= 1e-15 or row_variance <= 1e-15:
        return clusters
    return min(float(rows), row_variance / variance)
