"""Makes clips for the demonstration model, and counts how many of them each cell of a sweep answers correctly."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]

from demo.waves import write
from marathon_eval.api.results import RunResult
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell
from nano import testset
from nano.pieces import SOUNDS
from nano.questions import row

SECONDS = 40.0


def events(folder: Path, count: int, between: tuple[float, float]) -> Path:
    """Write a copy of desed's layout whose events all occur in one part of the clip; (0, 1) is the whole clip."""
    random = np.random.default_rng(7)
    place = testset.LAYOUT["event"]
    rows = []
    for number in range(count):
        label = SOUNDS[number % len(SOUNDS)]
        write(folder / place.clips / f"{number}.wav", testset.events(random, label, SECONDS, between))
        question = row(random, "event", label, "Which of these sounds can be heard in the recording?")
        rows.append({"path": f"{number}.wav", **question, "task_type": "nano", "uniq_id": number})
    (folder / place.metadata).write_text(json.dumps({"tasks": rows}), encoding="utf-8")
    return folder


def right(
    folder: Path, presses: Sequence[str], ratios: Sequence[float], layers: Sequence[int] = ()
) -> dict[str, int]:
    """Count the right answers of each cell, by its label."""
    found: dict[str, int] = {}

    def count(cell: SweepCell, result: RunResult) -> None:
        samples = result.samples["desed"]
        assert result.whole
        found[cell.label] = sum(int(sample.readings["strict"].scores["accuracy"] or 0) for sample in samples)

    config = RunConfig(
        model="qwen_omni",
        tasks=("desed",),
        model_args={"pretrained": "nano", "device": "cpu"},
        data_dir=str(folder),
        no_cache=True,
    )
    assert sweep(config, Grid(tuple(presses), tuple(ratios), tuple(layers)), count)
    return found
