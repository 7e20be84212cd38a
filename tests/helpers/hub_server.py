"""Serves one folder as one repository of a model hub on loopback, and records which files were requested."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """Holds the names whose content was sent (`files`), and the address for HF_ENDPOINT (`url`)."""

    folder: Path
    repository: str
    files: list[str] = field(default_factory=list)
    url: str = ""

    def info(self) -> dict[str, Any]:
        names = sorted(path.name for path in self.folder.iterdir())
        return {
            "_id": "0",
            "id": self.repository,
            "modelId": self.repository,
            "sha": COMMIT,
            "private": False,
            "siblings": [{"rfilename": name} for name in names],
            "tags": [],
            "downloads": 0,
            "likes": 0,
        }

    def tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": digest(path)[:40]}
            for path in sorted(self.folder.iterdir())
        ]


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@contextmanager
def serving(folder: Path, repository: str) -> Iterator[FakeHub]:
    """Serve until the block ends."""
    hub = FakeHub(folder, repository)

    class Answer(BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            """Not into the test's output."""

        def do_HEAD(self) -> None:
            self.reply(with_body=False)

        def do_GET(self) -> None:
            self.reply(with_body=True)

        def reply(self, with_body: bool) -> None:
            path = unquote(urlparse(self.path).path)
            if path.startswith(f"/api/models/{repository}/tree/"):
                self.send(json.dumps(hub.tree()).encode(), "application/json", with_body)
            elif path.startswith(f"/api/models/{repository}"):
                self.send(json.dumps(hub.info()).encode(), "application/json", with_body)
            elif path.startswith(f"/{repository}/resolve/") and (folder / Path(path).name).is_file():
                if with_body:
                    hub.files.append(Path(path).name)
                file = folder / Path(path).name
                self.send(file.read_bytes(), "application/octet-stream", with_body, digest(file))
            else:
                self.send_response(404)
                self.send_header("X-Error-Code", "RepoNotFound" if "/api/" in path else "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()

        def send(self, body: bytes, kind: str, with_body: bool, etag: str | None = None) -> None:
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Repo-Commit", COMMIT)
            if etag is not None:
                self.send_header("ETag", f'"{etag}"')
            self.end_headers()
            if with_body:
                self.wfile.write(body)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
