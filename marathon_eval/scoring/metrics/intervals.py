"""Compares times and intervals in audio: temporal IoU, recall at an IoU, F1 of spans in seconds and of events.

Times are read by times.py; intervals are pairs of them, as in "from 1:05 to 1:20" or a target `[65, 80]`. Recall at IoU is
that of temporal grounding (Gao et al. 2017, https://arxiv.org/abs/1705.02101), event F1 that of mir_eval's onsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.times import times_in

#: Start and end in seconds.
Span = tuple[float, float]


def spans_in(texts: Sequence[str]) -> list[Span] | None:
    """Return the intervals of texts; None without any, for an odd number of times, and for an end before its start."""
    times: list[float] = []
    for text in texts:
        found = times_in(text)
        if found is None:
            return None
        times += found
    spans = [*zip(times[::2], times[1::2], strict=False)]
    if not times or len(times) % 2 or any(end <= start for start, end in spans):
        return None
    return spans


def _merged(spans: Sequence[Span]) -> list[Span]:
    """Return the same stretches of time without overlaps, in order."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _seconds(spans: Sequence[Span]) -> float:
    return sum(end - start for start, end in _merged(spans))


def _shared(first: Sequence[Span], second: Sequence[Span]) -> float:
    return sum(
        max(0.0, min(end, other_end) - max(start, other_start))
        for start, end in _merged(first)
        for other_start, other_end in _merged(second)
    )


def temporal_iou(first: Sequence[Span], second: Sequence[Span]) -> float:
    """Return the seconds that two sets of intervals share over the seconds that either has."""
    shared = _shared(first, second)
    return shared / (_seconds(first) + _seconds(second) - shared)


def _of_spans(name: str, value: Callable[[Sequence[Span], Sequence[Span]], float]) -> Metric:
    """Build a mean of `value(said, gold)`; an answer without intervals gets 0, a row without gold ones is left out."""

    def score(row: ScoredRow) -> float | None:
        gold = spans_in(row.targets)
        if gold is None:
            return None
        said = spans_in([row.answer.value or ""])
        return 0.0 if said is None else value(said, gold)

    return Mean(name, score, counts_unscored=True, share=True)


def interval_iou() -> Metric:
    """Build the mean temporal IoU; several intervals of an answer or gold count together."""
    return _of_spans("interval_iou", temporal_iou)


def recall_at_iou(threshold: float = 0.5, n: int = 1) -> Metric:
    """Build R@n, IoU >= threshold: the share of rows in which one of the first n intervals overlaps a gold one so far."""
    if not 0 < threshold <= 1 or n < 1:
        raise MarathonError(
            f"threshold: must be above 0 and at most 1, and n at least 1, got {threshold} and {n}"
        )

    def value(said: Sequence[Span], gold: Sequence[Span]) -> float:
        return float(any(temporal_iou([one], [other]) >= threshold for one in said[:n] for other in gold))

    return _of_spans("recall_at_iou", value)


def span_f1() -> Metric:
    """Build the mean F1 of said and gold seconds: 2 shared / (said + gold)."""
    return _of_spans(
        "span_f1", lambda said, gold: 2 * _shared(said, gold) / (_seconds(said) + _seconds(gold))
    )


def matched_events(first: Sequence[float], second: Sequence[float], tolerance: float) -> int:
    """Return how many times of two lists can be paired within the tolerance, each once."""
    one, other, pairs = sorted(first), sorted(second), 0
    place = 0
    for time in one:
        # in order, taking the earliest free partner leaves most for those that follow
        while place < len(other) and other[place] < time - tolerance:
            place += 1
        if place < len(other) and other[place] <= time + tolerance:
            pairs, place = pairs + 1, place + 1
    return pairs


def _gold_times(row: ScoredRow) -> list[float] | None:
    found = [times_in(target) for target in row.targets]
    return [time for times in found for time in times or ()] if all(found) else None


def _checked(tolerance: float) -> float:
    if not 0 <= tolerance < float("inf"):
        raise MarathonError(f"tolerance: must be seconds from 0, got {tolerance}")
    return tolerance


def event_f1(tolerance: float = 0.5) -> Metric:
    """Build the mean F1 of said and gold times, paired within `tolerance` seconds."""
    seconds = _checked(tolerance)

    def score(row: ScoredRow) -> float | None:
        gold = _gold_times(row)
        if not gold:
            return None
        said = times_in(row.answer.value or "") or []
        return 2 * matched_events(said, gold, seconds) / (len(said) + len(gold))

    return Mean("event_f1", score, counts_unscored=True, share=True)


def time_match(tolerance: float = 1.0) -> Metric:
    """Build the share of rows that state one time, and within `tolerance` seconds of a gold one."""
    seconds = _checked(tolerance)

    def score(row: ScoredRow) -> float | None:
        gold = _gold_times(row)
        if not gold:
            return None
        said = times_in(row.answer.value or "") or []
        return float(len({*said}) == 1 and any(abs(said[0] - time) <= seconds for time in gold))

    return Mean("time_match", score, counts_unscored=True, share=True)


INTERVAL_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory for factory in (interval_iou, recall_at_iou, span_f1, event_f1, time_match)
}
