"""The counts that a run prints agree with each other: cached, asked and failed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from helpers import make_audiomarathon_data
from marathon_eval.cli.main import main
from marathon_eval.results.files import read_results

META = "GTZAN/concatenated_audio/music_genre_classification_meta.json"


def run(folder: Path, capsys: Any, *flags: str) -> tuple[int, str, dict[str, int]]:
    common = ["--model", "dummy", "--tasks", "gtzan", "--data_dir", str(folder / "data")]
    code = main([*common, "--use_cache", str(folder / "cache"), "-o", str(folder / "out"), *flags])
    printed = capsys.readouterr()
    return code, " ".join((printed.err + printed.out).split()), read_results(folder / "out")["cache"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven rows: three clips that cannot be decoded, a row with a bad gold, and three that are sound."""
    data = make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 7})
    rows = json.loads((data / META).read_text())
    rows[6]["answer_gt"] = "Z"
    (data / META).write_text(json.dumps(rows))
    for row in rows[:3]:
        next(data.rglob(Path(row["path"]).name)).write_bytes(b"no sound")
    return tmp_path


def test_failed_clips_are_no_answers_of_the_cache(folder: Path, capsys: Any) -> None:
    code, printed, cache = run(folder, capsys)
    assert code == 3
    assert "; 0 answers are in the cache; 4 rows cannot be asked" in printed
    assert re.search(r"3/3 answers, .*, 4 failed, ", printed)
    assert "0 failed" not in printed
    assert "0 answers from the cache, 3 asked" in printed
    assert "4 rows FAILED" in printed
    assert cache == {"hits": 0, "misses": 3}


def test_a_second_run_asks_nothing(folder: Path, capsys: Any) -> None:
    run(folder, capsys)
    _, printed, cache = run(folder, capsys)
    assert "3 answers from the cache, 0 asked" in printed
    assert cache == {"hits": 3, "misses": 0}


def test_a_sound_run_speaks_of_no_fault(tmp_path: Path, capsys: Any) -> None:
    make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 3})
    code, printed, _ = run(tmp_path, capsys)
    assert code == 0
    assert "failed" not in printed.lower()
    assert "cannot be asked" not in printed


CUTTER = '''"""Answers every second prompt up to its token limit."""

from marathon_eval.api.model import Model, Response


class Cutter(Model):
    def generate(self, requests):
        for number, request in enumerate(requests):
            yield request, Response("A", "length" if number % 2 else "stop")
'''


def test_answers_that_were_cut_are_counted(tmp_path: Path, capsys: Any) -> None:
    make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 5})
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "cutter.py").write_text(CUTTER)
    flags = ["--model", "cutter", "--include_path", str(tmp_path)]
    code, printed, _ = run(tmp_path, capsys, *flags)
    assert code == 0
    assert "2 answers were CUT at their token limit." in printed
    assert read_results(tmp_path / "out")["tasks"]["gtzan"]["n_cut"] == 2
    _, printed, _ = run(tmp_path, capsys)
    assert "CUT" not in printed
