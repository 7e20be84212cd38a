"""Tests builds that are killed, run out of space or run twice: no partial files, the same bytes in the end."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import soundfile

from helpers import make_source_corpora
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.needle_flags import with_needle_flags
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.corpus.build.recipe import Recipe, load_recipe
from marathon_eval.errors import MarathonError

#: Flags that make 27 files of `needle`.
PROBES = ("--lengths", "90,180,300", "--depths", "0,50,100", "--distractors", "1")


def tau() -> Recipe:
    return load_recipe("tau").model_copy(update={"rate": make_source_corpora.RATE})


def command(name: str, source: Path, output: Path, *more: str) -> list[str]:
    words = ["build", name, "--source", str(source), "--output_path", str(output), *more]
    return [sys.executable, "-m", "marathon_eval", *words]


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".lock"
    }


def audio_in(folder: Path) -> list[Path]:
    return sorted([*folder.rglob("*.wav"), *folder.rglob("*.flac")])


def wait_for(condition: int, folder: Path, process: subprocess.Popen[str]) -> None:
    """Until so many files carry their final names."""
    deadline = time.monotonic() + 120
    while len(audio_in(folder)) < condition:
        assert process.poll() is None, "ended before it could be killed"
        assert time.monotonic() < deadline
        time.sleep(0.002)


def test_killed_three_times_and_the_same_bytes(tmp_path: Path) -> None:
    source = make_source_corpora.needle(tmp_path / "source")
    recipe = with_needle_flags(load_recipe("needle"), "90,180,300", "0,50,100", 1)
    build(recipe, Order(source, tmp_path / "whole"))
    expected = contents(tmp_path / "whole")
    output = tmp_path / "killed"
    for files in (1, 7, 16):
        process = subprocess.Popen(
            command("needle", source, output, *PROBES), stderr=subprocess.DEVNULL, text=True
        )
        wait_for(files, output, process)
        process.send_signal(signal.SIGKILL)
        process.wait()
        for path in audio_in(output):
            assert path.read_bytes() == expected[path.relative_to(output).as_posix()], "a half file"
    (output / "needle" / "180" / "100" / "dog_dog1.flac.part").write_bytes(b"torn")
    done = build(recipe, Order(source, output))
    assert contents(output) == expected
    assert done.made <= 27 - 16 + 1, "files that were there are not made again"


def test_a_finished_build_is_checked_and_repaired(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    output = tmp_path / "out"
    assert build(tau(), Order(source, output)).made == 3
    expected = contents(output)
    assert build(tau(), Order(source, output)).made == 0
    first, second, _ = audio_in(output)
    first.unlink()
    second.write_bytes(second.read_bytes()[:-1])
    assert build(tau(), Order(source, output)).made == 2
    assert contents(output) == expected


def test_a_changed_source_is_noticed(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    output = tmp_path / "out"
    build(tau(), Order(source, output))
    clip = source / "audio" / "metro-lyon-1-003-a.wav"
    samples, rate = soundfile.read(clip, dtype="int16")
    samples[5] += 1
    soundfile.write(clip, samples, rate)
    assert build(tau(), Order(source, output)).made == 1


def test_another_build_in_the_same_place_must_be_asked_for(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    output = tmp_path / "out"
    build(tau(), Order(source, output))
    shorter = tau().model_copy(
        update={"select": tau().select.model_copy(update={"where": {"scene": ["park"]}})}
    )
    with pytest.raises(MarathonError, match=r"holds a finished tau, made with another recipe; .*--replace"):
        build(shorter, Order(source, output))
    with pytest.raises(MarathonError, match=r"holds a finished tau, with 2 files that this one lacks"):
        build(tau(), Order(source, output, limit=1))
    assert len(audio_in(output)) == 3
    build(shorter, Order(source, output, replace=True))
    assert [path.name for path in audio_in(output)] == ["park_milan-3_segment_1.wav"]


def test_files_of_others_are_not_overwritten(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    target = tmp_path / "out/TAU/concatenated_resampled/park/park_milan-3_segment_1.wav"
    target.parent.mkdir(parents=True)
    target.write_bytes(b"mine")
    with pytest.raises(
        MarathonError, match=r"park_milan-3_segment_1\.wav is there and was not made by this recipe"
    ):
        build(tau(), Order(source, tmp_path / "out"))
    assert target.read_bytes() == b"mine"


def test_two_builds_of_one_recipe_do_not_mix(tmp_path: Path) -> None:
    source = make_source_corpora.needle(tmp_path / "source")
    process = subprocess.Popen(
        command("needle", source, tmp_path / "out", *PROBES), stderr=subprocess.DEVNULL, text=True
    )
    try:
        wait_for(1, tmp_path / "out", process)
        with pytest.raises(MarathonError, match=r"--output_path: another build of needle is writing to"):
            build(load_recipe("needle"), Order(source, tmp_path / "out"))
    finally:
        process.kill()
        process.wait()


def test_no_room_for_a_file(tmp_path: Path) -> None:
    """A limit on file size stands for a full disk: the system call fails in the same place."""
    source = make_source_corpora.tau(tmp_path / "source")
    done = subprocess.run(
        command("tau", source, tmp_path / "out"),
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20)),
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("marathon-eval: error: ")
    assert "_segment_1.wav: cannot write: File too large" in done.stderr
    assert audio_in(tmp_path / "out") == []
    assert [*(tmp_path / "out").rglob("*.part")] == []
    assert [*(tmp_path / "out").rglob("*.json")] == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file")
    with pytest.raises(MarathonError, match=r"--output_path: .*out/manifests: cannot write"):
        build(tau(), Order(make_source_corpora.tau(tmp_path / "source"), tmp_path / "out"))


def test_the_command_line(tmp_path: Path) -> None:
    source = make_source_corpora.tau(tmp_path / "source")
    done = subprocess.run(
        command("tau", source, tmp_path / "out", "--jobs", "2", "--limit", "2"),
        capture_output=True,
        text=True,
        check=True,
    )
    assert "2 files, 2 rows, 0.09 h: 2 new" in done.stdout
    assert "left out: 5 clips, 50 s of park/milan-4: too little for a file" in done.stdout
    for words, error in (
        (
            ["build", "tua", "--source", "x", "--output_path", "y"],
            "build: no recipe 'tua'. Did you mean tau?",
        ),
        (
            ["build", "tau", "--source", str(tmp_path / "none"), "--output_path", str(tmp_path / "o")],
            "no such folder",
        ),
        (
            ["build", "tau", "--source", "x", "--output_path", "y", "--jobs", "0"],
            "--jobs: must be 1 or more, got 0",
        ),
    ):
        wrong = subprocess.run(
            [sys.executable, "-m", "marathon_eval", *words],
            capture_output=True,
            text=True,
            check=False,
            env=os.environ,
        )
        assert wrong.returncode == 2
        assert error in wrong.stderr
        assert "Traceback" not in wrong.stderr
