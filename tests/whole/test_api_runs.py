"""Tests the whole command against a server on loopback that misbehaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from helpers.api_server import FakeServer
from helpers.killable_command import stored

# -- both adapters, as processes ------------------------------------------------------------------------------

YAML = """
dataset_path: json
dataset_kwargs: {{data_files: rows.json}}
test_split: train
doc_to_audio: audio
doc_to_text: "{{{{ question }}}} {suffix}"
doc_to_choice: [A, B]
doc_to_target: answer
output_type: generate_until
generation_kwargs: {{max_new_tokens: 4, do_sample: false}}
filter_list:
  - name: strict
    filter: [{{function: choice}}]
metric_list:
  - {{metric: accuracy, filter_list: strict}}
"""


@pytest.fixture
def folder(tmp_path: Path, make_wav: Callable[..., Path]) -> Path:
    """Two tasks of eight rows each; rows of the first ask the server for faults."""
    rows = []
    faults = ["", "[429]", "[500]", "[empty]", "[cut]", "[refuse]", "[slow]", ""]
    for number, fault in enumerate(faults):
        audio = make_wav(f"{number}.wav", seconds=2 + number)
        rows.append({"question": f"q{number} {fault}", "audio": audio.name, "answer": "A"})
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    for name in ("first", "second"):
        (tmp_path / f"{name}.yaml").write_text(YAML.format(suffix=name))
    return tmp_path


class Backend(NamedTuple):
    """An adapter, its model, what follows the server's address, where it looks for its key, and what the server counts."""

    adapter: str
    model: str
    path: str
    key: str
    counts: dict[str, Any]


OPENAI = Backend("openai_audio", "m", "/v1", "OPENAI_API_KEY", {"rate": 25})
GEMINI = Backend("gemini", "gemini-2.5-flash", "", "GEMINI_API_KEY", {"rate": 32, "split": True})
BOTH = pytest.mark.parametrize("backend", [OPENAI, GEMINI], ids=lambda one: one.adapter)


def command(
    server: FakeServer,
    folder: Path,
    *more: str,
    backend: Backend = OPENAI,
    retries: int = 1,
    args: str = "",
) -> list[str]:
    address = f"model={backend.model},base_url={server.url}{backend.path}"
    model_args = f"{address},timeout=0.7,retries={retries}{args}"
    flags = ["--model", backend.adapter, "--model_args", model_args, "--tasks", "first,second"]
    return [sys.executable, "-m", "marathon_eval", *flags, "--include_path", str(folder), "--json", *more]


def finished(flags: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(flags, env=environment, capture_output=True, text=True, timeout=60, check=False)


@BOTH
def test_a_run_against_a_server_with_every_fault(backend: Backend, folder: Path) -> None:
    """Nothing is scored that was not answered, finished answers are kept, a rerun asks only for the others."""
    key = "sk-test-0123456789"
    environment = {**os.environ, backend.key: key}
    with FakeServer(key=key, rejections=1, **backend.counts) as server:
        flags = command(server, folder, "--output_path", str(folder / "out"), backend=backend)
        done = finished(flags, environment)
        assert done.returncode == 3, done.stderr
        for task in json.loads(done.stdout)["tasks"].values():
            assert (task["n_scored"], task["n_errors"]) == (3, 5)
            assert task["strict"]["accuracy"]["value"] == 1.0
        asked = len(server.calls)
        # transport: the same answers
        again = finished(command(server, folder, backend=backend, retries=0), environment)
        assert again.returncode == 3
        assert json.loads(again.stdout)["cache"] == {"hits": 6, "misses": 10}
        assert len({call.prompt for call in server.calls[asked:]} - {"Go"}) == 10
    written = "".join(path.read_text() for path in (folder / "out").rglob("*.json*"))
    assert ("I won't listen to this" if backend == OPENAI else "the prompt was blocked: SAFETY") in written
    for text in (
        written,
        done.stdout,
        done.stderr,
        (folder / "cache" / "answers.sqlite").read_bytes().decode("latin1"),
    ):
        assert key not in text


@BOTH
def test_retry_errors_completes_a_run(backend: Backend, folder: Path) -> None:
    """A server that fails every other request once, and no retries below: the second round answers all."""
    rows = json.loads((folder / "rows.json").read_text())
    for number, row in enumerate(rows):
        row["question"] = f"q{number} [flaky]" if number % 2 else f"q{number}"
    (folder / "rows.json").write_text(json.dumps(rows))
    with FakeServer(**backend.counts) as server:
        rate = f",audio_tokens_per_second={backend.counts['rate']}"
        flags = command(server, folder, "--retry_errors", backend=backend, retries=0, args=rate)
        done = finished(flags, {**os.environ, backend.key: "any"})
        assert done.returncode == 0, done.stderr
        assert server.asked("q3 [flaky] first") == 2
    assert [task["n_scored"] for task in json.loads(done.stdout)["tasks"].values()] == [8, 8]


def test_ctrl_c_cancels_what_is_in_flight_and_saves_the_rest(folder: Path) -> None:
    with FakeServer() as server:
        process = subprocess.Popen(
            command(server, folder, args=",concurrency=16,audio_tokens_per_second=25"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (server.asked("q6 [slow] first") and server.asked("q7  second")):
            assert process.poll() is None
            time.sleep(0.02)
        while stored(folder / "cache") < 2:
            assert process.poll() is None
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        stdout, stderr = process.communicate(timeout=20)
    assert process.returncode == 130, stderr
    # the slow requests would have taken half a minute
    assert time.monotonic() - began < 15
    assert "Traceback" not in stderr
    tasks = json.loads(stdout)["tasks"]
    assert 2 <= sum(task["n_scored"] for task in tasks.values()) < 16
