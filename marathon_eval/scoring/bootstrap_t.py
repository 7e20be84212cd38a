"""Draws the bootstrap-t distribution of a metric under resampling of whole clusters.

Each draw is studentised by its own standard error (Efron & Tibshirani 1993, 12.5), so that the ends follow the skew of
error rates: a few clips with many errors carry most of the sum.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marathon_eval.scoring.student import t_quantile, t_tail

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Maps summed counts [draws, k] to metric values [draws].
Value = Callable[["NDArray[Any]"], "NDArray[Any]"]
#: Draws x clusters in memory at once as floats: 100 k cells are 0.8 MB.
_CELLS = 100_000
_DRAWS = 1000
#: Use this share of the nominal tail probability: with few clips the bootstrap underestimates skewed tails.
_TAILS = 0.8
#: A standard error below this is the rounding of a gradient, which leaves up to 3e-11 where all clusters are alike.
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Studentised:
    """Holds a metric's value, its standard error, and the sorted studentised values of the draws.

    Ends and tails are the wider of the draws' and of Student's t with `df` degrees of freedom: with few clusters
    the draws alone repeat what they saw.
    """

    value: float
    error: float
    draws: NDArray[Any]
    df: float

    def ends(self, level: float) -> tuple[float, float]:
        """Return the interval's ends; an infinite one if too few draws have an error of their own."""
        tail = _TAILS * (1 - level) / 2
        skip = math.floor(len(self.draws) * tail)
        t = t_quantile(1 - tail, self.df)
        low = max(t, float(self.draws[len(self.draws) - 1 - skip]))
        high = min(-t, float(self.draws[skip]))
        return self.value - low * self.error, self.value - high * self.error

    def tail(self, bound: float) -> float:
        """Return the one-sided p-value against a true value of at most `bound`."""
        t = (self.value - bound) / self.error
        beyond = int((self.draws >= t).sum())
        tail = max((1 + beyond) / (1 + len(self.draws)), t_tail(t, self.df))
        return min(1.0, tail / _TAILS)

    def mirrored(self) -> Studentised:
        """Return the same for the metric times -1."""
        return Studentised(-self.value, self.error, -self.draws[::-1], self.df)


def studentised(sums: NDArray[Any], value: Value, df: float, seed: int = 0) -> Studentised | None:
    """Resample clusters, given their summed counts [clusters, k]; None where the clusters do not differ."""
    import numpy as np

    clusters = len(sums)
    whole = sums.sum(axis=0, keepdims=True)
    centre = float(value(whole)[0])
    error = float(_errors(np.ones((1, clusters)), whole, sums, value)[0])
    if not error > _ROUNDING * max(1.0, abs(centre)):
        return None
    parts = []
    for weights in _weights(clusters, seed):
        drawn = weights @ sums
        off, errors = value(drawn) - centre, _errors(weights, drawn, sums, value)
        with np.errstate(divide="ignore", invalid="ignore"):
            parts.append(np.where(off == 0, 0.0, off / errors))
    draws = np.concatenate(parts)
    return Studentised(centre, error, np.sort(draws[~np.isnan(draws)]), df)


def _errors(weights: NDArray[Any], drawn: NDArray[Any], sums: NDArray[Any], value: Value) -> NDArray[Any]:
    """Return the standard error in each draw, by the metric's gradient at the draw's counts."""
    import numpy as np

    clusters = len(sums)
    gradient = np.empty_like(drawn)
    for column in range(drawn.shape[1]):
        step = np.zeros_like(drawn)
        step[:, column] = 1e-5 * (1 + np.abs(drawn[:, column]))
        gradient[:, column] = (value(drawn + step) - value(drawn - step)) / (2 * step[:, column])
    parts = gradient @ sums.T
    mean = (gradient * drawn).sum(axis=1) / clusters
    squares = (weights * parts**2).sum(axis=1) - clusters * mean**2
    # differences of rounding size are none: the draw repeats one cluster
    squares = np.where(squares > 1e-12 * clusters * mean**2, squares, 0.0)
    errors: NDArray[Any] = np.sqrt(squares * clusters / (clusters - 1))
    return errors


def _weights(clusters: int, seed: int) -> Iterator[NDArray[Any]]:
    """Yield how often each cluster is in each draw [draws, clusters], some draws at a time."""
    import numpy as np

    random = np.random.default_rng(seed)
    step = max(1, _CELLS // clusters)
    for at in range(0, _DRAWS, step):
        rows = min(step, _DRAWS - at)
        drawn = random.integers(0, clusters, (rows, clusters))
        drawn += np.arange(rows)[:, None] * clusters
        counts = np.bincount(drawn.ravel(), minlength=rows * clusters).reshape(rows, clusters)
        yield counts.astype(np.float64)
