"""Tests the progress lines of a run: requests done, failures, and the forecast of the remaining time."""

from __future__ import annotations

import random
import re

import pytest

from marathon_eval.api.model import CachedResponse, Request, Response
from marathon_eval.evaluator.eta import ENOUGH, Forecast
from marathon_eval.evaluator.progress import LineProgress
from marathon_eval.evaluator.sweep import cells_told


def lengths(count: int) -> list[float]:
    """Clips as a run meets them, longest first: 300 s down to 3 s."""
    return [3 + 297 * (count - 1 - place) / (count - 1) for place in range(count)]


def told(clips: list[float], fixed: float, rate: float, load: float = 0.0, noise: float = 0.0) -> Forecast:
    draw = random.Random(0)
    forecast = Forecast()
    for place, clip in enumerate(clips):
        cost = (fixed + rate * clip) * (1 + noise * draw.uniform(-1, 1))
        forecast.add(clip, cost + (load if place == 0 else 0))
    return forecast


def test_at_first_the_rest_costs_as_its_audio() -> None:
    forecast = told([100.0] * (ENOUGH - 1), fixed=0.0, rate=0.02)
    assert forecast.left(10, 500.0) == pytest.approx(10.0)


def test_then_long_and_short_clips_cost_what_they_have_cost() -> None:
    clips = lengths(200)
    forecast = told(clips[:100], fixed=1.5, rate=0.02)
    rest = clips[100:]
    truth = 1.5 * len(rest) + 0.02 * sum(rest)
    assert forecast.left(len(rest), sum(rest)) == pytest.approx(truth)
    in_proportion = forecast.spent * sum(rest) / forecast.audio
    assert in_proportion < 0.75 * truth


def test_loading_the_weights_is_no_cost_of_a_clip() -> None:
    clips = lengths(200)
    forecast = told(clips[:100], fixed=1.5, rate=0.02, load=600.0)
    rest = clips[100:]
    assert forecast.left(len(rest), sum(rest)) == pytest.approx(1.5 * len(rest) + 0.02 * sum(rest))


def test_noise_leaves_it_near() -> None:
    clips = lengths(200)
    forecast = told(clips[:100], fixed=1.5, rate=0.02, noise=0.3)
    rest = clips[100:]
    assert forecast.left(len(rest), sum(rest)) == pytest.approx(1.5 * len(rest) + 0.02 * sum(rest), rel=0.15)


def test_answers_of_a_batch_share_its_time() -> None:
    clips, forecast = lengths(240), Forecast()
    for start in range(0, 120, 8):
        batch = clips[start : start + 8]
        forecast.add(batch[0], sum(1.5 + 0.02 * clip for clip in batch))
        for clip in batch[1:]:
            forecast.add(clip, 0.0)
    rest = clips[120:]
    assert forecast.left(len(rest), sum(rest)) == pytest.approx(1.5 * len(rest) + 0.02 * sum(rest), rel=0.01)


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        pytest.param([60.0] * 30, 2.0 / 60 * 50, id="one length: in proportion"),
        pytest.param([0.0] * 30, 2.0 * 5, id="no audio: per answer"),
    ],
)
def test_clips_of_one_length_give_no_line(clips: list[float], expected: float) -> None:
    forecast = Forecast()
    for clip in clips:
        forecast.add(clip, 2.0)
    assert forecast.left(5, 50.0) == pytest.approx(expected)


@pytest.mark.parametrize("rate", [-0.02, 0.5])
def test_no_part_of_the_cost_is_negative(rate: float) -> None:
    """A backend that grows faster, or a first stretch of luck, must not forecast less than nothing."""
    forecast = Forecast()
    for clip in lengths(60):
        forecast.add(clip, max(0.1, 7 + rate * (clip - 150)))
    fixed, slope = forecast.line()
    assert fixed >= 0
    assert slope >= 0
    left = forecast.left(100, 300.0)
    assert left is not None
    assert left > 0


def test_nothing_is_said_before_the_first_answer_and_nothing_is_left_after_the_last() -> None:
    assert Forecast().left(5, 100.0) is None
    assert told([60.0], 0, 0.1).left(0, 0.0) == 0


def test_no_time_is_told_from_the_answers_that_include_loading(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first batch of a sweep took a minute to load; 93,410 s were told from it."""
    clock = Clock()
    monkeypatch.setattr("marathon_eval.evaluator.progress.time.monotonic", clock)
    for first_batch in (1, 64):
        lines = LineProgress()
        lines.start(hits=0, misses=1000, seconds=100_000.0)
        clock.now += 60
        for _ in range(first_batch):
            lines.advance(CachedResponse(Request("?"), Response("A"), cached=False), 100.0)
        assert "left" not in lines.state()
        for _ in range(3):
            clock.now += 1
            lines.advance(CachedResponse(Request("?"), Response("A"), cached=False), 100.0)
        told_left = float(re.findall(r"about (\d+) s left", lines.state())[0])
        assert told_left == pytest.approx(1000 - first_batch - 3, rel=0.05)


class Clock:
    """time.monotonic, moved by hand."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_lines_tell_hours_failures_and_the_rest(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Clock()
    monkeypatch.setattr("marathon_eval.evaluator.progress.time.monotonic", clock)
    clips = [3600.0 - 30 * place for place in range(100)]
    lines = LineProgress()
    lines.start(hits=7, misses=100, seconds=sum(clips))
    for place, clip in enumerate(clips[:50]):
        clock.now += 2 + 0.01 * clip
        response = Response.failed("no memory") if place == 3 else Response("A")
        lines.advance(CachedResponse(Request("?"), response, cached=False), clip)
    state = lines.state()
    assert state.startswith(f"50/100 answers, {sum(clips[:50]) / 3600:.2f} h of {sum(clips) / 3600:.2f} h of")
    assert ", 1 failed, " in state
    truth = 2 * 50 + 0.01 * sum(clips[50:])
    assert float(re.findall(r"about (\d+) s left", state)[0]) == pytest.approx(truth, abs=1)
    clock.now += 10
    assert float(re.findall(r"about (\d+) s left", lines.state())[0]) == pytest.approx(truth - 10, abs=1)
    said = capsys.readouterr().err.splitlines()
    assert "running 100 requests" in said[0]
    assert "7 answers are in the cache" in said[0]
    # one line a minute, not one per answer
    assert 20 < len(said) < 50
    for clip in clips[50:]:
        lines.advance(CachedResponse(Request("?"), Response("A"), cached=False), clip)
    assert "left" not in lines.state()


def test_a_sweep_that_goes_on_names_its_complete_and_begun_cells(
    capsys: pytest.CaptureFixture[str],
) -> None:
    labels = ["none", "dart 0.3", "dart 0.5", "dart 0.7", "dart 0.9"]
    told = cells_told(labels, [0, 0, 4, 24, 24], 24)
    assert told == "2 of 5 cells are complete (none, dart 0.3), 1 is begun (dart 0.5)"
    assert cells_told(labels, [0, 0, 0, 0, 1], 24).startswith(
        "4 of 5 cells are complete (none, dart 0.3, dart 0.5 and 1 more), 1 is begun"
    )
    assert cells_told(labels, [1, 24, 24, 24, 24], 24) == "1 of 5 cells is begun (none)"
    assert cells_told(labels, [24] * 5, 24) == ""
    progress = LineProgress()
    progress.cells(told)
    progress.start(68, 52, 7.0)
    assert f"68 answers are in the cache: {told}" in capsys.readouterr().err
