"""Tests a split without gold answers: it is asked, nothing is scored, and its submission file is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from helpers import make_air_bench_mmar_data


def test_a_split_without_gold_answers_is_asked_and_its_submission_written(tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmau(tmp_path / "data")
    unanswered = [{key: value for key, value in row.items() if key != "answer"} for row in rows]
    (tmp_path / "data" / "mmau-test.json").write_text(json.dumps(unanswered))
    command = [sys.executable, "-m", "marathon_eval"]
    flags = ["--data_dir", str(tmp_path / "data")]
    asked = [*command, "--model", "dummy", "--model_args", "answer=kettle", "--tasks", "mmau_test", *flags]
    out = ["--output_path", str(tmp_path / "out"), "--no_cache"]
    ran = subprocess.run([*asked, *out], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stderr
    (results,) = (tmp_path / "out").rglob("results.json")
    task = json.loads(results.read_text())["tasks"]["mmau_test"]
    assert (task["n_scored"], task["coverage"]) == (len(rows), 1.0)
    assert {metric["value"] for metric in task["strict"].values()} == {None}
    official = ["score", str(results.parent), "--export", "official", *flags, "--output_path", str(tmp_path)]
    assert subprocess.run([*command, *official], capture_output=True, check=False).returncode == 0
    submission = json.loads((tmp_path / "mmau_predictions.json").read_text())
    assert [row["id"] for row in submission] == [row["id"] for row in rows]
    assert {row["model_output"] for row in submission} == {"kettle"}
