"""Serves a hub, an API and a judge on loopback, as one stranger who tries every trick that a reply allows.

Each dataset of `HUBS` lies in its own way; `someone/rows` keeps to the hub's protocol, and its rows are hostile. The API
obeys a word in square brackets in the prompt, and answers every judge's question with a trick too. All that arrives is
kept in `heard`.
"""

from __future__ import annotations

import gzip
import io
import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit

import numpy as np
import soundfile

COMMIT = "d" * 40
#: Datasets that lie, each with what it lies about.
HUBS = ("etag", "commit", "sha", "names", "more", "endless", "bomb", "pages", "disk", "redirects", "text")
#: Tricks of the API, each in a row of its own.
TRICKS = (
    "redirect",
    "bomb",
    "echo",
    "escape",
    "traverse",
    "template",
    "page",
    "counts",
    "cut",
    "deep",
    "types",
)
#: Bytes that unpack to more than the limit of a reply.
BOMB = gzip.compress(bytes(300 << 20), 1)
ESCAPE = "\x1b]0;owned\x07\x1b[2J\u202e"


def clip(seconds: float = 0.2) -> bytes:
    """Return a WAV of noise."""
    out = io.BytesIO()
    noise = np.random.default_rng(3).uniform(-0.4, 0.4, round(8000 * seconds))
    soundfile.write(out, noise, 8000, format="WAV", subtype="PCM_16")
    return out.getvalue()


class Stranger(ThreadingHTTPServer):
    """The server; `home` is a folder that it would like to read and write, `trap` an address that nobody named."""

    daemon_threads = True

    def __init__(self, home: Path, trap: str) -> None:
        super().__init__(("127.0.0.1", 0), _Talking)
        self.home, self.trap, self.heard = home, trap, bytearray()
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = {"rows.jsonl": self.rows(), "a.wav": clip()}

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.shutdown()
        self.server_close()

    def handle_error(self, *_: object) -> None:
        """Ignore clients that hang up."""

    def rows(self) -> bytes:
        """Return rows whose audio leaves the data set, whose texts are templates, and one for each trick of the API."""
        paths = [
            str(self.home / "secret.wav"),
            "../" * 12 + "secret.wav",
            f"file://{self.home}/secret.wav",
            "a.wav\0",
        ]
        paths += [f"{self.trap}/a.wav", "~/secret.wav", "C:\\secret.wav", "|touch x", ""]
        rows = [{"q": "?", "a": "yes", "path": path} for path in paths]
        texts = [
            "{{ ''.__class__.__mro__ }}",
            "{% include '/etc/passwd' %}",
            ESCAPE,
            "<script>alert(1)</script>",
        ]
        rows += [{"q": text, "a": text, "path": "a.wav"} for text in texts]
        rows += [{"q": f"[{trick}]", "a": "yes", "path": "a.wav"} for trick in TRICKS]
        return "".join(json.dumps(row) + "\n" for row in rows).encode()


class _Talking(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Stranger

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self._hear(b"")
        path = unquote(urlsplit(self.path).path)
        parts = path.removeprefix("/api").removeprefix("/datasets/someone/").split("/")
        lie = parts[0] if path.startswith(("/api/datasets/someone/", "/datasets/someone/")) else ""
        if path.startswith("/api/"):
            self._about(lie, path)
        elif lie:
            self._file(lie, "/".join(parts[3:]))
        else:
            self._send(b"", 404)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self._hear(body)
        content = json.loads(body)
        prompt = json.dumps(content.get("messages"))
        trick = next((name for name in TRICKS if f"[{name}]" in prompt), "")
        if self.path.startswith("/judge"):
            self._talk("judge")
        else:
            self._talk(trick)

    def _hear(self, body: bytes) -> None:
        self.server.heard += f"{self.requestline}\n{self.headers}".encode() + body

    def _send(self, content: bytes, status: int = 200, **headers: str) -> None:
        lines = {"Content-Length": str(len(content)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        self.send_response(status)
        for name, value in lines.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _endless(self, block: bytes) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for _ in range(200_000_000 // len(block)):
            self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))

    def _about(self, lie: str, path: str) -> None:
        """Answer a question about a dataset."""
        home, files = self.server.home, self.server.files
        if "/tree/" in path:
            names = [f"../../{home.name}/x", "/etc/x"] if lie == "names" else list(files)
            entries = [{"type": "file", "oid": "0" * 40, "size": 1, "path": name} for name in names]
            next_page = f'<{self.server.url}{path}?cursor=1>; rel="next"'
            headers = {"Link": next_page} if lie == "pages" else {}
            self._send(json.dumps([] if lie == "pages" else entries).encode(), **headers)
        elif lie == "text":
            self._send(b"{" * 100_000)
        elif lie == "redirects":
            self._send(b"", 302, Location=f"{self.server.url}{path}x")
        elif lie == "bomb":
            self._send(BOMB, Content_Encoding="gzip")
        else:
            sha = f"../../../{home}/x" if lie == "sha" else COMMIT
            self._send(json.dumps({"id": f"someone/{lie}", "sha": sha, "siblings": []}).encode())

    def _file(self, lie: str, name: str) -> None:
        """Send a file of a dataset."""
        content = self.server.files.get(name)
        if content is None:
            self._send(b"", 404, X_Error_Code="EntryNotFound")
            return
        if lie == "endless" and self.command == "GET":
            self._endless(content)
            return
        headers = {
            "ETag": f'"{self.server.home}/.bashrc"' if lie == "etag" else '"0a1b"',
            "X_Repo_Commit": "../../../../x" if lie == "commit" else COMMIT,
        }
        if lie == "disk":
            headers["Content_Length"] = str(10**17)
        self._send(content * (50 if lie == "more" and self.command == "GET" else 1), **headers)

    def _talk(self, trick: str) -> None:
        """Answer a question of a run or a judge."""
        special: dict[str, Callable[[], None]] = {
            "redirect": lambda: self._send(b"", 307, Location=f"{self.server.trap}/v1/chat/completions"),
            "bomb": lambda: self._send(BOMB, Content_Encoding="gzip"),
            "cut": lambda: self._send(b'{"choices": [', Content_Type="application/json"),
            "deep": lambda: self._send(b"[" * 100_000, Content_Type="application/json"),
            "types": lambda: self._send(
                b'{"choices": {"0": 5}, "usage": []}', Content_Type="application/json"
            ),
        }
        if trick in special:
            special[trick]()
            return
        home, key = self.server.home, self.headers.get("Authorization", "")
        text = {
            "echo": f"yes, {key}",
            "escape": f"yes{ESCAPE}",
            "traverse": f"{home}/secret.wav ../../../../x file://{home}/.netrc",
            "template": "{{ ''.__class__.__mro__ }}{% include '/etc/passwd' %}",
            "page": "</script><script>fetch('/x')</script><img src=x onerror=alert(1)>",
            "judge": f"{ESCAPE}{{{{ 7 * 7 }}}} {home}/secret.wav {key}",
        }.get(trick, "yes")
        count = (
            {"prompt_tokens": -5, "completion_tokens": 1e300, "total_tokens": "x"}
            if trick == "counts"
            else {}
        )
        message = {"role": "assistant", "content": text}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        self._send(
            json.dumps(
                {
                    "id": "x",
                    "object": "chat.completion",
                    "created": 0,
                    "model": text,
                    "choices": [choice],
                    "usage": count,
                }
            ).encode(),
            Content_Type="application/json",
        )
