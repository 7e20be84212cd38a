"""Computes, before a run, which loss a task's rows and clips can show: the smallest with a power of 80 %.

A loss is shown where the 95 % interval of the paired difference (intervals.py) leaves out 0. Before any answer is known
two things are assumed: a tenth of the answers flips even where nothing is lost, as measured for presses that cost
little, and flips within a clip or speaker correlate by 0.3.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

from marathon_eval.scoring.intervals import FEWEST_CLUSTERS, LEVEL
from marathon_eval.scoring.student import t_quantile

#: Share of answers that flip without a loss, correlation of flips within a cluster, and the wanted power.
FLIPPING, CORRELATION, POWER = 0.1, 0.3, 0.8


def least_loss(clusters: Sequence[str]) -> float | None:
    """Return the smallest loss of accuracy (0 to 1) that is shown with 80 % power; None where no loss is.

    `clusters` [n] names each row's clip or speaker.
    """
    sizes = Counter(clusters).values()
    if len(sizes) < FEWEST_CLUSTERS:
        return None
    squares = sum(size * size for size in sizes)
    n = len(clusters) / (1 + (squares / len(clusters) - 1) * CORRELATION)
    alone = len(sizes) == len(clusters)
    probability = (1 + LEVEL) / 2
    critical = (
        NormalDist().inv_cdf(probability)
        if alone
        else t_quantile(probability, max(1.0, len(clusters) ** 2 / squares - 2))
    )
    reach = critical + NormalDist().inv_cdf(POWER)
    return _bisected(n, reach)


def _bisected(n: float, reach: float) -> float | None:
    """Return the least loss whose expected difference is `reach` standard errors; None if not even 1 is."""
    low, high = 0.0, 1.0
    if not _shown(high, n, reach):
        return None
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (low, middle) if _shown(middle, n, reach) else (middle, high)
    return high


def _shown(loss: float, n: float, reach: float) -> bool:
    """Return whether Bonett's and Price's interval is expected to leave out 0 by enough."""
    centre = loss * n / (n + 2)
    flips = (max(FLIPPING, loss) * n + 2) / (n + 2)
    return centre >= reach * math.sqrt(max(flips - centre * centre, 1 / (n + 2)) / (n + 2))
