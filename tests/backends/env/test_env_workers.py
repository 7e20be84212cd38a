"""Tests models in an environment of their own: what is sent, and each way in which a worker can fail."""

from __future__ import annotations

import ast
import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from helpers.worker_files import FAULTS, worker_model, write_worker
from marathon_eval.api.audio import Audio
from marathon_eval.api.complete import complete
from marathon_eval.api.model import Generation, Model, Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.backends.env import environment, worker_main
from marathon_eval.backends.env.adapter import content_hash
from marathon_eval.errors import MarathonError


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Audio:
    path = tmp_path_factory.mktemp("clips") / "clip.flac"
    soundfile.write(path, np.sin(np.arange(24000) / 9).astype(np.float32) / 2, 8000)
    return Audio(str(path))


@pytest.fixture(autouse=True)
def marks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder in which every worker leaves its process number; none of them may be left at the end."""
    folder = tmp_path / "marks"
    folder.mkdir()
    monkeypatch.setenv("WORKER_MARKS", str(folder))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    yield folder
    end = time.monotonic() + 5
    while (left := [name for name in os.listdir(folder) if _runs(name)]) and time.monotonic() < end:
        time.sleep(0.05)  # a child of the worker was told to end, and is not waited for
    assert left == [], "a worker, or its zombie, outlived its model"


def asked(model: Model, clip: Audio, *questions: str, **generation: Any) -> list[Response]:
    requests = [Request(question, (clip,), Generation(**generation)) for question in questions]
    try:
        by_request = dict(complete(model, requests))
    finally:
        model.close()
    return [by_request[request] for request in requests]


THREE = ("first", "second", "third")


def test_a_worker_answers_about_the_clip_that_the_harness_decoded(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path)
    model = worker_model(tmp_path, pretrained=None, depth=3)
    responses = asked(model, clip, *THREE)
    assert [response.text for response in responses] == ["first!", "second!", "third!"]
    assert {response.usage.heard_seconds for response in responses} == {3.0}
    assert model.name() == "mine"
    (log,) = (tmp_path / "cache" / "logs").glob("worker-mine-*.log")
    assert "loading {'depth': 3}" in log.read_text()
    assert model.fingerprint["worker"] != {}
    assert model.fingerprint["environment"]["packages"].keys() == {"torch", "transformers"}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_one_row_and_nothing_else_is_lost(
    fault: str, tmp_path: Path, clip: Audio, marks: Path
) -> None:
    write_worker(tmp_path, fault=FAULTS[fault])
    slow = fault in ("hangs", "stopped")
    first, second, third = asked(worker_model(tmp_path, timeout=2.0 if slow else 60.0), clip, *THREE)
    assert (first.text, third.text) == ("first!", "third!")
    if fault == "noisy":
        assert (second.status, second.text) == ("ok", "second!")
        return
    assert second.status == "error"
    words = {
        "raises": "ValueError: no such layer",
        "memory": "out of memory: MemoryError: tried to take 80 GB",
        "exits": "SystemExit: 7",
        "dies": "the worker exited with code 9",
        "killed": "the worker was killed by SIGKILL, as the system does where memory runs out",
        "hangs": "gave no reply in 2 s and was killed",
        "stopped": "gave no reply in 2 s and was killed",
        "number": "it returned int",
        "no_text": "it returned dict",
        "no_json": "not JSON serializable",
        "cut": "audio was cut: 3.00 s were sent, the worker heard 0.50 s",
    }
    assert words[fault] in str(second.error)
    assert "\n" not in str(second.error)
    restarted = fault in ("dies", "killed", "hangs", "stopped")
    assert len(list(marks.iterdir())) == (2 if restarted else 1)


def test_a_worker_that_dies_twice_is_not_started_a_third_time(
    tmp_path: Path, clip: Audio, marks: Path
) -> None:
    write_worker(tmp_path, fault="os._exit(3)")
    responses = asked(worker_model(tmp_path), clip, "first", "second", "second once more", "third")
    assert [response.status for response in responses] == ["ok", "error", "error", "error"]
    assert str(responses[3].error).startswith("not asked: the worker died twice without an answer between")
    assert len(list(marks.iterdir())) == 2


def test_a_worker_that_never_answers_ends_the_run_in_one_line(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path, fault="os._exit(3)")
    with pytest.raises(MarathonError, match=r"--model mine: the worker exited with code 3.*Log: "):
        asked(worker_model(tmp_path), clip, "second", "second again", "third")


@pytest.mark.parametrize(
    ("load", "words"),
    [
        ("raise KeyError('depth')", "--model mine: its worker can't load: KeyError: 'depth'"),
        (
            "import no_such_module",
            "its worker can't load: ModuleNotFoundError: No module named 'no_such_module'",
        ),
        ("os._exit(2)", "the worker exited with code 2"),
        (
            "import types; sys.modules['torch'] = types.SimpleNamespace(__version__='1.0')",
            "torch 1.0 was imported",
        ),
        (
            "import importlib.metadata as m; m.version = lambda name: '4.0'",
            "transformers 4.0 instead of 5",
        ),
    ],
)
def test_a_worker_that_cannot_load_or_lies_about_its_releases_is_one_line(
    load: str, words: str, tmp_path: Path, clip: Audio
) -> None:
    write_worker(tmp_path, load=load)
    with pytest.raises(MarathonError) as error:
        asked(worker_model(tmp_path), clip, "first", "third")
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_a_syntax_error_names_its_line(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path).write_text("def load(args):\n    pass\ndef answer(:\n")
    with pytest.raises(MarathonError, match=r"SyntaxError: .*mine_worker.py, line 3"):
        asked(worker_model(tmp_path), clip, "first")


def test_a_hanging_load_is_ended(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path, load="time.sleep(600)")
    with pytest.raises(MarathonError, match="gave no reply in 1 s and was killed"):
        asked(worker_model(tmp_path, load_timeout=1.0), clip, "first", "third")


def test_settings_that_a_worker_does_not_take_are_never_lost(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path, settings=False)
    (plain,) = asked(worker_model(tmp_path), clip, "first")
    (warm,) = asked(worker_model(tmp_path), clip, "first", temperature=0.7, seed=1)
    assert plain.status == "ok"
    assert "takes no settings, and temperature would be lost" in str(warm.error)


def test_what_was_heard_is_unverified_where_the_worker_does_not_say(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path, fault="return 'B'")
    (response,) = asked(worker_model(tmp_path), clip, "second")
    assert (response.text, response.status, response.usage.heard_seconds) == ("B", "unverified", None)
    assert "heard_seconds" in response.usage.details["unverified"]


def test_children_that_a_worker_leaves_are_ended_too(tmp_path: Path, clip: Audio, marks: Path) -> None:
    child = "c = subprocess.Popen(['sleep', '600']); open(os.path.join(marks, str(c.pid)), 'w').close()"
    write_worker(tmp_path, fault=child)
    asked(worker_model(tmp_path), clip, "second")
    assert len(list(marks.iterdir())) == 2


def test_the_worker_ends_when_the_harness_is_killed(tmp_path: Path, marks: Path) -> None:
    import subprocess

    write_worker(tmp_path, fault="time.sleep(600)")
    clip = tmp_path / "clip.wav"
    soundfile.write(clip, np.zeros(8000, np.float32), 16000)
    code = (
        "import sys; from helpers.worker_files import worker_model; from pathlib import Path\n"
        "from marathon_eval.api.audio import Audio; from marathon_eval.api.model import Request\n"
        f"model = worker_model(Path({str(tmp_path)!r}))\n"
        f"list(model.generate([Request('second', (Audio({str(clip)!r}),))]))"
    )
    root = Path(__file__).resolve().parents[3]
    paths = os.pathsep.join([str(root), str(root / "tests")])
    harness = subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": paths})
    end = time.monotonic() + 60
    while not list(marks.iterdir()) and time.monotonic() < end:
        time.sleep(0.05)
    harness.kill()
    harness.wait()
    (worker,) = marks.iterdir()
    while _runs(worker.name) and time.monotonic() < end:
        time.sleep(0.1)
    assert not _runs(worker.name)


def _runs(process: str) -> bool:
    """Whether a process runs, or is a zombie of this one; those of others are the system's to clear away."""
    try:
        state, parent = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[:2]
    except OSError:
        return False
    return state != "Z" or int(parent) == os.getpid()


# -- names, keys and environments -------------------------------------------------------------------------------------------


def test_a_worker_is_listed_and_found_by_its_models_name(tmp_path: Path) -> None:
    path = write_worker(tmp_path)
    names = Registry([str(tmp_path)]).names("model")
    assert "mine" in names
    assert "mine_worker" not in names
    assert not [name for name in names if name.endswith("_worker")]
    assert Registry().model_class(str(path)).name() == "mine"


def test_the_key_follows_the_worker_its_arguments_and_its_weights(tmp_path: Path) -> None:
    path = write_worker(tmp_path)
    weights = tmp_path / "weights"
    weights.mkdir()
    (weights / "a.bin").write_bytes(b"1")

    def key(**args: Any) -> dict[str, Any]:
        return worker_model(tmp_path, pretrained=str(weights), **args).fingerprint

    first = key(depth=3)
    assert key(depth=3, timeout=5.0) == first
    assert key(depth=4) != first
    (weights / "a.bin").write_bytes(b"2")
    assert key(depth=3) != first
    (weights / "a.bin").write_bytes(b"1")
    assert key(depth=3) == first
    path.write_text(path.read_text() + "\n# edited\n")
    assert key(depth=3) != first


def test_files_that_change_until_the_worker_has_loaded_them_are_refused(tmp_path: Path, clip: Audio) -> None:
    write_worker(tmp_path)
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").write_bytes(b"1")
    model = worker_model(tmp_path, pretrained=str(tmp_path / "weights"))
    assert model.fingerprint["pretrained_sha256"]
    (tmp_path / "weights" / "a.bin").write_bytes(b"2")
    with pytest.raises(MarathonError, match=r"--model mine: weights: changed while the model was loaded"):
        asked(model, clip, "first")


def test_hidden_files_are_no_weights(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"1")
    before = content_hash(tmp_path, None)
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("x")
    assert content_hash(tmp_path, None) == before


def test_a_press_is_refused(tmp_path: Path) -> None:
    write_worker(tmp_path)
    press = Registry().press_class("dart")(ratio=0.5)
    with pytest.raises(MarathonError, match="mine does not support press=dart"):
        Registry([str(tmp_path)]).model_class("mine").from_args({"env": sys.prefix}, press)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "none", "no such folder"),
        (lambda folder: folder, r"holds no Python \(bin/python\)"),
    ],
)
def test_a_folder_without_an_interpreter_is_named(make: Any, words: str, tmp_path: Path) -> None:
    write_worker(tmp_path)
    with pytest.raises(MarathonError, match=rf"--model_args: env=.*: {words}"):
        _ = worker_model(tmp_path, env=str(make(tmp_path))).fingerprint


def fake_environment(folder: Path, script: str) -> str:
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text(f"#!/bin/sh\n{script}\n")
    python.chmod(0o755)
    return str(folder)


def test_noise_of_an_environments_start_is_not_its_answer(tmp_path: Path) -> None:
    folder = fake_environment(
        tmp_path / "env", f'echo "hello from sitecustomize"; exec {sys.executable} "$@"'
    )
    python = environment.interpreter(folder, "--model_args")
    found = environment.asked_environment(python, ("numpy", "no-such-package"), "--model_args")
    assert found.packages == {"numpy": np.__version__, "no-such-package": None}


@pytest.mark.parametrize("script", ["echo 'SyntaxError: invalid syntax' >&2; exit 1", "exit 0"])
def test_an_interpreter_that_does_not_answer_is_one_line(script: str, tmp_path: Path) -> None:
    python = environment.interpreter(fake_environment(tmp_path / "env", script), "--model_args")
    with pytest.raises(MarathonError, match=r"needs Python 3.9 or newer: (SyntaxError|exit code 0)"):
        environment.asked_environment(python, (), "--model_args")


def test_the_file_for_the_other_interpreter_is_python_3_9_without_packages() -> None:
    text = Path(worker_main.__file__).read_text()
    tree = ast.parse(text, feature_version=(3, 9))
    names = {
        (alias.name if isinstance(node, ast.Import) else str(getattr(node, "module", ""))).partition(".")[0]
        for node in ast.walk(tree)
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    assert names <= set(sys.stdlib_module_names)
