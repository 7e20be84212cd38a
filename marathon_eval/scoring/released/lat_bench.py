"""Reproduces LAT-Bench's released scorer of temporal grounding, examples/train/multimodal/eval/eval-TAG.py at 2fca544.

Source: https://github.com/alanshaoTT/LAT-Audio-Repo. It reads the first `MM:SS - MM:SS` of an answer without its square brackets, and
leaves answers without one out of every figure. Tests hold it against verdicts from running it.

lat_bench.iou      metric: mean intersection over union of the stated span and the right one
lat_bench.recall   metric: share of rows in which that is at least `threshold`
"""

from __future__ import annotations

import re
from collections.abc import Callable

from marathon_eval.api.metric import Mean, Metric, ScoredRow

_SPAN = re.compile(r"(\d+):(\d+)\s*-\s*(\d+):(\d+)")


def lat_bench_span(text: str) -> tuple[int, int] | None:
    """Return start and end in seconds of the first span that a text states; None without one."""
    found = _SPAN.search(re.sub(r"[\[\]]", "", text))
    if found is None:
        return None
    first, second, third, fourth = map(int, found.groups())
    return 60 * first + second, 60 * third + fourth


def lat_bench_iou(said: str, target: str) -> float | None:
    """Return the intersection over union of two stated spans, 0 if one ends before it starts; None where one is absent."""
    stated, gold = lat_bench_span(said), lat_bench_span(target)
    if stated is None or gold is None:
        return None
    (start, end), (gold_start, gold_end) = stated, gold
    if start >= end or gold_start >= gold_end:
        return 0.0
    shared = max(0, min(end, gold_end) - max(start, gold_start))
    return shared / (end - start + gold_end - gold_start - shared)


def _score(row: ScoredRow) -> float | None:
    return lat_bench_iou(row.answer.value or "", row.label)


def lat_bench_mean_iou() -> Metric:
    """Build the mean intersection over union over rows whose answer states a span."""
    return Mean("iou", _score, counts_unscored=True, share=True)


def lat_bench_recall(threshold: float = 0.5) -> Metric:
    """Build the share of rows whose intersection over union reaches `threshold`, over rows whose answer states a span."""

    def score(row: ScoredRow) -> float | None:
        iou = _score(row)
        return None if iou is None else float(iou >= threshold)

    return Mean("recall", score, counts_unscored=True, share=True)


LAT_BENCH_METRICS: dict[str, Callable[..., Metric]] = {
    "lat_bench.iou": lat_bench_mean_iou,
    "lat_bench.recall": lat_bench_recall,
}
