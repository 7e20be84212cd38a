"""Tests doctor on miniatures of released layouts: faults that were planted are found, and none is invented."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers import make_audiomarathon_data
from helpers import make_other_benchmarks as made
from marathon_eval import simple_evaluate
from marathon_eval.api.registry import Registry
from marathon_eval.corpus.audit.doctor import examine
from marathon_eval.corpus.audit.examined import Examined
from marathon_eval.corpus.audit.expected import Dataset, load_known
from marathon_eval.corpus.audit.own_tasks import tasks_to_examine


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))


LAYOUTS: dict[str, tuple[Callable[[Path], None], int]] = {
    "audiomarathon": (made.audiomarathon, 30),
    "air_bench": (made.air_bench, 50),
    "air_bench_chat": (made.air_bench_chat, 20),
    "mmar": (made.mmar, 12),
    "mmau": (made.mmau, 9),
    "mmau_hub": (made.mmau_hub, 9),
    "mmsu": (made.mmsu, 12),
    "blab": (made.blab, 6),
}
#: The tasks that ask each layout; the others have a YAML beside their rows.
SHIPPED = {
    "audiomarathon": ("audiomarathon",),
    "air_bench": ("air_bench_foundation",),
    "air_bench_chat": ("air_bench_chat",),
    "mmar": ("mmar",),
    "mmau": ("mmau",),
}


def described() -> Dataset:
    """Return the description of released data sets, with what the miniature of AudioMarathon has."""
    known = load_known()
    sizes = {"rows": 3, "rate": made.RATE, "seconds": None, "promised_seconds": 0, "mono": False}
    return known.model_copy(
        update={"tasks": {name: task.model_copy(update=sizes) for name, task in known.tasks.items()}}
    )


def doctored(root: Path, *names: str) -> Examined:
    known = described()
    own = tasks_to_examine(names, root, known, [])
    return examine(root, known, own=own.tasks)


def of_layout(name: str, root: Path) -> Examined:
    file = root / f"{name}.yaml"
    return doctored(root, *([str(file)] if file.exists() else []))


def faults(found: Examined) -> list[tuple[str, str]]:
    return [(item.fault.kind, item.fault.where) for item in found.findings]


def change(path: Path, number: int, **values: Any) -> None:
    """Change a row of a JSON or JSONL file; None removes a key."""
    lines = path.suffix == ".jsonl"
    text = path.read_text()
    content = [json.loads(line) for line in text.splitlines()] if lines else json.loads(text)
    rows = content["data"] if isinstance(content, dict) else content
    rows[number] = {key: value for key, value in {**rows[number], **values}.items() if value is not None}
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) if lines else json.dumps(content))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_faultless_miniature_has_no_fault(name: str, tmp_path: Path) -> None:
    make, rows = LAYOUTS[name]
    make(tmp_path / "data")
    found = of_layout(name, tmp_path / "data")
    assert faults(found) == []
    assert found.sound
    tasks = found.survey.tasks()
    assert len({row.where for of in tasks.values() for row in of}) == rows
    assert {path for path in found.heard if path.is_file()} >= {
        Path(clip.path) for of in tasks.values() for row in of for clip in row.clips
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_miniature_is_asked_whole_and_unchanged(name: str, tmp_path: Path) -> None:
    make, rows = LAYOUTS[name]
    root = tmp_path / "data"
    make(root)
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    tasks = SHIPPED.get(name, (str(root / f"{name}.yaml"),))
    subset = "full" if name == "audiomarathon" else None  # by default its classes are balanced
    run = simple_evaluate("dummy", tasks, data_dir=root, subset=subset, no_cache=True, predict_only=True)
    samples = [sample for of in run.samples.values() for sample in of]
    assert [sample.error for sample in samples] == [None] * rows
    assert all(sample.audio[0]["seconds"] > 0 for sample in samples)
    assert {path: path.read_bytes() for path in root.rglob("*") if path.is_file()} == before


def audio_of(root: Path) -> Path:
    return next(path for path in sorted(root.rglob("*")) if path.suffix in (".wav", ".flac"))


@pytest.mark.parametrize("name", [name for name in LAYOUTS if name != "mmau_hub"])
def test_planted_faults_of_files_are_found_in_every_layout(name: str, tmp_path: Path) -> None:
    root = tmp_path / "data"
    LAYOUTS[name][0](root)
    path = audio_of(root)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    assert {kind for kind, _ in faults(of_layout(name, root))} == {"truncated"}
    soundfile.write(path, np.zeros(made.RATE * 30), made.RATE)
    assert {kind for kind, _ in faults(of_layout(name, root))} == {"silent"}
    opposed = made.noise(77, 30)
    soundfile.write(path, np.stack([opposed, -opposed], axis=1), made.RATE)
    assert {kind for kind, _ in faults(of_layout(name, root))} == {"anti_phase"}
    path.unlink()
    found = of_layout(name, root)
    assert {kind for kind, _ in faults(found)} == {"missing"}
    assert not found.sound


def test_one_fault_of_a_row_is_one_fault(tmp_path: Path) -> None:
    root = tmp_path / "data"
    made.mmar(root)
    change(root / "MMAR-meta.jsonl", 4, answer="none of them")
    assert faults(doctored(root)) == [("gold_not_an_option", "MMAR-meta.jsonl#4")]
    change(root / "MMAR-meta.jsonl", 4, answer=None)
    assert faults(doctored(root)) == [("bad_row", "MMAR-meta.jsonl#4")]
    made.mmsu(tmp_path / "mmsu")
    rows = tmp_path / "mmsu" / "question" / "mmsu.jsonl"
    change(rows, 3, choice_c="sense 3a")
    change(rows, 5, answer_gt="sense 6a")
    change(rows, 7, audio_path="../../../secret.wav")
    assert sorted(faults(of_layout("mmsu", tmp_path / "mmsu"))) == [
        ("duplicate_option", "question/mmsu.jsonl#3"),
        ("gold_not_an_option", "question/mmsu.jsonl#5"),
        ("orphan_audio", "question/audio/task_7.wav"),
        ("outside_root", "question/mmsu.jsonl#7"),
    ]


def test_audio_inside_a_table_is_examined(tmp_path: Path) -> None:
    changes = {
        2: {"context": {"bytes": b"RIFFnothing", "path": "2.wav"}},
        5: {"answer": "(A) something else"},
        7: {"other_attributes": "{"},
    }
    made.mmau_hub(tmp_path / "data", changes)
    found = faults(of_layout("mmau_hub", tmp_path / "data"))
    assert sorted(kind for kind, _ in found) == ["bad_row", "gold_not_an_option", "unreadable"]


def test_stretches_and_repeated_clips(tmp_path: Path) -> None:
    root = tmp_path / "data"
    made.blab(root)
    change(root / "ads.json", 1, end="31")
    change(root / "ads.json", 2, begin="12", end="12")
    assert faults(of_layout("blab", root)) == [
        ("stretch_outside", "ads.json#1"),
        ("stretch_outside", "ads.json#2"),
    ]
    several = {"video_id": None, "clips": ["talk0.flac", "talk0.flac"]}
    (root / "ads.json").write_text(json.dumps({"data": [{"question": "?", "count": "1", **several}]}))
    text = made.BLAB.replace('{path: "{{ video_id }}.flac", start: begin, stop: end}', "clips")
    (root / "blab.yaml").write_text(text)
    assert ("repeated_clip", "ads.json#0") in faults(of_layout("blab", root))


@pytest.mark.parametrize(
    ("lengths", "short"),
    [
        ([4, 900, 900], ["rows.json#0"]),
        ([4], ["rows.json#0"]),
        ([12, 12], ["rows.json#0", "rows.json#1"]),
        ([30], []),  # a language written without spaces, slowly spoken
        ([100, 900], []),  # of two rows neither is the usual one
        ([100, 900, 900], ["rows.json#0"]),
        ([300, 900, 900], []),
    ],
)
def test_a_transcript_far_too_short_is_found_among_few(
    lengths: list[int], short: list[str], tmp_path: Path
) -> None:
    rows = [{"file": f"{n}.wav", "said": ("字" * length)} for n, length in enumerate(lengths)]
    for n in range(len(rows)):
        soundfile.write(tmp_path / f"{n}.wav", made.noise(n, 90), made.RATE)
    assert transcripts(tmp_path, rows) == short


def test_a_short_transcript_of_a_silent_recording_is_the_silence_s_fault(tmp_path: Path) -> None:
    sound = np.concatenate([made.noise(0, 20), np.zeros(made.RATE * 80)])
    soundfile.write(tmp_path / "0.wav", sound, made.RATE)
    assert transcripts(tmp_path, [{"file": "0.wav", "said": "good day"}]) == []


def transcripts(root: Path, rows: list[dict[str, str]]) -> list[str]:
    """Return the places of the transcripts that doctor calls too short."""
    (root / "rows.json").write_text(json.dumps(rows))
    (root / "said.yaml").write_text(
        "task: said\ndataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_audio: file\n"
        "doc_to_text: Write down what is said.\ndoc_to_target: said\nlanguage: en\n"
        "filter_list: [{name: strict, filter: [{function: transcript}]}]\nmetric_list: [{metric: wer}]\n"
    )
    found = faults(doctored(root, str(root / "said.yaml")))
    return [where for kind, where in found if kind == "short_reference"]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "marathon_eval", "doctor", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_nothing_read_is_nothing_claimed(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", made.noise(0), made.RATE)
    (tmp_path / "rows.csv").write_text("path,question,answer\na.wav,Who?,\nb.wav,Who?,x\n")
    unread = run(str(tmp_path))
    assert unread.returncode == 3
    assert "no rows were read" in unread.stdout
    assert "no fault found" not in unread.stdout
    (tmp_path / "own.yaml").write_text(
        "dataset_path: csv\ndataset_kwargs: {data_files: rows.csv}\n"
        "doc_to_text: question\ndoc_to_target: answer\ndoc_to_audio: path\n"
    )
    for words in (
        (str(tmp_path), "--tasks", str(tmp_path / "own.yaml")),
        ("--tasks", str(tmp_path / "own.yaml")),
    ):
        read = run(*words)
        assert read.returncode == 3
        assert "rows.csv#0: " in read.stdout
        assert "missing: rows.csv#1" in read.stdout
    wrong = run(str(tmp_path), "--tasks", "owm")
    assert wrong.returncode == 2
    assert "no task in" in wrong.stderr


def test_described_layouts_keep_their_known_faults(tmp_path: Path) -> None:
    root = make_audiomarathon_data.build(tmp_path / "data")
    assert tasks_to_examine([], root, load_known(), []).tasks == {}
    assert "gtzan" in load_known().tasks
    assert {"mmar", "mmau"} <= set(Registry().names("task"))
