"""Tests `env make` and `env check` with a worker that needs no packages, and their mistakes in one line each."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from helpers.worker_files import write_worker
from marathon_eval.cli.main import main
from marathon_eval.evaluator.simple import simple_evaluate


@pytest.mark.slow
def test_an_environment_is_made_checked_and_used(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MARKS", str(tmp_path))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    worker = write_worker(tmp_path)
    worker.with_name("mine.requirements.txt").write_text("# nothing but Python\n")
    mine = ["--include_path", str(tmp_path)]
    assert main(["env", "make", "mine", *mine]) == 0
    made = tmp_path / "cache" / "envs" / "mine"
    assert f"{made}: made from mine.requirements.txt" in capfd.readouterr().out
    assert main(["env", "check", "mine", *mine]) == 0
    out = capfd.readouterr().out
    assert out.startswith(f"{made}/bin/python: Python 3.")
    assert "heard 2.00 of 2 s: 'What do you hear?!'" in out
    # the environment has no torch and no soundfile, and its Python sees nothing of this one's packages
    assert "torch" not in out
    assert main(["env", "make", "mine", *mine]) == 2
    assert f"{made} exists already" in capfd.readouterr().err


def test_a_check_says_what_was_heard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MARKS", str(tmp_path))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    write_worker(tmp_path)
    assert main(["env", "check", "mine", sys.prefix, "--include_path", str(tmp_path)]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert ", torch " in first
    assert "heard 2.00 of 2 s: 'What do you hear?!'" in second


def test_a_failing_check_is_a_line_and_exit_code_3(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORKER_MARKS", str(tmp_path))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    write_worker(tmp_path).write_text("def load(args): pass\ndef answer(question, paths): return 1 / 0\n")
    assert main(["env", "check", "mine", sys.prefix, "--include_path", str(tmp_path)]) == 3
    assert "s: ZeroDivisionError: division by zero" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["make", "dummy"], "env make: dummy needs no environment of its own"),
        (["check", "dummy"], "env check: dummy needs no environment of its own"),
        (["make", "kimi_audi"], "Did you mean kimi_audio?"),
        (["make", "kimi_audio", "NEW", "--python", "no-such-python"], "env make: no-such-python -m venv"),
        (["check", "kimi_audio", "NONE"], "env=NONE: no such folder"),
        (["make", "mine", "NEW"], "mine.requirements.txt: no such file; it must list the packages"),
    ],
)
def test_mistakes(
    arguments: list[str],
    words: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    write_worker(tmp_path)
    assert main(["env", *arguments, "--include_path", str(tmp_path)]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_run_keeps_the_answers_of_a_worker_that_dies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import json

    import numpy as np
    import soundfile

    monkeypatch.setenv("WORKER_MARKS", str(tmp_path))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    write_worker(tmp_path, fault="os._exit(3)")
    soundfile.write(tmp_path / "clip.wav", np.ones(16000, np.float32) / 2, 16000)
    rows = [{"q": q, "a": "x", "path": "clip.wav"} for q in ("first", "second", "third")]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    task = tmp_path / "own.yaml"
    task.write_text(
        "task: own\ndataset_path: json\ndataset_kwargs: {data_files: rows.json}\n"
        "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: path\n"
    )
    given = {"tasks": [str(task)], "include_path": [str(tmp_path)], "data_dir": str(tmp_path)}
    result = simple_evaluate(model="mine", model_args=f"env={sys.prefix}", **given)
    (samples,) = result.samples.values()
    assert [sample.status for sample in samples] == ["ok", "error", "ok"]
    assert "the worker exited with code 3" in str(samples[1].error)
