"""Tests docs/metrics.md: every task on the page runs, and its figures are those counted by hand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest

from helpers.called_command import called
from helpers.documented_files import write_files
from helpers.minimal_task import KEYS, make_task
from helpers.tiny_checkpoints import make_whisper
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.build import build_metric, metric_names

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


def test_the_names_in_results_are_those_of_the_metrics() -> None:
    section = PAGE.read_text(encoding="utf-8").split("## Names in results\n")[1].split("\n## ")[0]
    rows = [line.strip("| ").split(" | ") for line in section.splitlines() if line.startswith("| `")][1:]
    told: dict[str, set[str]] = {}
    for typed, shown in rows:
        names, keys = (re.findall(r"`([\w.]+)`", cell) for cell in (typed, shown))
        alone = len(names) == len(keys)
        told |= {name: {keys[place]} if alone else set(keys) for place, name in enumerate(names)}
    options = {"blab.frames": {"kind": "entity"}}
    found: dict[str, set[str]] = {}
    for name in metric_names():
        key = build_metric({"metric": name, **options.get(name, {})}, "here", {"language": "en"}).name
        if key != name:
            found[name] = {key}
    for average in ("weighted", "binary"):
        entry = {"metric": "audiomarathon.f1", "average": average}
        found["audiomarathon.f1"].add(build_metric(entry, "here").name)
    assert {name: keys - {"weighted", "binary"} for name, keys in told.items()} == found


def test_two_metrics_of_one_name_are_told_why(tmp_path: Path) -> None:
    two = KEYS + "metric_list: [{metric: macro_f1}, {metric: audiomarathon.f1}]\n"
    said = "'macro_f1' is there twice for 'none', which audiomarathon.f1 is called in results: give one of the two another name"
    with pytest.raises(MarathonError, match=re.escape(said)):
        make_task(tmp_path, two)
    named = make_task(tmp_path, two.replace("audiomarathon.f1", "audiomarathon.f1, name: released"))
    assert [metric.name for metric in named.readings["none"].metrics] == ["macro_f1", "released"]


def test_the_own_metric_has_six_lines() -> None:
    block = PAGE.read_text(encoding="utf-8").split("```python mine/metrics/keyword_share.py\n")[1]
    assert len(block.split("```")[0].splitlines()) == 6
