"""Tests what reviewers do beyond removing rows: relabel, dispute, and judge without seeing the answer."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import make_audiomarathon_data
from marathon_eval.corpus.audit.expected import load_known
from marathon_eval.corpus.audit.review_page import page, review_sample
from marathon_eval.corpus.audit.survey import survey


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marathon_eval", "review", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_audiomarathon_data.build(tmp_path / "data", {"tau": 200})


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows_of(folder: Path) -> list[dict[str, Any]]:
    file = folder / "TAU/concatenated_resampled/acoustic_scene_task_meta.json"
    content: list[dict[str, Any]] = json.loads(file.read_text())
    return content


def key_of(row: dict[str, Any]) -> str:
    return f"TAU/concatenated_resampled/{row['path']}"


def relabels(path: Path, *entries: dict[str, str]) -> Path:
    verdicts = [{"task": "tau", "reason": "", **entry} for entry in entries]
    path.write_text(json.dumps({"schema_version": 2, "verdicts": verdicts}))
    return path


def test_a_row_is_relabelled_in_the_form_of_its_old_answer(data: Path, tmp_path: Path) -> None:
    row = rows_of(data)[3]
    other = next(letter for letter in "abcd" if letter.upper() != row["answer_gt"])
    right = row[f"choice_{other}"]
    entry = {"row": key_of(row), "verdict": "relabel", "answer": right}
    done = run(str(data), "--verdicts", str(relabels(tmp_path / "v.json", entry)))
    assert done.returncode == 0, done.stderr
    assert f"relabelled: {key_of(row)}" in done.stdout
    after = rows_of(data)
    assert after[3] == {**row, "answer_gt": other.upper() if len(row["answer_gt"]) == 1 else right}
    assert len(after) == 200
    before = contents(data)
    wrong = run(str(data), "--verdicts", str(relabels(tmp_path / "w.json", {**entry, "answer": "a lake"})))
    assert wrong.returncode == 2
    assert "'a lake' is none of the options" in wrong.stderr
    assert contents(data) == before


def test_two_reviewers_are_merged_and_what_they_dispute_stays(data: Path, tmp_path: Path) -> None:
    rows = rows_of(data)[:10]
    first = [{"row": key_of(row), "verdict": "reject" if n < 4 else "accept"} for n, row in enumerate(rows)]
    second = [{"row": key_of(row), "verdict": "reject" if n < 2 else "accept"} for n, row in enumerate(rows)]
    second[9]["verdict"] = "unsure"
    paths = [relabels(tmp_path / "1.json", *first), relabels(tmp_path / "2.json", *second)]
    done = run(str(data), "--verdicts", *map(str, paths))
    assert done.returncode == 0, done.stderr
    # 7 of 10 agree; by chance 0.4 * 0.2 + 0.6 * 0.7 = 0.5
    assert "agree on 7 of 10 rows (70.0%), Cohen's kappa 0.40" in done.stdout
    assert done.stdout.count("reviewers differ") == 3
    assert len(rows_of(data)) == 198
    alone = relabels(tmp_path / "3.json", {"row": key_of(rows_of(data)[50]), "verdict": "accept"})
    apart = run(str(data), "--verdicts", str(paths[0]), str(alone))
    assert (apart.returncode, "no row in common" in apart.stderr) == (2, True)


def test_the_answer_is_hidden_until_a_verdict(data: Path) -> None:
    found = survey(data, load_known())
    text = page(found, review_sample(found, 0.1, 42), data, 0.1, 42).decode()
    style = text.partition("</style>")[0]
    assert "article[class] li.right" in style
    assert "\n  li.right" not in style
    assert "<article id=" in text
    assert "class=" not in text.partition("<article id=")[2].partition(">")[0]
