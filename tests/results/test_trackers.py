"""Tests `--log_to` and `push`: what wandb, mlflow, trackio and a hub on loopback get of a run."""

from __future__ import annotations

import base64
import json
import os
import re
import sqlite3
import subprocess
import sys
import threading
import venv
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import write_task
from helpers.stub_trackers import Calls, stub_trackers
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.results.hub_push import HubPlace, parse_hub_place
from marathon_eval.results.trackers import parse_tracker

ROOT = Path(__file__).resolve().parents[2]
TRACKED = "wandb:team/audio,mlflow:audio,trackio"
KEYS = (
    "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\n"
    "filter_list: [{name: 'strict[1]', filter: [{function: take_first}]}]\n"
    "headline: {reading: 'strict[1]', metric: exact_match, scale: 100}\n"
)
RunDummy = Callable[..., int]


@pytest.fixture
def run(tmp_path: Path) -> RunDummy:
    """Run the dummy on three rows, of which it gets two right."""
    rows = [{"q": "one", "a": "x"}, {"q": "two", "a": "y"}, {"q": "three", "a": "x"}]
    task = write_task(tmp_path, KEYS, rows)

    def typed(*flags: str) -> int:
        words = ["--model", "dummy", "--model_args", "answer=x", "-t", str(task)]
        return main([*words, "-c", str(tmp_path / "cache"), "-o", str(tmp_path / "out"), *flags])

    return typed


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return stub_trackers(monkeypatch)


def results_of(tmp_path: Path) -> Path:
    (file,) = (tmp_path / "out").rglob("results.json")
    return file.parent


def test_each_tracker_gets_metrics_settings_and_files(
    run: RunDummy, calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--log_to", TRACKED, "--json", "--export", "lm_eval") == 0
    json.loads(capsys.readouterr().out)  # what a library prints does not go there
    name = results_of(tmp_path).parent.name
    (started,) = calls.of("wandb.init")
    assert (started["project"], started["entity"], started["name"]) == ("audio", "team", name)
    assert started["config"]["config.model_args"] == {"answer": "x"}
    (metrics,) = calls.of("wandb.log")
    assert metrics["own/headline"] == pytest.approx(200 / 3)
    assert metrics["own/strict[1]/exact_match"] == pytest.approx(2 / 3)
    assert (metrics["own/n_scored"], metrics["own/coverage"]) == (3, 1)
    files = calls.of("wandb.artifact")[0]
    assert files[:2] == ["results.json", "samples_own.jsonl"]
    assert all(file.startswith("lm_eval/") for file in files[2:])
    assert calls.of("mlflow.experiment") == ["audio"]
    assert calls.of("mlflow.metrics")[0]["own/strict_1_/exact_match"] == pytest.approx(2 / 3)
    assert ("results.json", None) in calls.of("mlflow.artifact")
    assert calls.of("trackio.init")[0][:2] == ("marathon_eval", name)
    assert calls.of("trackio.log") == [metrics]
    assert {"wandb.finish", "mlflow.end", "trackio.finish"} <= {called for called, _ in calls}


def test_a_tracker_that_fails_loses_no_results_and_push_logs_them(
    run: RunDummy, calls: Calls, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    calls.broken = True
    assert run("--log_to", "wandb") == 2
    shown = capsys.readouterr()
    folder = results_of(tmp_path)
    assert "0.6667" in shown.out
    assert "--log_to: wandb: api_key not configured (no-tty). call wandb.login" in shown.err
    assert f"the results are in {folder}: marathon-eval push logs them again" in shown.err
    calls.broken = False
    assert main(["push", str(tmp_path / "out"), "wandb", "trackio:p"]) == 0
    assert calls.of("wandb.log")[0]["own/n_scored"] == 3
    assert calls.of("trackio.init")[0][0] == "p"


def test_a_set_logs_each_run_once(run: RunDummy, calls: Calls, tmp_path: Path) -> None:
    (tmp_path / "board.yaml").write_text(
        f"tasks: [{tmp_path / 'own.yaml'}]\noutput_path: {tmp_path / 'out'}\nuse_cache: {tmp_path / 'cache'}\n"
        "log_to: trackio:p\nmodels: [dummy, {model: dummy, model_args: answer=x}]\n"
    )
    for _ in range(2):
        assert main(["-C", str(tmp_path / "board.yaml")]) == 0
    assert len(calls.of("trackio.init")) == 2


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("wandbb", "--log_to: no tracker 'wandbb'. Did you mean wandb? Trackers: wandb, mlflow, trackio"),
        ("wandb:", "names no project; write wandb:PROJECT or wandb"),
        ("trackio", "trackio is not installed: pip install 'marathon-eval[trackio]'"),
    ],
)
def test_a_tracker_that_cannot_be_is_refused(text: str, reason: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "trackio", None)
    with pytest.raises(MarathonError, match=re.escape(reason)):
        parse_tracker(text, "--log_to")


def test_it_is_refused_before_anything_is_asked(
    run: RunDummy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    assert run("--log_to", "mlflow") == 2
    assert not (tmp_path / "cache").exists()


# -- the hub ------------------------------------------------------------------------------------------------------------------


class WritableHub(ThreadingHTTPServer):
    """Takes commits to dataset repositories; `files` holds their content by path, `created` the new repositories."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Taking)
        self.files: dict[str, bytes] = {}
        self.created: list[dict[str, Any]] = []
        self.token = "hf_right"
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.repository = f"{self.url}/datasets/me/results"


class Taking(BaseHTTPRequestHandler):
    """The routes by which huggingface_hub creates a repository and commits small files."""

    protocol_version = "HTTP/1.1"
    server: WritableHub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        self.answer(404, {"error": "not found"})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.headers.get("Authorization") != f"Bearer {self.server.token}":
            self.answer(401, {"error": "Invalid username or password."})
        elif self.path == "/api/repos/create":
            self.server.created.append(json.loads(body))
            self.answer(200, {"url": self.server.repository, "name": "me/results"})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            self.answer(200, {"files": modes})
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    value = line["value"]
                    self.server.files[value["path"]] = base64.b64decode(value["content"])
            url = f"{self.server.repository}/commit/{'a' * 40}"
            self.answer(200, {"commitUrl": url, "commitOid": "a" * 40, "hookOutput": "", "success": True})
        else:
            self.answer(404, {"error": self.path})

    def answer(self, code: int, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def hub() -> Iterator[WritableHub]:
    server = WritableHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def pushed(hub: WritableHub, token: str, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    env |= {
        "HF_ENDPOINT": hub.url,
        "HF_TOKEN": token,
        "HF_HUB_DISABLE_XET": "1",
    }
    command = [sys.executable, "-m", "marathon_eval", "push", *words]
    return subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)


def test_push_commits_the_files_of_all_runs_to_a_private_repository(
    run: RunDummy, hub: WritableHub, tmp_path: Path
) -> None:
    assert run() == run("--limit", "2") == 0
    (tmp_path / "out" / "unfinished").mkdir()
    (tmp_path / "out" / "unfinished" / "samples_own.jsonl.part").write_text("{}\n")
    done = pushed(hub, "hf_right", str(tmp_path / "out"), "hf://datasets/me/results/audio")
    assert done.returncode == 0, done.stderr
    assert f"2 pushed: {hub.repository}/commit/aaaa" in done.stdout
    (created,) = hub.created
    assert (created["name"], created["organization"], created["type"]) == ("results", "me", "dataset")
    assert created.get("private") is True or created.get("visibility") == "private"
    local = {
        f"audio/{file.relative_to(tmp_path / 'out')}": file.read_bytes()
        for file in (tmp_path / "out").rglob("*")
        if file.suffix in (".json", ".jsonl")
    }
    assert len(local) == 4
    assert hub.files == local


def test_push_without_a_right_token_says_how_to_log_in(
    run: RunDummy, hub: WritableHub, tmp_path: Path
) -> None:
    assert run() == 0
    done = pushed(hub, "hf_wrongwrongwrong", str(results_of(tmp_path)), "hf://datasets/me/results")
    assert done.returncode == 2
    assert "push: hf://datasets/me/results: " in done.stderr
    assert "set HF_TOKEN, or log in with `hf auth login`" in done.stderr
    assert "Traceback" not in done.stderr
    assert "hf_wrongwrongwrong" not in done.stderr


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("hf://datasets/me/results", HubPlace("me/results", None, "")),
        ("hf://datasets/me/results/", HubPlace("me/results", None, "")),
        ("hf://datasets/me/results@dev/a/b", HubPlace("me/results", "dev", "a/b")),
        ("hf://me/results", None),
        ("hf://datasets/results", None),
        ("hf://datasets/me/results/../x", None),
        ("hf://datasets/me/results//x", None),
    ],
)
def test_places_on_the_hub(text: str, place: HubPlace | None) -> None:
    if place is not None:
        assert parse_hub_place(text, "push") == place
        return
    with pytest.raises(MarathonError, match="is not hf://datasets/OWNER/NAME"):
        parse_hub_place(text, "push")


def test_push_of_a_folder_without_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push", str(tmp_path), "hf://datasets/me/results"]) == 2
    assert "no results.json here or below" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_real_libraries_store_a_run_offline(tmp_path: Path) -> None:
    """In an environment of its own, which sees this one's packages; each library is installed from the package index."""
    task = write_task(tmp_path, KEYS, [{"q": "one", "a": "x"}, {"q": "two", "a": "y"}])
    venv.create(tmp_path / "env", with_pip=True)
    (site,) = (tmp_path / "env").glob("lib/python*/site-packages")
    here = next(path for path in sys.path if path.endswith("site-packages"))
    (site / "these.pth").write_text(f"{here}\n{ROOT}\n")
    python = str(tmp_path / "env" / "bin" / "python")
    # the other pins are of the tests' environment, whose pillow is newer than trackio allows
    pinned = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in pinned if line.partition("==")[0] in ("wandb", "mlflow-skinny", "trackio")]
    assert len(pins) == 3
    subprocess.run([python, "-m", "pip", "install", "-q", *pins], check=True)
    env = {
        **os.environ,
        "WANDB_MODE": "offline",
        "WANDB_DIR": str(tmp_path),
        "MLFLOW_TRACKING_URI": (tmp_path / "mlruns").as_uri(),
        "MLFLOW_ALLOW_FILE_STORE": "true",
        "TRACKIO_DIR": str(tmp_path / "trackio"),
    }
    flags = ["--model", "dummy", "-a", "answer=x", "-t", str(task), "--no_cache", "-o", str(tmp_path / "out")]
    command = [python, "-m", "marathon_eval", *flags, "--log_to", "wandb:a,mlflow:b,trackio:c"]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert list((tmp_path / "wandb").glob("offline-run-*/*.wandb"))
    (metric,) = (tmp_path / "mlruns").rglob("headline")
    assert float(metric.read_text().split()[1]) == 50
    assert [path.name for path in (tmp_path / "mlruns").rglob("samples_own.jsonl")] == ["samples_own.jsonl"]
    with sqlite3.connect(tmp_path / "trackio" / "c.db") as database:
        ((stored,),) = database.execute("SELECT metrics FROM metrics").fetchall()
    assert json.loads(stored)["own/headline"] == 50
