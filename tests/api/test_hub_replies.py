"""Tests that replies of a hub which lies about sizes are cut off: with the hub's own client, against a server on loopback."""

from __future__ import annotations

import gzip
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import HfApi, hf_hub_download

from marathon_eval.api import hub_client, hub_replies
from marathon_eval.api.hub_client import guard_hub_client
from marathon_eval.api.hub_replies import HubLie

COMMIT = "c" * 40
CONTENT = b"0123456789" * 100
BOMB = gzip.compress(bytes(20_000_000), 1)


class Server(ThreadingHTTPServer):
    """Serves the file CONTENT of any name; `lie` handles a request in its place, or returns False."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lie: Callable[[Handler], bool] = lambda _: False
        self.url = f"http://127.0.0.1:{self.server_port}"


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if not self.server.lie(self):
            self.reply(CONTENT)

    def reply(self, content: bytes, **headers: str) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.send_response(200)
        lines = {"ETag": '"0a"', "X-Repo-Commit": COMMIT, "Content-Length": str(len(content)), **named}
        for name, value in lines.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    def endless(self, block: bytes, **headers: str) -> None:
        """Send blocks until the client hangs up; the server's own limit is 100 MB."""
        self.send_response(200)
        for name, value in {"Transfer-Encoding": "chunked", **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        try:
            for _ in range(100_000_000 // len(block)):
                self.wfile.write(b"%x\r\n%s\r\n" % (len(block), block))
        except OSError:
            self.close_connection = True


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    guard_hub_client.cache_clear()
    guard_hub_client()
    server = Server()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()
    guard_hub_client.cache_clear()
    huggingface_hub.set_client_factory(huggingface_hub.utils._http.default_client_factory)


def downloaded(server: Server, folder: Path) -> Path:
    path = hf_hub_download(
        "a/b", "rows.json", repo_type="dataset", revision=COMMIT, endpoint=server.url, cache_dir=folder
    )
    return Path(path)


def get(handler: Handler) -> bool:
    return handler.command == "GET"


def more_than_announced(handler: Handler) -> bool:
    if get(handler):
        handler.reply(CONTENT * 3)
    return get(handler)


def without_an_end(handler: Handler) -> bool:
    if get(handler):
        handler.endless(CONTENT)
    return get(handler)


def a_gzip_of_more(handler: Handler) -> bool:
    if get(handler):
        handler.reply(BOMB, Content_Encoding="gzip")
    return get(handler)


def no_number(handler: Handler) -> bool:
    handler.reply(CONTENT, X_Linked_Size="-5")
    return True


def another_encoding(handler: Handler) -> bool:
    if get(handler):
        handler.reply(CONTENT, Content_Encoding="br")
    return get(handler)


def elsewhere(handler: Handler) -> bool:
    """The file's size stands in the redirect, as of files in a hub's large storage; the store then sends more."""
    if handler.path.startswith("/store"):
        handler.endless(CONTENT)
        return True
    handler.send_response(302)
    for name, value in (
        ("Location", f"http://localhost:{handler.server.server_port}/store/x?y=1"),
        ("X-Linked-Size", "1000"),
        ("Content-Length", "0"),
    ):
        handler.send_header(name, value)
    for name, value in (("X-Linked-Etag", '"0a"'), ("X-Repo-Commit", COMMIT)):
        handler.send_header(name, value)
    handler.end_headers()
    return True


@pytest.mark.parametrize(
    ("lie", "said"),
    [
        (more_than_announced, "sends 3000 bytes where 1000 were announced"),
        (without_an_end, "sends more than 1000 bytes"),
        (a_gzip_of_more, "sends more than 1000 bytes"),
        (no_number, "states no size: '-5'"),
        (another_encoding, "encoded as 'br'"),
        (elsewhere, "sends more than 1000 bytes"),
    ],
)
def test_a_file_is_cut_off_at_the_announced_size(
    server: Server, tmp_path: Path, lie: Callable[[Handler], bool], said: str
) -> None:
    server.lie = lie
    with pytest.raises(HubLie, match=said):
        downloaded(server, tmp_path / "hub")
    kept = [path for path in (tmp_path / "hub").rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in kept) <= 2 * len(CONTENT)


@pytest.mark.filterwarnings("ignore:Not enough free disk")  # the client's own, before it asks
def test_a_file_without_room_is_not_begun(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=500))
    with pytest.raises(HubLie, match=r"a file of 0\.0 GB, but .* has room for 0\.0 GB"):
        downloaded(server, tmp_path / "hub")


def test_whole_files_come_through(server: Server, tmp_path: Path) -> None:
    assert downloaded(server, tmp_path / "plain").read_bytes() == CONTENT

    def packed(handler: Handler) -> bool:
        if get(handler):
            handler.reply(gzip.compress(CONTENT), Content_Encoding="gzip")
        return get(handler)

    server.lie = packed
    assert downloaded(server, tmp_path / "packed").read_bytes() == CONTENT


def test_answers_are_bounded(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_replies, "MAX_ANSWER_BYTES", 1 << 20)
    api = HfApi(endpoint=server.url)
    for content in (BOMB, None):

        def lie(handler: Handler, content: bytes | None = content) -> bool:
            if content is None:
                handler.endless(b" " * 1000)
            else:
                handler.reply(content, Content_Encoding="gzip")
            return True

        server.lie = lie
        with pytest.raises(HubLie, match="sends more than 1048576 bytes"):
            api.dataset_info("a/b")


def test_listings_have_an_end(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_client, "MAX_PAGES", 5)

    def lie(handler: Handler) -> bool:
        handler.reply(b"[]", Link=f'<{server.url}/api/datasets/a/b/tree/{COMMIT}?cursor=1>; rel="next"')
        return True

    server.lie = lie
    with pytest.raises(HubLie, match="more than 5 pages"):
        list(HfApi(endpoint=server.url).list_repo_tree("a/b", repo_type="dataset", revision=COMMIT))


def test_a_hub_that_drips_is_left(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub_replies, "PATIENCE_S", 0.0)
    monkeypatch.setattr(hub_replies, "LEAST_RATE", 1e12)
    with pytest.raises(HubLie, match="the hub sent 1000 bytes in 0 s"):
        downloaded(server, tmp_path)
