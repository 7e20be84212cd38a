"""Tests `show TASK DOC`: the keys of cached responses, and `--play`."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path

import pytest
import soundfile

from conftest import MakeWav
from marathon_eval.api.audio import Audio
from marathon_eval.cache import entries
from marathon_eval.cache.answers import FILE_NAME
from marathon_eval.cli.main import main
from marathon_eval.cli.playing import play
from marathon_eval.errors import MarathonError


@pytest.fixture
def where(tmp_path: Path, make_wav: MakeWav) -> list[str]:
    """The flags of a task `tiny` with one row, and of a cache of its own."""
    make_wav("data/clip.wav", seconds=2.0)
    (tmp_path / "data" / "rows.json").write_text('[{"q": "Which?", "a": "A", "path": "clip.wav"}]')
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "tiny.yaml").write_text(
        "task: tiny\ndataset_path: json\ndataset_kwargs: {data_files: rows.json}\ntest_split: train\n"
        'doc_to_text: "{{q}}"\ndoc_to_target: "{{a}}"\ndoc_to_audio: path\n'
    )
    return ["--include_path", str(tmp_path), "--data_dir", str(tmp_path / "data"), "-c", str(tmp_path / "c")]


def player(folder: Path, code: int = 0) -> Path:
    """A player that keeps what it was given to play."""
    folder.mkdir()
    script = folder / "aplay"
    script.write_text(f'#!/bin/sh\nfor last; do :; done\n/bin/cp "$last" "{folder}/heard.wav"\nexit {code}\n')
    script.chmod(script.stat().st_mode | stat.S_IEXEC)
    return folder / "heard.wav"


def test_play_gives_the_stretch_that_the_model_hears(
    tmp_path: Path, make_wav: MakeWav, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard = player(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    play(Audio(str(make_wav(seconds=3.0, rate=44_100)), 1.0, 2.5))
    facts = soundfile.info(heard)
    assert facts.duration == pytest.approx(1.5, abs=0.001)
    assert (facts.channels, facts.samplerate) == (1, 16_000)


def test_play_without_a_player_names_the_clip(
    tmp_path: Path, make_wav: MakeWav, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_wav()
    monkeypatch.setenv("PATH", str(tmp_path / "nothing"))
    with pytest.raises(MarathonError, match=rf"no audio player found .*{re.escape(os.fspath(clip))}"):
        play(Audio(str(clip)))
    player(tmp_path / "bin", code=3)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    with pytest.raises(MarathonError, match="aplay ended with code 3"):
        play(Audio(str(clip)))


def test_show_prints_keys_and_plays(
    where: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "--model", "dummy", "--tasks", "tiny", *where]) == 0
    heard = player(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    capsys.readouterr()
    assert main(["show", "tiny", "0", "--play", *where]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "answers  1 in the cache"
    key = lines[-1].split()[0]
    assert entries.look_up(tmp_path / "c" / FILE_NAME, key)["request"]["prompt"] == "Which?"
    assert soundfile.info(heard).duration == pytest.approx(2.0, abs=0.001)


def test_models_of_one_name_are_told_apart_by_the_settings_that_differ(
    where: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    for answer in ("A", "C"):
        settings = ["--model_args", f"answer={answer}"]
        assert main(["run", "--model", "dummy", *settings, "--tasks", "tiny", *where]) == 0
    capsys.readouterr()
    assert main(["show", "tiny", "0", "--json", *where]) == 0
    answers = json.loads(capsys.readouterr().out)["answers"]
    assert sorted(answer["model"] for answer in answers) == ["dummy answer=A", "dummy answer=C"]
