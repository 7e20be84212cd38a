"""Tests that of a hub's parquet file only the needed columns are asked for, by ranges, with a server that counts bytes."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import pyarrow  # type: ignore[import-untyped]  # ships no stubs
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest

from helpers.stranger import clip

COMMIT = "e" * 40
ROWS, GROUP, VIDEO = 12, 3, 200_000
NAMES = ("data/test-0.parquet", "data/test-1.parquet")
TASK = """\
dataset_path: {path}
dataset_kwargs: {{revision: {commit}, data_files: "data/test-*.parquet"}}
doc_to_text: "q{more}"
doc_to_audio: sound
doc_to_target: a
"""
ASK = """
import json, sys
from pathlib import Path
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.task.task import load_task
for path, data_dir in json.loads(sys.argv[1]):
    registry = Registry()
    try:
        docset = load_task(Path(path), registry.task_path).docs(data_dir)
    except MarathonError as error:
        sys.exit(f"marathon-eval: error: {error}")
    clips = [audio.path for doc in docset.docs for audio in doc.audio]
    print(json.dumps({"manifest": docset.manifest_sha256, "clips": len(clips), "rows": len(docset.docs)}))
"""


class Hub(ThreadingHTTPServer):
    """Serves the files below `root` as the dataset someone/videos; `sent` has the bytes of each reply with content."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), _Ranges)
        self.root, self.ranges, self.sent = root, True, list[tuple[str, int]]()


class _Ranges(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Hub

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = unquote(urlsplit(self.path).path)
        api, files = "/api/datasets/someone/videos", f"/datasets/someone/videos/resolve/{COMMIT}/"
        if path.startswith(f"{api}/tree/{COMMIT}"):
            self.reply(200, json.dumps([self.entry(name) for name in NAMES]).encode())
        elif path.startswith(api):
            self.reply(200, json.dumps({"id": "someone/videos", "sha": COMMIT, "siblings": []}).encode())
        elif path.startswith(files):
            self.file(path.removeprefix(files))
        else:
            self.reply(404, b"")

    def entry(self, name: str) -> dict[str, Any]:
        content = (self.server.root / name).read_bytes()
        stored = {"oid": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return {"type": "file", "path": name, "size": len(content), "oid": "0" * 40, "lfs": stored}

    def file(self, name: str) -> None:
        content = (self.server.root / name).read_bytes()
        etag = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
        match = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if match is None or not self.server.ranges:
            self.reply(200, content, name, **etag)
            return
        first, last = int(match[1]), int(match[2])
        about = {"Content-Range": f"bytes {first}-{last}/{len(content)}"}
        self.reply(206, content[first : last + 1], name, **etag, **about)

    def reply(self, status: int, content: bytes, name: str = "", **headers: str) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(key, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)
            if name:
                self.server.sent.append((name, len(content)))


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    root = tmp_path / "repository"
    (root / "data").mkdir(parents=True)
    draw = np.random.default_rng(0)
    for shard, name in enumerate(NAMES):
        rows = [
            {
                "q": f"What is heard in {shard}.{number}?",
                "a": "noise",
                "sound": {"bytes": clip(0.05 + 0.01 * number), "path": f"{number}.wav"},
                "video": draw.bytes(VIDEO),
            }
            for number in range(ROWS)
        ]
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / name, row_group_size=GROUP)
    server = Hub(root)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def asked(folder: Path, url: str, *tasks: tuple[Path, Path | None]) -> tuple[list[dict[str, Any]], str]:
    """Read tasks in a process with caches of its own; return what it says of each, and its errors."""
    env = {key: value for key, value in os.environ.items() if not key.lower().endswith("_proxy")}
    env |= {
        "HF_HOME": str(folder / "hf"),
        "MARATHON_EVAL_CACHE": str(folder / "cache"),
        "HF_HUB_OFFLINE": "0",
    }
    words = json.dumps([(str(task), None if data is None else str(data)) for task, data in tasks])
    done = subprocess.run(
        [sys.executable, "-c", ASK, words],
        env={**env, "HF_ENDPOINT": url, "HF_HUB_DISABLE_XET": "1"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_only_needed_columns_are_sent_and_kept(hub: Hub, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{hub.server_port}"
    own, all_of = tmp_path / "own.yaml", tmp_path / "all.yaml"
    own.write_text(TASK.format(path="someone/videos", commit=COMMIT, more=""))
    all_of.write_text(TASK.format(path="someone/videos", commit=COMMIT, more=" {{ video | length }}"))
    ((remote, local), said) = asked(tmp_path, url, (own, None), (own, hub.root))
    assert remote == {**local, "clips": 2 * ROWS, "rows": 2 * ROWS}
    assert "reading 3 of 4 columns of data/test-0.parquet" in said
    whole = sum((hub.root / name).stat().st_size for name in NAMES)
    sent = [size for _, size in hub.sent]
    assert sum(sent) < whole / 5
    assert max(sent) < VIDEO * GROUP / 2, "a row group's needed columns at most"
    hub.sent.clear()
    ((again, every), _) = asked(tmp_path, url, (own, None), (all_of, None))
    assert again == remote
    assert every["rows"] == 2 * ROWS
    assert sorted(hub.sent) == [(name, (hub.root / name).stat().st_size) for name in NAMES], (
        "most is needed: whole"
    )
    ((offline,), _) = asked(tmp_path, "http://127.0.0.1:9", (own, None))
    assert offline == remote


def test_a_hub_that_sends_other_ranges_is_one_line(hub: Hub, tmp_path: Path) -> None:
    hub.ranges = False
    own = tmp_path / "own.yaml"
    own.write_text(TASK.format(path="someone/videos", commit=COMMIT, more=""))
    found, said = asked(tmp_path, f"http://127.0.0.1:{hub.server_port}", (own, None))
    assert found == []
    assert said.count("\n") == 1
    assert "were announced or asked for" in said
    assert "give a local copy with --data_dir" in said
