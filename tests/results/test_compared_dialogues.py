"""Tests the comparison of dialogues that have a right answer for each turn: samples do not say which turn a reading reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import write_task
from marathon_eval.cli.main import main
from marathon_eval.results.compare import compare_runs
from marathon_eval.results.files import newest_run

KEYS = """doc_to_messages: turns
doc_to_target: golds
filter_list:
  - {name: one, turn: 1, filter: [{function: take_first}]}
  - {name: two, turn: 2, filter: [{function: take_first}]}
  - {name: last, turn: last, filter: [{function: take_first}]}
metric_list: [{metric: exact_match}, {metric: macro_f1}, {metric: majority}]
headline: {reading: last, metric: exact_match, scale: 100}
"""
#: Right answers of 30 rows of two turns, and of 10 of three.
GOLDS = [["x", "y"]] * 14 + [["y", "y"]] * 10 + [["y", "x"]] * 6 + [["x", "y", "x"]] * 10
PLACES = {"one": 0, "two": 1, "last": -1}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Two runs, of a model that always says x and of one that always says y."""
    folder = tmp_path_factory.mktemp("dialogues")
    rows = [
        {"turns": [f"{row}.{turn}?" for turn in range(len(golds))], "golds": golds}
        for row, golds in enumerate(GOLDS)
    ]
    task = str(write_task(folder, KEYS, rows))
    for answer in "xy":
        model = ["--model", "dummy", "--model_args", f"answer={answer}", "--no_cache"]
        assert main([*model, "--tasks", task, "--output_path", str(folder / answer)]) == 0
    return {answer: newest_run(folder / answer) for answer in "xy"}


def measured(runs: dict[str, Path], a: str, b: str) -> dict[str, Any]:
    readings = compare_runs(runs[a], runs[b])["tasks"]["own"]["readings"]
    return {name: reading["metrics"] for name, reading in readings.items()}


@pytest.mark.parametrize("reading", PLACES)
def test_each_reading_is_compared_by_the_right_answers_of_its_turn(
    runs: dict[str, Path], reading: str
) -> None:
    golds = [targets[PLACES[reading]] for targets in GOLDS]
    shares = {answer: golds.count(answer) / len(golds) for answer in "xy"}
    metrics = measured(runs, "x", "y")[reading]
    exact = metrics["exact_match"]
    assert (exact["a"], exact["b"]) == (pytest.approx(shares["x"]), pytest.approx(shares["y"]))
    assert exact["difference"] == pytest.approx(shares["y"] - shares["x"])
    assert exact["ci95"] is not None
    # of two labels, one is never said, so that the other has precision `share` and recall 1
    f1 = {answer: (2 * share / (1 + share)) / 2 for answer, share in shares.items()}
    assert metrics["macro_f1"]["difference"] == pytest.approx(f1["y"] - f1["x"])
    assert metrics["majority"]["a"] == pytest.approx(max(shares.values()))
    assert metrics["majority"]["difference"] == 0


def test_a_run_does_not_differ_from_itself(runs: dict[str, Path]) -> None:
    for metrics in measured(runs, "x", "x").values():
        assert {found["difference"] for found in metrics.values()} == {0.0}


def test_a_gate_measures_the_turn_of_the_headline(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shares = {answer: sum(golds[-1] == answer for golds in GOLDS) / len(GOLDS) for answer in "xy"}
    assert main(["compare", str(runs["x"]), str(runs["y"]), "--gate", "own>=-30"]) == 0
    assert f": {(shares['y'] - shares['x']) * 100:+.2f} (" in capsys.readouterr().out
