"""Tests that figures of error rates, of which less is better and which may exceed 100, show all runs and the best of them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from marathon_eval.api.results import MetricValue, TaskResult
from marathon_eval.report import plots
from marathon_eval.report.curves import curves, tradeoffs
from marathon_eval.report.runs import ReportRun


def run(label: str, ratio: float, rate: float) -> ReportRun:
    """Return a run with this word error rate."""
    task = TaskResult(
        "heard",
        {"said": {"wer": MetricValue(rate)}},
        *(9, 9, 0, 0, 9, {}, 0),
        headline={"reading": "said", "metric": "wer", "scale": 100},
        metrics={"said": {"wer": {"metric": "wer"}}},
    )
    found: ReportRun = SimpleNamespace(  # type: ignore[assignment]  # the figures read no more of a run
        label=label, series="dart", ratio=ratio, press="dart" if ratio else None, tasks={"heard": task}
    )
    return found


RUNS = [run("none", 0, 0.2), run("dart 0.5", 0.5, 0.3), run("dart 0.7", 0.7, 1.4), run("dart 0.9", 0.9, 0.9)]
SECONDS = {"none": 4.0, "dart 0.5": 2.0, "dart 0.7": 3.0, "dart 0.9": 1.0}


def test_of_error_rates_the_front_joins_the_lowest() -> None:
    items = tradeoffs(RUNS, SECONDS, ["heard"])
    assert {item.label: item.front for item in items} == {
        "dart 0.9": True,
        "dart 0.5": True,
        "dart 0.7": False,
        "none": True,
    }


@pytest.mark.parametrize("figure", ["ratio", "pareto"])
def test_an_error_rate_above_100_is_inside_the_axes(figure: str) -> None:
    found = curves(RUNS, ["heard"])
    assert found is not None
    drawn = (
        plots.ratio_curves(found, "heard")
        if figure == "ratio"
        else plots.pareto(tradeoffs(RUNS, SECONDS, ["heard"]), ["dart"])
    )
    assert drawn.axes[0].get_ylim()[1] > 140
