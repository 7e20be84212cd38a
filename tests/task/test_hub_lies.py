"""Tests a server at HF_ENDPOINT that lies: one line says so, and no file is written outside of the caches."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pytest

from marathon_eval.api.hub_client import full_commit, plain_name
from marathon_eval.errors import MarathonError

COMMIT = "b" * 40
ROWS = json.dumps([{"q": "What?", "a": "a dog"}]).encode()
TASK = "dataset_path: someone/rows\ndataset_kwargs: {KWARGS}\ndoc_to_text: q\ndoc_to_target: a\n"
FILE = "revision: main, data_files: rows.json"
TREE = "revision: main, file_tree: ['sounds/{q}_{a}.wav']"


class LyingHub(ThreadingHTTPServer):
    """Serves one dataset of one file; `lies` replaces parts of its replies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.lies: dict[str, Any] = {}


class Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: LyingHub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        lies, path = self.server.lies, unquote(urlsplit(self.path).path)
        api = "/api/datasets/someone/rows"
        if "redirect" in lies:
            self.send(b"", 302, {"Location": f"{path}x"})
        elif path == api or path.startswith(f"{api}/revision"):
            info = {"id": "someone/rows", "sha": lies.get("sha", COMMIT), "siblings": []}
            self.send(lies.get("info", json.dumps(info).encode()))
        elif path.startswith(f"{api}/tree"):
            entries = [
                {"type": "file", "oid": "0" * 40, "size": 1, "path": lies.get("path", "sounds/a_b.wav")}
            ]
            self.send(lies.get("tree", json.dumps(entries).encode()))
        elif path.startswith("/api/"):
            self.send(b"", 404)
        else:
            headers = {"ETag": lies.get("etag", '"0123abcd"'), "X-Repo-Commit": lies.get("commit", COMMIT)}
            self.send(ROWS, 200, {name: value for name, value in headers.items() if value is not None})

    def send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@pytest.fixture(scope="module")
def hub() -> Iterator[LyingHub]:
    server = LyingHub()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


Asking = Callable[[str, dict[str, Any]], "subprocess.CompletedProcess[str]"]


@pytest.fixture
def asking(hub: LyingHub, tmp_path: Path) -> Asking:
    """Return a function that validates a task of this hub in a process of its own, whose home is below tmp_path."""

    def asked(kwargs: str, lies: dict[str, Any]) -> subprocess.CompletedProcess[str]:
        hub.lies = {
            name: value.replace("HOME", str(tmp_path)) if isinstance(value, str) else value
            for name, value in lies.items()
        }
        (tmp_path / "own.yaml").write_text(TASK.replace("KWARGS", kwargs))
        env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
        folders = {"HF_HOME": str(tmp_path / "hf"), "MARATHON_EVAL_CACHE": str(tmp_path / "cache")}
        more = {"HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "HF_HUB_OFFLINE": "0"}
        command = [
            sys.executable,
            "-m",
            "marathon_eval",
            "--model",
            "dummy",
            "--tasks",
            str(tmp_path / "own.yaml"),
        ]
        return subprocess.run(
            [*command, "--no_cache"],
            env={**env, **folders, **more, "HF_HUB_DISABLE_XET": "1"},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return asked


def outside(folder: Path) -> set[str]:
    """Return what lies beside the two caches."""
    return {path.name for path in folder.iterdir()} - {"hf", "cache", "own.yaml"}


@pytest.mark.parametrize(
    ("kwargs", "lies", "said"),
    [
        (FILE, {"etag": '"HOME/evil"'}, "etag that is no name of a file"),
        (FILE, {"etag": '"../../../../evil"'}, "etag that is no name of a file"),
        (FILE, {"etag": '".."'}, "etag that is no name of a file"),
        (FILE, {"commit": "../../../../../evil"}, "names no commit"),
        (FILE, {"commit": "main"}, "names no commit"),
        (TREE, {"sha": "../../../evil"}, "names no commit"),
        (TREE, {"sha": "HOME/evil"}, "names no commit"),
        (TREE, {"sha": None}, "names no commit"),
        (TREE, {"path": "../../evil_a.wav"}, "outside the repository"),
        (TREE, {"path": "/evil/a_b.wav"}, "outside the repository"),
        (TREE, {"path": "sounds\\\\..\\\\a_b.wav"}, "outside the repository"),
        (TREE, {"tree": b"[1, 2]"}, "cannot be fetched"),
        (TREE, {"tree": b"<html>"}, "cannot be fetched"),
        (TREE, {"info": b"[]"}, "cannot be fetched"),
        (TREE, {"info": b"{" * 100_000}, "cannot be fetched"),
        (TREE, {"redirect": True}, "cannot be fetched"),
    ],
)
def test_a_lie_is_one_line_and_writes_nothing_outside(
    asking: Asking, tmp_path: Path, kwargs: str, lies: dict[str, Any], said: str
) -> None:
    done = asking(kwargs, lies)
    assert "Traceback" not in done.stderr, done.stderr
    assert done.returncode == 2, done.stderr
    assert said in done.stderr.splitlines()[-1]
    assert outside(tmp_path) == set()


def test_an_honest_hub_is_read(asking: Asking, tmp_path: Path) -> None:
    done = asking(FILE, {})
    assert done.returncode == 0, done.stderr
    assert outside(tmp_path) == set()


@pytest.mark.parametrize(
    "name", ["", ".", "..", "a/../b", "/a", "a//b", "a/", "C:/a", "a\\b", "a\0b", None, 5]
)
def test_names_that_leave_the_repository(name: object) -> None:
    with pytest.raises(MarathonError, match=r"own.yaml:1: the hub lists a file outside"):
        plain_name(name, "own.yaml:1")


def test_plain_names_and_commits_stay() -> None:
    assert plain_name("GTZAN/wav/a b..c.wav", "x") == "GTZAN/wav/a b..c.wav"
    assert full_commit(COMMIT, "x") == COMMIT
    for wrong in (COMMIT.upper(), COMMIT[:39], COMMIT + "\n", "", None, 7):
        with pytest.raises(MarathonError, match="names no commit"):
            full_commit(wrong, "x")
