"""Tests `--export lm_eval`: the files of a run in lm-eval's format."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from marathon_eval.cli.main import main
from marathon_eval.results.files import newest_run

#: Top keys of a results file that lm-eval 0.4.13 wrote for a dummy model, less those that only its own set-up can fill.
KEYS = {
    "results",
    "group_subtasks",
    "configs",
    "versions",
    "n-shot",
    "higher_is_better",
    "n-samples",
    "config",
}
KEYS |= {"git_hash", "date", "transformers_version", "lm_eval_version", "model_source", "model_name"}
KEYS |= {"model_name_sanitized", "total_evaluation_time_seconds"}
ROW = {"doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics"}
ROW |= {"doc_hash", "prompt_hash", "target_hash"}


def test_results_and_samples_have_its_names_and_our_numbers(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 8, "librispeech": 2})
    flags = ["--model", "dummy", "--tasks", "gtzan,librispeech", "--data_dir", str(data)]
    assert main([*flags, "--output_path", str(tmp_path / "out"), "--export", "lm_eval"]) == 0
    run = newest_run(tmp_path / "out")
    ours = json.loads((run / "results.json").read_text())["tasks"]
    (file,) = (run / "lm_eval").glob("results_*.json")
    found = json.loads(file.read_text())
    assert set(found) == KEYS
    strict = ours["gtzan"]["strict"]["accuracy"]
    assert found["results"]["gtzan"]["accuracy,strict"] == strict["value"]
    low, high = strict["ci95"]
    assert found["results"]["gtzan"]["accuracy_stderr,strict"] == pytest.approx((high - low) / 3.92)
    assert found["n-samples"]["gtzan"] == {"original": 8, "effective": 8}
    assert found["higher_is_better"]["gtzan"]["accuracy"] is True
    assert found["higher_is_better"]["librispeech"]["mean_wer"] is False
    (samples,) = (run / "lm_eval").glob("samples_gtzan_*.jsonl")
    rows = [json.loads(line) for line in samples.read_text().splitlines()]
    assert len(rows) == 8 * len(ours["gtzan"]["readings"]), (
        "a row for every reading, as there for every filter"
    )
    for row in rows:
        assert set(row) == ROW | set(row["metrics"])
        assert row["resps"] == [["A"]]
    mine = [row for row in rows if row["filter"] == "strict"]
    assert sum(row["accuracy"] for row in mine) / 8 == pytest.approx(strict["value"])


def test_a_group_names_its_tasks(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", 6)
    flags = ["--model", "dummy", "--tasks", "audiomarathon", "--data_dir", str(data)]
    # 3: classes are balanced, and error rows of so little data lower the coverage
    assert main([*flags, "--output_path", str(tmp_path / "out"), "--export", "lm_eval"]) in (0, 3)
    (file,) = (tmp_path / "out").rglob("lm_eval/results_*.json")
    assert sorted(json.loads(file.read_text())["group_subtasks"]["audiomarathon"]) == sorted(
        make_audiomarathon_data.NOMINAL
    )


def test_it_needs_a_place(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "dummy", "--tasks", "gtzan", "--export", "lm_eval"]) == 2
    assert "--export: give --output_path" in capsys.readouterr().err
