"""Tests docs/metrics.md: every task on the page runs, and its figures are those counted by hand."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest

from helpers.called_command import called
from helpers.documented_files import write_files
from helpers.tiny_checkpoints import make_whisper

PAGE = Path(__file__).resolve().parents[2] / "docs" / "metrics.md"
#: Figures by run: the metrics of the task's one reading.
FIGURES = {
    "de": {"wer": (2 + 6) / 13, "cer": None},
    "zh": {"cer": (1 + 5) / 9},
    "sets": {"set_f1": (1 / 2 + 2 / 3) / 2, "jaccard": (1 / 3 + 1 / 2) / 2, "exact_set": 0},
    "numbers": {"number_match": 1 / 2, "mae": (10 + 868.5) / 2},
    "spans": {"interval_iou": 1 / 2, "recall_at_iou": 1 / 2},
    "forms": {"rows": 1, "rules": 1, "rules_loose": 1},
    "own": {"keyword_share": 1 / 2, "token_f1": 4 / 8},
}


def commands() -> list[str]:
    text = PAGE.read_text(encoding="utf-8")
    return [line.strip() for line in text.splitlines() if line.startswith("    marathon-eval ")]


@pytest.mark.timeout(300)
def test_the_page_from_top_to_bottom(tmp_path: Path) -> None:
    write_files(PAGE, tmp_path)
    whisper = make_whisper(tmp_path / "whisper", multilingual=True)
    for command in commands():
        command = command.replace("openai/whisper-small", str(whisper))
        done = called(shlex.split(command)[1:], tmp_path, {"MARATHON_EVAL_CACHE": str(tmp_path / "cache")})
        assert done.returncode == 0, f"{command}: {done.stderr}"
    for name, figures in FIGURES.items():
        results = json.loads(next((tmp_path / "runs" / name).rglob("results.json")).read_text())
        (task,) = results["tasks"].values()
        (reading,) = task["readings"]
        for metric, value in figures.items():
            if value is not None:
                assert task[reading][metric]["value"] == pytest.approx(value), (name, metric)
        assert task["n_unscored"] == {}


def test_the_own_metric_has_six_lines() -> None:
    block = PAGE.read_text(encoding="utf-8").split("```python mine/metrics/keyword_share.py\n")[1]
    assert len(block.split("```")[0].splitlines()) == 6
