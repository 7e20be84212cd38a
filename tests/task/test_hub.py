"""Tests that only needed files are downloaded, each once, with a local hub server that counts requests."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar
from urllib.parse import unquote, urlsplit

import pytest

from helpers import make_audiomarathon_data

REPO = "Hezep/AudioMarathon"
COMMIT = "ef00ea0" + "5" * 33
NEWEST = "a" * 40
ASK = """
import json, sys
from marathon_eval.errors import MarathonError
from marathon_eval.api.registry import Registry
from marathon_eval.task.task import load_task
registry = Registry()
for name, subset, limit in json.loads(sys.argv[1]):
    try:
        docset = load_task(registry.task_path(name), registry.task_path).docs(subset=subset, limit=limit)
    except MarathonError as error:
        sys.exit(f"marathon-eval: error: {error}")
    docs = [[doc.error, [audio.path for audio in doc.audio], doc.target] for doc in docset.docs]
    print(json.dumps({"manifest": docset.manifest(), "docs": docs}))
"""


class FakeHub(ThreadingHTTPServer):
    """Serves the files below `root` as one dataset repository at COMMIT; `asked` lists the contents given out."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answering)
        self.root = root
        self.asked: list[str] = []
        self.questions: list[str] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answering(BaseHTTPRequestHandler):
    """The few routes that huggingface_hub uses for a dataset."""

    protocol_version = "HTTP/1.1"
    server: FakeHub
    routes: ClassVar[tuple[str, ...]] = ("revision", "commits", "tree")

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.server.questions.append(f"{self.command} {path}")
        api, files = f"/api/datasets/{REPO}", f"/datasets/{REPO}/resolve/{COMMIT}/"
        if path.startswith(files):
            self.file(path.removeprefix(files))
        elif path in (api, f"{api}/revision/main"):
            self.send({"id": REPO, "sha": NEWEST, "siblings": []})
        elif path == f"{api}/revision/{COMMIT}":
            self.send({"id": REPO, "sha": COMMIT, "siblings": []})
        elif path == f"{api}/commits/main":
            titles = [
                {"id": commit, "title": "x", "message": "", "authors": [], "date": "2025-10-09T00:00:00.000Z"}
                for commit in (NEWEST, COMMIT)
            ]
            self.send(titles)
        elif path.startswith(f"{api}/tree/{COMMIT}"):
            self.tree(path.removeprefix(f"{api}/tree/{COMMIT}").strip("/"))
        else:
            self.missing("RepoNotFound")

    def tree(self, folder: str) -> None:
        below = self.server.root / folder
        if not below.is_dir():
            self.missing("EntryNotFound")
            return
        files = [path for path in sorted(below.rglob("*")) if path.is_file()]
        self.send(
            [
                {
                    "type": "file",
                    "oid": "0" * 40,
                    "size": path.stat().st_size,
                    "path": path.relative_to(self.server.root).as_posix(),
                }
                for path in files
            ]
        )

    def file(self, name: str) -> None:
        path = self.server.root / name
        if not path.is_file():
            self.missing("EntryNotFound")
            return
        content = path.read_bytes()
        if self.command == "GET":
            self.server.asked.append(name)
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def send(self, answer: Any) -> None:
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def missing(self, code: str) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", code)
        self.send_header("Content-Length", "0")
        self.end_headers()


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeHub]:
    server = FakeHub(make_audiomarathon_data.build(tmp_path_factory.mktemp("hub"), 6))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


class Asked:
    """One process with a hub's cache of its own."""

    def __init__(self, folder: Path, endpoint: str) -> None:
        self.env = {
            **{key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")},
            "HF_ENDPOINT": endpoint,
            "HF_HOME": str(folder / "hf"),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DISABLE_XET": "1",
            "MARATHON_EVAL_CACHE": str(folder / "cache"),
        }

    def __call__(self, *tasks: tuple[str, str, int | None], **env: str) -> tuple[list[dict[str, Any]], str]:
        done = subprocess.run(
            [sys.executable, "-c", ASK, json.dumps(tasks)],
            capture_output=True,
            text=True,
            env={**self.env, **env},
            timeout=120,
            check=False,
        )
        assert "Traceback" not in done.stderr, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_only_the_needed_files_are_asked_for_and_only_once(hub: FakeHub, tmp_path: Path) -> None:
    ask = Asked(tmp_path, hub.url)
    hub.asked.clear()
    (gtzan, had), _ = ask(("gtzan", "paper", 2), ("had", "paper", 2))
    assert all(error is None for error, _, _ in (*gtzan["docs"], *had["docs"]))
    assert gtzan["manifest"]["source"] == f"{REPO}@{COMMIT[:12]}"
    assert (gtzan["manifest"]["n_meta"], gtzan["manifest"]["n_loaded"]) == (6, 2)
    root = "GTZAN/concatenated_audio"
    metadata = f"{root}/music_genre_classification_meta.json"
    assert sorted(hub.asked) == sorted(
        [
            metadata,
            *(f"{root}/wav/{row['path']}" for row in json.loads((hub.root / metadata).read_text())[:2]),
            *(f"HAD/{path.split('/HAD/')[1]}" for _, (path,), _ in had["docs"]),
        ]
    )
    hub.asked.clear()
    hub.questions.clear()
    (again,), _ = ask(("gtzan", "paper", 2), HF_HUB_OFFLINE="1")
    assert again == gtzan
    assert hub.questions == []


def test_transcripts_come_with_their_clips_only(hub: FakeHub, tmp_path: Path) -> None:
    hub.asked.clear()
    (result,), _ = Asked(tmp_path, hub.url)(("librispeech", "paper", 1))
    folder = "librispeech-long/test-clean/1000/0"
    assert sorted(hub.asked) == [f"{folder}/1000-0-0000.flac", f"{folder}/1000-0.trans.txt"]
    assert result["docs"][0][0] is None
    assert len(result["docs"][0][2].split()) == 40


def test_a_whole_listing_without_a_network_comes_from_the_disk(hub: FakeHub, tmp_path: Path) -> None:
    ask = Asked(tmp_path, hub.url)
    (first,), _ = ask(("had", "full", None))
    assert first["manifest"]["n_loaded"] == 6
    (again,), _ = ask(("had", "full", None), HF_ENDPOINT="http://127.0.0.1:9", HF_HUB_OFFLINE="1")
    assert again == first
    for listing in (tmp_path / "cache" / "hub_listings").rglob("*.json"):
        listing.write_text("[damaged")
    (mended,), _ = ask(("had", "full", None))
    assert mended == first


def test_clips_that_the_hub_lacks_are_error_rows(hub: FakeHub, tmp_path: Path) -> None:
    gone = hub.root / "TAU" / "concatenated_resampled" / "airport" / "airport_0000_segment_1.wav"
    content = gone.read_bytes()
    gone.unlink()
    try:
        (result,), _ = Asked(tmp_path, hub.url)(("tau", "paper", 2))
    finally:
        gone.write_bytes(content)
    assert "airport_0000_segment_1.wav: no such audio file" in result["docs"][0][0]
    assert result["docs"][1][0] is None


@pytest.mark.parametrize("env", [{"HF_ENDPOINT": "http://127.0.0.1:9"}, {"HF_HUB_OFFLINE": "1"}])
@pytest.mark.parametrize("task", ["vox_age", "librispeech"])
def test_out_of_reach_is_one_line_that_says_what_to_do(
    tmp_path: Path, task: str, env: dict[str, str]
) -> None:
    answers, said = Asked(tmp_path, "http://127.0.0.1:9")((task, "paper", None), **env)
    assert answers == []
    assert said.count("\n") == 1
    assert f"the dataset {REPO} cannot be fetched from the hub" in said
    assert said.rstrip().endswith("give a local copy with --data_dir DIR")


def test_a_repository_or_commit_that_is_not_there(hub: FakeHub, tmp_path: Path) -> None:
    text = 'dataset_path: {}\ndataset_kwargs: {{revision: "{}", data_files: a.json}}\ndoc_to_text: q\ndoc_to_target: a\n'
    for name, revision, wanted in (
        ("no/where", "main", "no/where cannot be fetched"),
        (REPO, "0123456", "no commit 0123456"),
    ):
        (tmp_path / "own.yaml").write_text(text.format(name, revision))
        _, said = Asked(tmp_path, hub.url)((str(tmp_path / "own.yaml"), "", None))
        assert wanted in said
        assert said.count("\n") == 1
