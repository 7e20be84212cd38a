"""Simulates how often a 95 % interval covers the true value, and how often a test without an effect is significant.

Accuracy is drawn from binomials; pairs, clusters and word errors from latent normals, so that rows of a cluster have the
stated correlation. Coverage below 0.93 and type-I error above 0.06 are marked; a cell whose runs say "n too small" says
so. Usage: scripts/bench statistics [--runs 500]. The script prints figures and does not fail on them.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import NormalDist
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

sys.path[:0] = [str(Path(__file__).resolve().parents[2])]

from marathon_eval.api.metric import Mean, Metric
from marathon_eval.scoring.intervals import Estimate, metric_interval, paired, paired_interval
from marathon_eval.scoring.metrics.classification import LabelF1, label_counts
from marathon_eval.scoring.metrics.wer import CorpusWER
from marathon_eval.scoring.stats import cluster_sums, sign_flip

SIZES, SHARES = (8, 24, 40, 100), (0.5, 0.8, 0.9, 0.95, 0.99)
#: Clusters and rows in each.
CLUSTERED = ((6, 22), (9, 22), (12, 4), (20, 10), (40, 3))
CORRELATION, LOSS, AGREEMENT = 0.3, 0.045, 0.7
LEAST_COVERED, MOST_SIGNIFICANT = 0.93, 0.06
ACCURACY, F1, WER = Mean("accuracy", lambda row: None, share=True), LabelF1("macro"), CorpusWER("none")
NORMAL = NormalDist()

Draw = Callable[[np.random.Generator], tuple[NDArray[Any], list[str]]]


class Covered(NamedTuple):
    """Counts a cell's runs with an interval, those that cover the truth, and the median width."""

    shown: int
    covered: int
    width: float


def right(random: np.random.Generator, clusters: int, rows: int, shares: tuple[float, ...]) -> NDArray[Any]:
    """Draw right answers [n, runs] of runs with these accuracies; rows of a cluster correlate in the latent scale."""
    alike = CORRELATION if rows > 1 else 0.0

    def normals(count: int) -> NDArray[Any]:
        own = random.normal(size=(count, len(shares)))
        return AGREEMENT**0.5 * random.normal(size=(count, 1)) + (1 - AGREEMENT) ** 0.5 * own

    latent = alike**0.5 * np.repeat(normals(clusters), rows, axis=0)
    latent += (1 - alike) ** 0.5 * normals(clusters * rows)
    bounds = [NORMAL.inv_cdf(share) for share in shares]
    return (latent < np.array(bounds)).astype(float)


def names(clusters: int, rows: int) -> list[str]:
    return [str(place // rows) for place in range(clusters * rows)]


def hits(column: NDArray[Any]) -> NDArray[Any]:
    """Return the counts [n, 2] of an accuracy."""
    return np.stack([column, np.ones(len(column))], axis=1)


def labelled(random: np.random.Generator, column: NDArray[Any], labels: int) -> NDArray[Any]:
    """Return the counts of macro-F1 for right and wrong answers among so many labels."""
    gold = random.integers(0, labels, len(column))
    other = (gold + random.integers(1, labels, len(column))) % labels
    said = np.where(column > 0, gold, other)
    return label_counts([*map(str, gold)], [*map(str, said)], [*map(str, range(labels))])


def words(random: np.random.Generator, n: int, skew: float) -> NDArray[Any]:
    """Return errors and words [n, 2] of clips whose error rates vary, about 10 %, as a gamma variable."""
    lengths = random.integers(20, 300, n)
    return np.stack([random.poisson(lengths * random.gamma(skew, 0.1 / skew, n)), lengths], axis=1).astype(
        float
    )


def coverage(estimates: Iterator[Estimate], truth: float) -> Covered:
    """Count the intervals and those that hold the truth."""
    ends = [found.ci95 for found in estimates if found.ci95 is not None]
    covered = sum(low <= truth <= high for low, high in ends)
    return Covered(len(ends), covered, float(np.median([b - a for a, b in ends])) if ends else 0.0)


def told(name: str, found: Covered, runs: int) -> str:
    """Return a cell's line."""
    if found.shown < runs / 2:
        return f"{name:<58} n too small"
    share = found.covered / found.shown
    mark = "" if share >= LEAST_COVERED else "  below"
    hidden = "" if found.shown == runs else f", none in {1 - found.shown / runs:.0%}"
    return f"{name:<58} {share:.3f}   width {found.width:.3f}{hidden}{mark}"


def single(draw: Draw, metric: Metric, runs: int, truth: float | None = None) -> Covered:
    """Measure the intervals of one metric; the truth is taken from many rows where it is not known."""
    random = np.random.default_rng(1)
    if truth is None:
        whole = sum(draw(np.random.default_rng([2, part]))[0].sum(axis=0) for part in range(4000))
        truth = float(metric.value(np.array([whole]))[0])
    drawn = (draw(random) for _ in range(runs))
    found = (
        metric_interval(counts, groups, metric.value, metric.share, metric.rowwise)
        for counts, groups in drawn
    )
    return coverage(found, truth)


def difference(clusters: int, rows: int, share: float, loss: float, runs: int) -> Covered:
    """Measure the intervals of paired differences of accuracy."""
    random, groups = np.random.default_rng(3), names(clusters, rows)

    def one() -> Estimate:
        both = right(random, clusters, rows, (share, share - loss))
        first, second = hits(both[:, 0]), hits(both[:, 1])
        return paired_interval(paired(first, second, groups, ACCURACY.value, True, True))

    return coverage((one() for _ in range(runs)), -loss)


def f1_difference(n: int, labels: int, share: float, runs: int) -> Covered:
    """Measure the intervals of paired differences of macro-F1 without an effect."""
    random, groups = np.random.default_rng(4), names(n, 1)

    def one() -> Estimate:
        both, seed = right(random, n, 1, (share, share)), int(random.integers(1 << 30))
        first, second = (labelled(np.random.default_rng([seed, 1]), both[:, run], labels) for run in (0, 1))
        return paired_interval(paired(first, second, groups, F1.value, True, False))

    return coverage((one() for _ in range(runs)), 0.0)


def wer_difference(n: int, skew: float, runs: int) -> Covered:
    """Measure the intervals of paired differences of WER, where the second run has a fifth more errors."""
    random, groups = np.random.default_rng(5), names(n, 1)

    def one() -> Estimate:
        first = words(random, n, skew)
        second = first + np.stack([random.binomial(first[:, 0].astype(int), 0.2), np.zeros(n)], axis=1)
        return paired_interval(paired(first, second, groups, WER.value, False, False))

    return coverage((one() for _ in range(runs)), 0.02)


def significant(clusters: int, rows: int, share: float, runs: int) -> float:
    """Return how often the sign-flip test finds an effect where there is none, at 0.05."""
    random, groups = np.random.default_rng(6), names(clusters, rows)
    found = 0
    for _ in range(runs):
        both = right(random, clusters, rows, (share, share))
        gains = cluster_sums(both[:, 1:] - both[:, :1], groups)[:, 0]
        found += sign_flip([int(gain) for gain in gains]) <= 0.05
    return found / runs


def lines(runs: int) -> Iterator[str]:
    """Measure every cell."""
    yield "accuracy, rows alone"
    for n in SIZES:
        for p in SHARES:
            drawn: Draw = lambda random, n=n, p=p: (hits(right(random, n, 1, (p,))[:, 0]), names(n, 1))
            yield told(f"n={n} p={p}", single(drawn, ACCURACY, runs, p), runs)
    yield f"accuracy, clusters with latent correlation {CORRELATION}"
    for clusters, rows in CLUSTERED:
        for p in SHARES:
            drawn = lambda random, c=clusters, r=rows, p=p: (
                hits(right(random, c, r, (p,))[:, 0]),
                names(c, r),
            )
            yield told(f"{clusters} clusters x {rows} p={p}", single(drawn, ACCURACY, runs, p), runs)
    yield "paired difference of accuracy"
    for clusters, rows in (*((n, 1) for n in SIZES), *CLUSTERED):
        for p in SHARES:
            for loss in (0.0, LOSS):
                found = difference(clusters, rows, p, loss, runs)
                yield told(f"{clusters} clusters x {rows} p={p}, {100 * loss:.1f} points lost", found, runs)
    yield "macro-F1 (labels L)"
    for n in SIZES:
        for labels in (2, 4, 10):
            for p in SHARES[:-1]:
                drawn = lambda random, n=n, p=p, labels=labels: (
                    labelled(random, right(random, n, 1, (p,))[:, 0], labels),
                    names(n, 1),
                )
                yield told(f"n={n} L={labels} p={p}", single(drawn, F1, runs), runs)
                found = f1_difference(n, labels, p, runs)
                yield told(f"n={n} L={labels} p={p}, paired difference", found, runs)
    yield "WER, rates by a gamma variable of this shape"
    for n in SIZES:
        for shape in (2.0, 1.0):
            drawn = lambda random, n=n, shape=shape: (words(random, n, shape), names(n, 1))
            yield told(f"n={n} shape={shape}", single(drawn, WER, runs), runs)
            yield told(f"n={n} shape={shape}, paired difference", wer_difference(n, shape, runs), runs)
    yield f"sign-flip test at 0.05, latent correlation {CORRELATION}: significant without an effect"
    for clusters, rows in CLUSTERED:
        for p in SHARES:
            share = significant(clusters, rows, p, runs)
            mark = "" if share <= MOST_SIGNIFICANT else "  above"
            yield f"{f'{clusters} clusters x {rows} p={p}':<58} {share:.3f}{mark}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=500, help="simulated runs a cell (default 500)")
    for line in lines(parser.parse_args().runs):
        print(line, flush=True)


if __name__ == "__main__":
    main()
