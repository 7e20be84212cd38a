"""Tests that a sweep divides no seconds of different batch sizes by each other, and says so."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import tiny_checkpoints
from helpers.multi_question_task import QUESTIONS, data
from marathon_eval.cli.main import main
from marathon_eval.evaluator.sweep_costs import Costs


def costs_of(*seconds_and_batch: tuple[float, int | None]) -> Costs:
    """Costs of documents that one session timed."""
    costs = Costs()
    for doc_id, (seconds, batch) in enumerate(seconds_and_batch):
        details: dict[str, Any] = {"session": "s"} if batch is None else {"session": "s", "batch": batch}
        costs.add({"doc_id": doc_id, "status": "ok", "usage": {"prefill_s": seconds, "details": details}})
    return costs


def test_a_pair_has_one_batch_size() -> None:
    base = costs_of((1.0, 4), (1.0, 4), (1.0, 4), (1.0, 4))
    one_by_one = costs_of((2.0, 1), (2.0, 1), (2.0, 1), (2.0, 1))
    assert one_by_one.speedup(base) is None
    assert one_by_one.unlike_batches(base) == "1 at once, without a press 4"
    alike = costs_of((0.5, 4), (0.5, 4), (0.5, 4), (0.5, 4))
    assert alike.speedup(base) == 2.0
    assert alike.unlike_batches(base) is None
    # documents of a last, smaller batch may be alike
    assert costs_of((9.0, 1), (0.25, 4)).speedup(base) == 4.0
    assert costs_of((9.0, 1), (0.25, 4)).unlike_batches(base) is None


def test_models_without_batches_are_compared() -> None:
    assert costs_of((1.0, None)).speedup(costs_of((3.0, None))) == 3.0
    assert costs_of((1.0, None)).unlike_batches(costs_of((3.0, None))) is None


def test_nothing_is_said_where_nothing_was_timed_together() -> None:
    assert Costs().unlike_batches(costs_of((1.0, 4))) is None


@pytest.mark.parametrize(("size", "unlike"), [(2, ["knorm 0.5", "knorm 0.9"]), (1, [])])
def test_the_command_names_the_cells(
    size: int, unlike: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint, folder = (
        tiny_checkpoints.make_qwen_omni(tmp_path / "tiny"),
        data(tmp_path, questions=QUESTIONS[:2]),
    )
    asked = ["--model", "qwen_omni", "--model_args", f"pretrained={checkpoint},device=cpu"]
    asked += ["--batch_size", str(size), "--tasks", str(folder / "heard.yaml"), "--data_dir", str(folder)]
    asked += ["--use_cache", str(tmp_path / "cache"), "--output_path", str(tmp_path / "out")]
    assert main(["sweep", *asked, "--presses", "none,frame,knorm", "--ratios", "0.5,0.9"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    cells = json.loads((tmp_path / "out" / "sweep.json").read_text())["tasks"]["heard"]
    without = [label for label, cell in cells.items() if cell["unlike_batches"] is not None]
    assert without == unlike
    for label, cell in cells.items():
        assert (cell["measured_speedup"] is None) == (label in ("none", *unlike))
    said = "No speed-up of knorm 0.5, knorm 0.9: answered 1 at once, without a press 2"
    assert (said in printed) == bool(unlike)
