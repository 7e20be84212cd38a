"""Tests `export`: a plain copy of a data set asks the same questions on the same sounds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_other_benchmarks as made
from helpers.minimal_task import load


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marathon_eval", "export", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("whole_folder", [False, True])
def test_a_copy_of_parquet_is_plain_and_equal(tmp_path: Path, whole_folder: bool) -> None:
    made.mmau_hub(tmp_path / "hub")
    first, second = sorted((tmp_path / "hub" / "data").glob("*.parquet"))
    if whole_folder:
        for number, path in enumerate((first, second)):
            path.rename(tmp_path / "hub" / "data" / f"test-0000{number}-of-00002.parquet")
        (tmp_path / "hub" / "mmau_hub.yaml").unlink()
    done = run(str(tmp_path / "hub" if whole_folder else first), str(tmp_path / "plain"))
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "plain" / "rows.jsonl").read_text().splitlines()]
    assert len(rows) == (9 if whole_folder else 4)
    assert f"{len(rows)} rows, {len(rows)} audio files" in done.stdout
    assert rows[0]["context"] == "audio/0.wav"
    text = made.MMAU_HUB.replace("parquet", "jsonl", 1).replace('"data/test_mini-*.parquet"', "rows.jsonl")
    (tmp_path / "plain" / "plain.yaml").write_text(text + made.METRICS)
    docs = load(tmp_path / "plain" / "plain.yaml").docs().docs
    for number, doc in enumerate(docs):
        assert doc.error is None
        assert doc.audio[0].samples(made.RATE) == pytest.approx(made.noise(number), abs=1e-4)


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    made.mmau_hub(tmp_path / "hub")
    path = next((tmp_path / "hub" / "data").glob("*.parquet"))
    (tmp_path / "plain").mkdir()
    (tmp_path / "plain" / "rows.jsonl").touch()
    for words, said in (
        ((str(path), str(tmp_path / "plain")), "exists already"),
        ((str(tmp_path / "hub" / "mmau_hub.yaml"), str(tmp_path / "x")), "the format must be one of"),
        (("./nowhere", str(tmp_path / "x")), "nowhere"),
    ):
        wrong = run(*words)
        assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
        assert said in wrong.stderr
