"""Scores ranked lists of labels against the relevant ones, which are the row's targets: MRR, hits, AP and nDCG.

Answers are read as label_sets.py reads them; a label counts at its first place. Relevance is 0 or 1. Manning, Raghavan
and Schütze 2008, chapter 8.4 (https://nlp.stanford.edu/IR-book/).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.label_sets import gold_labels, listed_labels

#: Computes a value from the relevance of each place, and the number of relevant labels.
_Ranked = Callable[[Sequence[bool], int], float]


def _metric(name: str, value: _Ranked) -> Metric:
    def score(row: ScoredRow) -> float | None:
        gold = {*gold_labels(row)}
        if not gold:
            return None
        ranked = listed_labels(row.answer.value, row) if row.answer.value is not None else []
        return value([label in gold for label in ranked], len(gold))

    return Mean(name, score, counts_unscored=True, share=True)


def _places(k: int) -> int:
    if k < 1:
        raise MarathonError(f"k: must be at least 1, got {k}")
    return k


def mrr() -> Metric:
    """Build the mean reciprocal rank of the first relevant label; 0 where none is listed."""
    return _metric("mrr", lambda hits, n: 1 / (hits.index(True) + 1) if True in hits else 0.0)


def hits_at_k(k: int = 1) -> Metric:
    """Build the share of rows with a relevant label among the first k."""
    places = _places(k)
    return _metric("hits_at_k", lambda hits, n: float(any(hits[:places])))


def average_precision() -> Metric:
    """Build the mean over rows of average precision; a relevant label that is not listed adds 0."""

    def value(hits: Sequence[bool], n: int) -> float:
        return sum(sum(hits[: place + 1]) / (place + 1) for place, hit in enumerate(hits) if hit) / n

    return _metric("average_precision", value)


def ndcg(k: int = 10) -> Metric:
    """Build the mean normalised discounted cumulative gain of the first k labels."""
    places = _places(k)

    def value(hits: Sequence[bool], n: int) -> float:
        gain = sum(1 / math.log2(place + 2) for place, hit in enumerate(hits[:places]) if hit)
        return gain / sum(1 / math.log2(place + 2) for place in range(min(n, places)))

    return _metric("ndcg", value)


RANKING_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory for factory in (mrr, hits_at_k, average_precision, ndcg)
}
