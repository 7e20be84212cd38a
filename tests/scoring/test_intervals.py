"""Tests times and intervals: the forms of times, events against mir_eval, and overlaps against frames of scikit-learn."""

from __future__ import annotations

from typing import Any

import mir_eval
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import f1_score, jaccard_score

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.times import times_in

#: Spans on a grid of tenths of a second, so that frames are exact.
SPANS = st.lists(
    st.tuples(st.integers(0, 90), st.integers(1, 30)).map(lambda pair: (pair[0], pair[0] + pair[1])),
    min_size=1,
    max_size=4,
)
EVENTS = st.lists(st.integers(0, 400), min_size=1, max_size=12, unique=True)


def metric(called: str, /, **options: Any) -> Metric:
    return build_metric({"metric": called, **options}, "task.yaml:9")


def row(said: str | None, *targets: str) -> ScoredRow:
    return ScoredRow(Answer(said, "test"), targets, FilterContext(), "clip")


def written(spans: list[tuple[int, int]]) -> str:
    return ", ".join(f"{start / 10} - {end / 10} s" for start, end in spans)


def frames(spans: list[tuple[int, int]]) -> list[bool]:
    return [any(start <= frame < end for start, end in spans) for frame in range(130)]


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1:05", [65]),
        ("1h2m", [3720]),
        ("1.5 min", [90]),
        ("1,5 Minuten", [90]),
        ("65", [65]),
        ("01:02:03.5", [3723.5]),
        ("2 minutes 5 seconds", [125]),
        ("2 min and 5 s", [125]),
        ("1'05\"", [65]),
        ("90 ms", [0.09]),
        ("1分5秒", [65]),
        ("from 1:05 to 1:20", [65, 80]),
        ("1:05-1:20", [65, 80]),
        ("[65.5,80]", [65.5, 80]),
        ("between 65 and 80 seconds", [65, 80]),
        ("1 to 2 min", [60, 120]),
        ("10s-20s", [10, 20]),
        ("It starts early. Answer: 7 s", [7]),
        ("The answer is 1:05 to 1:10. I think this answer is right.", [65, 70]),
        ("From 1:05 to 1:10. This answer is approximate.", [65, 70]),
        ("Start = 65 s, End = 70 s", [65, 70]),
        ("**Start** = 65 s\n**End** = 70 s", [65, 70]),
        ("60 + 5 = 65 s", [65]),
        ("Some noise until 9 s. The answer is unclear.", []),
        ("from 1,234 s to 1,300 s", [1234, 1300]),
        ("1,234.5 s", [1234.5]),
        ("1.234,5 s", [1234.5]),
        ("1\u202f234 s", [1234]),
        ("1,234 to 1,300", [1234, 1300]),
        ("between 1,234 and 1,300", [1234, 1300]),
        ("[100,200]", [100, 200]),
        ("[[1,234],[300,400]]", [1, 234, 300, 400]),
        ("00:01:05,500 --> 00:01:10,000", [65.5, 70]),
        ("从1:05到1:10", [65, 70]),
        ("从12.5到20秒", [12.5, 20]),
        ("65到70秒", [65, 70]),
        ("5秒から10秒", [5, 10]),
        ("在1:05处", [65]),
        ("第2次在65秒", [65]),
        ("2个小时", [7200]),
        ("2个声音", []),
        ("from １：０５ to １：１０", [65, 70]),
        ("1：05到1：10", [65, 70]),
        ("1½ min", [90]),
        ("2 and a half minutes", [150]),
        ("2 minutes and a half", None),
        ("two minutes 5 seconds", None),
        ("2 thousand seconds", None),
        ("1,23,4 s", None),
        ("1:75", None),
        ("5m 1h", [300, 3600]),
        ("0.5 s, 1.5 s", [0.5, 1.5]),
        ("12s, 1m 2s and 3 min", [12, 62, 180]),
        ("MP3 at track5", []),
        ("soon", []),
    ],
)
def test_forms_of_times(text: str, seconds: list[float] | None) -> None:
    assert times_in(text) == seconds


@settings(max_examples=100, deadline=None)
@given(EVENTS, EVENTS, st.sampled_from([5, 15, 50]))
def test_event_f1_is_mir_evals(gold: list[int], said: list[int], tolerance: int) -> None:
    # half a step more, so that no distance equals the tolerance and rounding decides nothing
    window = (tolerance + 0.5) / 100
    rows = [row(", ".join(f"{time / 100} s" for time in said), *(str(time / 100) for time in gold))]
    known, _, _ = mir_eval.onset.f_measure(
        np.sort(np.array(gold) / 100), np.sort(np.array(said) / 100), window=window
    )
    assert metric("event_f1", tolerance=window).aggregate(rows) == pytest.approx(known)


@settings(max_examples=100, deadline=None)
@given(SPANS, SPANS)
def test_overlaps_are_those_of_frames(gold: list[tuple[int, int]], said: list[tuple[int, int]]) -> None:
    rows = [row(written(said), written(gold))]
    known = jaccard_score(frames(gold), frames(said), zero_division=0)
    assert metric("interval_iou").aggregate(rows) == pytest.approx(known)
    known = f1_score(frames(gold), frames(said), zero_division=0)
    assert metric("span_f1").aggregate(rows) == pytest.approx(known)
    best = max(jaccard_score(frames([span]), frames([said[0]]), zero_division=0) for span in gold)
    for threshold in (0.3, 0.5, 0.7):
        if abs(best - threshold) > 1e-9:
            found = metric("recall_at_iou", threshold=threshold).aggregate(rows)
            assert found == float(best >= threshold)


def test_targets_may_be_two_numbers_or_a_mapping() -> None:
    assert metric("interval_iou").score(row("1:05 to 1:20", "65", "80")) == 1
    assert metric("interval_iou").score(row("65 to 72.5 s", "{'start': 65.0, 'end': 80}")) == 0.5


def test_recall_looks_at_the_first_intervals() -> None:
    said = row("0-1 s, 10-20 s", "10", "20")
    assert metric("recall_at_iou").score(said) == 0
    assert metric("recall_at_iou", n=2).score(said) == 1


def test_no_interval_gets_nothing_and_a_gold_without_one_is_left_out() -> None:
    for name in ("interval_iou", "recall_at_iou", "span_f1", "event_f1", "time_match"):
        assert metric(name).score(row(None, "1", "2")) == 0, name
        assert metric(name).score(row("at noon", "1", "2")) == 0, name
        assert metric(name).score(row("1 to 2 s", "loud")) is None, name
    assert metric("interval_iou").score(row("20 to 10 s", "10", "20")) == 0
    assert metric("interval_iou").score(row("10 s", "10", "20")) == 0
    assert metric("interval_iou").score(row("1 to 2 s", "2", "1")) is None


def test_one_time_within_seconds() -> None:
    assert metric("time_match").score(row("at 1:05", "65.9")) == 1
    assert metric("time_match", tolerance=0.5).score(row("at 1:05", "65.9")) == 0
    assert metric("time_match").score(row("1:05 or 2:05", "65")) == 0


@pytest.mark.parametrize(
    ("name", "options"),
    [("recall_at_iou", {"threshold": 0}), ("recall_at_iou", {"n": 0}), ("time_match", {"tolerance": -1})],
)
def test_wrong_options_are_refused_by_line(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(MarathonError, match=f"task.yaml:9: metric '{name}': .* must be"):
        metric(name, **options)
