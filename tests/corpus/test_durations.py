"""Tests durations from headers: the figures, the written files, and that no audio is decoded."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from helpers import make_audiomarathon_data, make_source_corpora
from helpers.built_recipe import at_test_rate
from marathon_eval.corpus.audit.durations import (
    Lengths,
    TimedFile,
    analysed,
    as_csv,
    as_svg,
    of_folder,
    outliers,
    summary,
)
from marathon_eval.corpus.audit.expected import load_known
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.errors import MarathonError


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marathon_eval", "durations", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@given(st.lists(st.floats(0.01, 1000), min_size=1, max_size=50))
def test_figures_are_numpy_s(seconds: list[float]) -> None:
    found = summary(seconds)
    assert found["count"] == len(seconds) == sum(found["histogram"].values())
    for name, value in (
        ("mean", np.mean(seconds)),
        ("median", np.median(seconds)),
        ("std", np.std(seconds)),
        ("p25", np.percentile(seconds, 25)),
        ("p99", np.percentile(seconds, 99)),
        ("total", np.sum(seconds)),
    ):
        assert found[name] == pytest.approx(value, abs=2e-6)


def test_bins_hold_their_lower_edge() -> None:
    found = summary([89.999, 90, 119.9, 120, 299, 300, 600, 5000])
    assert found["histogram"] == {
        "60-90": 1,
        "90-120": 2,
        "120-180": 1,
        "180-300": 1,
        "300-600": 1,
        "600-1800": 1,
        "3600-7200": 1,
    }
    assert found["share_90_to_300"] == pytest.approx(5 / 8)
    assert summary([]) == {"count": 0, "total": 0.0}


def test_outliers_lie_outside_one_and_a_half_quartile_ranges() -> None:
    files = [
        TimedFile("t", f"{n}", seconds) for n, seconds in enumerate([100, 101, 102, 103, 104, 105, 10, 400])
    ]
    assert [file.seconds for file in outliers(files)] == [10, 400]
    assert outliers(files[:3]) == []


def test_a_built_data_set_per_class_and_speaker(tmp_path: Path) -> None:
    for name in ("tau", "vox_gender"):
        build(at_test_rate(name), Order(make_source_corpora.CORPORA[name](tmp_path / name), tmp_path / "out"))
    figures = analysed(of_folder(tmp_path / "out", load_known()))
    assert {task: entry["count"] for task, entry in figures["tasks"].items()} == {"tau": 3, "vox_gender": 3}
    assert {name: entry["total"] for name, entry in figures["tasks"]["tau"]["per_class"].items()} == {
        "metro": 120,
        "metro_station": 210,
        "park": 100,
    }
    assert figures["tasks"]["vox_gender"]["per_speaker"].keys() == {"id00012", "id00017", "id10003"}
    assert figures["tasks"]["vox_gender"]["per_class"].keys() == {"Female", "Male"}
    assert figures["all"]["total"] == 430 + sum(
        e["total"] for e in figures["tasks"]["vox_gender"]["per_class"].values()
    )


def test_tasks_give_what_their_rows_use(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", 6)
    done = run("gtzan,librispeech", "vox_age", "--data_dir", str(data), "--json")
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert {task: entry["count"] for task, entry in figures["tasks"].items()} == {
        "gtzan": 6,
        "librispeech": 6,
        "vox_age": 6,
    }
    assert figures["tasks"]["librispeech"]["per_speaker"].keys() == {"1000", "1001"}


def test_nothing_is_decoded(tmp_path: Path) -> None:
    """Files whose sound is cut away still have the length that their headers say: FLAC keeps it there."""
    path = tmp_path / "a" / "x.flac"
    path.parent.mkdir()
    soundfile.write(path, np.random.default_rng(0).uniform(-1, 1, 160000), 16000)
    path.write_bytes(path.read_bytes()[:9000])
    (only,) = of_folder(tmp_path, load_known()).files
    assert only == TimedFile(tmp_path.name, "a/x.flac", 10.0, "a")


def test_files_without_a_length_are_told(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "good.wav", np.zeros(8000), 8000)
    (tmp_path / "bad.wav").write_text("no sound")
    (tmp_path / "empty.wav").write_bytes(b"")
    done = run(str(tmp_path))
    assert done.returncode == 3
    assert "bad.wav: not readable as audio" in done.stderr
    assert "empty.wav: is an empty file" in done.stderr
    assert "Traceback" not in done.stderr


def test_the_files_written(tmp_path: Path) -> None:
    lengths = Lengths(
        [
            TimedFile("t", "a,b.wav", 100.0, "x", "s"),
            TimedFile("t", "c.wav", 200.5),
            TimedFile("u", "d.wav", 95.0),
        ],
        [],
    )
    rows = list(csv.DictReader(as_csv(lengths).splitlines()))
    assert rows[0] == {"task": "t", "path": "a,b.wav", "seconds": "100.000000", "class": "x", "speaker": "s"}
    first = as_svg(analysed(lengths))
    assert first == as_svg(analysed(lengths))
    text = "".join(ElementTree.fromstring(first).itertext())
    assert "t: 2 files, 0.08 h" in text
    soundfile.write(tmp_path / "one.wav", np.zeros(8000), 8000)
    done = run(str(tmp_path), "--output_path", str(tmp_path / "out"))
    assert done.returncode == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "durations.json",
        "durations.csv",
        "durations.svg",
    }


def test_wrong_names(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"holds neither audio nor metadata"):
        of_folder(tmp_path, load_known())
    for words, error in (
        (("gtzam", "--data_dir", str(tmp_path)), "Did you mean gtzan?"),
        (("nowhere/at/all",), "durations: nowhere/at/all: no such folder; for a task give --data_dir DIR"),
    ):
        done = run(*words)
        assert done.returncode == 2
        assert error in done.stderr
