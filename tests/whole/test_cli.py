"""Tests the command line as users see it: whole processes, exit codes, errors of one line."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from marathon_eval.cli.main import main

BASE = ["--model", "dummy", "--model_args", "answer=B"]


def marathon(*arguments: str | Path, cwd: Path | None = None, **env: str) -> subprocess.CompletedProcess[str]:
    import os

    command = [sys.executable, "-m", "marathon_eval", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, cwd=cwd, timeout=120, check=False, env={**os.environ, **env}
    )


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiomarathon_data.build(tmp_path_factory.mktemp("released"), 6)


def refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """Exit 2, one line on stderr that says all of `parts`, no traceback."""
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if line.startswith("marathon-eval: error: ")]
    assert len(lines) == 1, done.stderr
    for part in parts:
        assert part in done.stderr


def test_a_run_writes_results_and_samples_and_a_second_hits(data: Path, tmp_path: Path) -> None:
    flags = [*BASE, "--tasks", "gtzan,race", "--data_dir", data, "--output_path", tmp_path / "out"]
    first = marathon(*flags)
    assert first.returncode == 0, first.stderr
    assert "12 asked" in first.stdout
    second = marathon(*flags, "--json")
    summary = json.loads(second.stdout)
    assert summary["cache"] == {"hits": 12, "misses": 0}
    folders = sorted((tmp_path / "out").glob("dummy__*/*"))
    assert len(folders) == 2
    lines = (folders[0] / "samples_gtzan.jsonl").read_text().splitlines()
    sample = json.loads(lines[0])
    assert sample["response"] == "B"
    assert {"strict", "paper"} <= set(sample["readings"])
    assert sample["readings"]["strict"]["answer"] == "B"
    assert sample["audio"][0]["sha256"]


def test_verbs_answer() -> None:
    assert "vox_age" in marathon("ls", "tasks").stdout.split()
    assert "qwen_omni" in marathon("ls", "models").stdout.split()
    assert "dart" in marathon("ls", "presses").stdout.split()
    assert "macro_f1" in marathon("ls", "metrics").stdout.split()
    assert marathon("--help").returncode == 0
    assert marathon("validate").returncode == 0


@pytest.mark.parametrize(
    ("flags", "parts"),
    [
        (["--model", "dumy", "--tasks", "gtzan"], ["--model: no model 'dumy'", "Did you mean dummy?"]),
        ([*BASE, "--tasks", "gtzam"], ["--tasks: no task 'gtzam'", "Did you mean gtzan?"]),
        ([*BASE, "--taks", "gtzan"], ["--tasks"]),
        ([*BASE, "--tasks", "gtzan", "--outputpath", "x"], ["Did you mean --output_path?"]),
        (
            ["--model", "dummy", "--model_args", "press=drat,ratio=0.5", "--tasks", "gtzan"],
            ["Did you mean dart?"],
        ),
        (
            ["--model", "dummy", "--model_args", "anser=B", "--tasks", "gtzan"],
            ["'anser'", "Did you mean answer?"],
        ),
        (
            ["--model", "qwen_omni", "--model_args", "press=dart,ratio=1.5", "--tasks", "gtzan"],
            ["ratio", "1.5"],
        ),
        (
            ["--model", "qwen_omni", "--model_args", "press=dart,ratio=half", "--tasks", "gtzan"],
            ["ratio", "half"],
        ),
        (["--model", "qwen_omni", "--model_args", "press=dart", "--tasks", "gtzan"], ["ratio"]),
        (["--model", "dummy", "--model_args", "answer", "--tasks", "gtzan"], ["'answer' is not name=value"]),
        ([*BASE, "--tasks", "gtzan", "--limit", "-1"], ["--limit"]),
        ([*BASE, "--tasks", "gtzan", "--limit", "x"], ["--limit"]),
        ([*BASE, "--tasks", "gtzan", "--subset", "papr"], ["papr", "paper"]),
        ([*BASE, "--tasks", "gtzan", "--data_dir", "no/such/folder"], ["no/such/folder"]),
        (["runn"], ["no verb 'runn'. Did you mean run?"]),
        (["version"], ["no verb 'version'. The version is printed by: marathon-eval --version"]),
    ],
)
def test_a_mistake_is_one_line_and_exit_2(flags: list[str], parts: list[str], data: Path) -> None:
    if "--data_dir" not in flags and flags != ["runn"]:
        flags = [*flags, "--data_dir", str(data)]
    refused(marathon(*flags), *parts)


def test_folders_that_cannot_be_used_are_refused_before_any_asking(data: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    flags = [*BASE, "--tasks", "gtzan", "--data_dir", data]
    refused(marathon(*flags, "--output_path", tmp_path / "file"), "--output_path", "cannot write")
    refused(marathon(*flags, "--use_cache", tmp_path / "file"), "cannot keep a cache here")


def test_a_locked_cache_is_refused(data: Path, tmp_path: Path) -> None:
    import sqlite3

    folder = tmp_path / "locked"
    folder.mkdir()
    with sqlite3.connect(folder / "answers.sqlite") as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE t (x)")
        connection.commit()
        connection.execute("BEGIN EXCLUSIVE")
        done = marathon(*BASE, "--tasks", "gtzan", "--data_dir", data, "--use_cache", folder)
    refused(done, "locked")


def test_one_missing_clip_is_an_error_row_and_exit_3(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", {"gtzan": 6})
    next((data / "GTZAN").rglob("*.wav")).unlink()
    done = marathon(*BASE, "--tasks", "gtzan", "--data_dir", data, "--json")
    assert done.returncode == 3, done.stderr
    task = json.loads(done.stdout)["tasks"]["gtzan"]
    assert (task["n_loaded"], task["n_scored"], task["n_errors"]) == (6, 5, 1)
    assert task["coverage"] == pytest.approx(5 / 6)


def test_score_gives_the_same_numbers_without_model_and_cache(data: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    marathon(*BASE, "--tasks", "gtzan,librispeech", "--data_dir", data, "--output_path", out)
    first = json.loads(next(out.rglob("results.json")).read_text())
    again = marathon(
        "score", out, "--data_dir", data, "--json", MARATHON_EVAL_CACHE=str(tmp_path / "nothing")
    )
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["tasks"] == first["tasks"]


def test_show_prints_prompt_audio_and_answers(data: Path) -> None:
    marathon(*BASE, "--tasks", "gtzan", "--data_dir", data)
    done = marathon("show", "gtzan", "1", "--data_dir", data)
    assert done.returncode == 0, done.stderr
    assert "Which genre is heard?" in done.stdout
    assert "1 in the cache" in done.stdout
    refused(marathon("show", "gtzan", "99", "--data_dir", data), "row 99 is not among the 6")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (["--model_args", "answer=C"], "model.answer: 'B' stored, 'C' asked"),
        (["--gen_kwargs", "max_new_tokens=99"], "generation.max_new_tokens: 5 stored, 99 asked"),
    ],
)
def test_cache_why_names_what_differs(data: Path, change: list[str], named: str) -> None:
    flags = ["--model", "dummy", "--tasks", "gtzan", "--data_dir", data]
    marathon(*flags, "--model_args", "answer=B")
    same = marathon("cache", "why", *flags, "--model_args", "answer=B")
    assert "6 of 6 requests are in the cache" in same.stdout, same.stderr
    args = change if "--model_args" in change else ["--model_args", "answer=B", *change]
    done = marathon("cache", "why", *flags, *args)
    assert "0 of 6" in done.stdout
    assert named in done.stdout


def test_missing_weights_and_missing_data_are_one_line(tmp_path: Path) -> None:
    flags = ["--model", "qwen_omni", "--model_args", "press=dart,ratio=0.5", "--tasks", "vox_age,gtzan"]
    done = marathon(*flags, HF_HUB_OFFLINE="1", HF_HOME=str(tmp_path))
    refused(done, "Qwen/Qwen2.5-Omni-7B", "pretrained=", "Hezep/AudioMarathon", "--data_dir")


LONG = "a" * 5000


@pytest.mark.parametrize(
    "flags",
    [
        ["--model", "qwen_omni", "--model_args", f"pretrained={LONG}", "--tasks", "gtzan"],
        ["--model", "dummy", "--tasks", "gtzan", "--data_dir", LONG],
        ["ls", "tasks", "--include_path", LONG],
        ["compare", LONG, LONG],
        ["pack", LONG],
        ["durations", LONG],
    ],
    ids=lambda flags: flags[0] if flags[0] != "--model" else flags[-2],
)
def test_a_name_that_no_disk_can_hold_is_a_mistake_in_one_line(
    flags: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(flags) == 2
    said = capsys.readouterr().err
    assert said.startswith("marathon-eval: error: ")
    assert "too long" in said
    assert said.count("\n") == 1


def test_control_characters_of_a_name_do_not_reach_the_terminal() -> None:
    done = marathon("--model", "dummy", "--tasks", "a\x1b[31mb\x9bc")
    refused(done, r"a\x1b[31mb\x9bc")
    assert "\x1b" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no disk that is always full")
@pytest.mark.parametrize("verb", [["--version"], ["ls", "tasks"], ["ls", "metrics"]])
def test_output_on_a_full_disk_is_one_error(verb: list[str]) -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "marathon_eval", *verb]
        done = subprocess.run(
            command, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120, check=False
        )
    assert (done.returncode, done.stderr) == (2, "marathon-eval: error: output: No space left on device\n")
