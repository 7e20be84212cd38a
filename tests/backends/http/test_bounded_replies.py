"""Tests that no server holds a request for longer than `timeout=`, fills the memory, or sends the audio elsewhere."""

from __future__ import annotations

import gzip
import json
import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from helpers.http_requests import one
from marathon_eval.api.model import Model, Request
from marathon_eval.backends.http import bounded
from marathon_eval.models.gemini import Gemini
from marathon_eval.models.openai_audio import OpenAIAudio

#: Ten times as long as the longest pause between two bytes.
SECONDS = 0.5
Trick = Callable[["Handler"], None]


@cache
def bomb_bytes() -> bytes:
    """Return 300 MB packed, which takes a second: made for the tests that send it, not whenever tests are collected."""
    return gzip.compress(bytes(300 << 20), 1)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    trick: Trick
    asked: list[str]

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        self.asked.append(self.headers["host"])
        self.rfile.read(int(self.headers.get("content-length", 0)))
        self.close_connection = True
        with suppress(OSError):  # the client leaves early
            type(self).trick(self)

    def head(self, status: int = 200, kind: str = "text/event-stream", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content_type": kind, "connection": "close", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


def endless_pings(handler: Handler) -> None:
    handler.head()
    for _ in range(2000):
        # Gemini's SDK reads no comments
        handler.wfile.write(b"data: {}\n\n" if "enerateContent" in handler.path else b": ping\n\n")
        time.sleep(0.05)


def endless_headers(handler: Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\n")
    for number in range(2000):
        handler.wfile.write(f"x-{number}: y\r\n".encode())
        time.sleep(0.05)


def endless_interim_replies(handler: Handler) -> None:
    for _ in range(2000):
        handler.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.05)


def endless_error(handler: Handler) -> None:
    handler.head(400, "application/json")
    for _ in range(2000):
        handler.wfile.write(b" " * 100)
        time.sleep(0.05)


def endless_bytes(handler: Handler) -> None:
    handler.head()
    for _ in range(300):
        handler.wfile.write(b'data: {"model": "' + b"x" * (1 << 20) + b'"}\n\n')


def bomb(handler: Handler) -> None:
    handler.head(content_encoding="gzip")
    handler.wfile.write(bomb_bytes())


def bomb_in_an_error(handler: Handler) -> None:
    handler.head(400, "application/json", content_encoding="gzip")
    handler.wfile.write(bomb_bytes())


def other_encoding(handler: Handler) -> None:
    handler.head(content_encoding="br")
    handler.wfile.write(b"x" * 1000)


def damaged_gzip(handler: Handler) -> None:
    handler.head(content_encoding="gzip")
    handler.wfile.write(b"x" * 1000)


def redirect(handler: Handler) -> None:
    port = handler.server.server_address[1]  # type: ignore[index]  # an address of two parts
    handler.head(307, location=f"http://localhost:{port}{handler.path}")


@contextmanager
def serving(trick: Trick) -> Iterator[tuple[str, list[str]]]:
    asked: list[str] = []
    handler = type("Bound", (Handler,), {"trick": staticmethod(trick), "asked": asked})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()


def model(name: str, url: str, stream: bool, seconds: float) -> Model:
    adapter, path = (OpenAIAudio, "/v1") if name == "openai_audio" else (Gemini, "")
    settings = {"model": "gemini-2.5-flash", "base_url": url + path, "stream": stream}
    return adapter.from_args({**settings, "retries": 0, "timeout": seconds})


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Import the SDKs, whose seconds are not the replies'."""
    import google.genai
    import openai

    assert openai
    assert google.genai


@pytest.fixture(autouse=True)
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("OPENAI_API_KEY", "GEMINI_API_KEY"):
        monkeypatch.setenv(variable, "sk-" + "0" * 40)


@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@pytest.mark.parametrize("name", ["openai_audio", "gemini"])
class TestReplies:
    @pytest.mark.parametrize(
        "trick",
        [endless_pings, endless_headers, endless_interim_replies, endless_error],
        ids=lambda t: t.__name__,
    )
    def test_the_timeout_is_the_whole_replys(self, name: str, stream: bool, trick: Trick) -> None:
        """Every byte comes in time, and the reply never ends."""
        with serving(trick) as (url, _):
            made = model(name, url, stream, SECONDS)
            began = time.monotonic()
            response = one(made, Request("q"))
            spent = time.monotonic() - began
        assert response.status == "error"
        assert response.error == f"no answer within {SECONDS:g} s"
        assert spent < 30

    @pytest.mark.parametrize("trick", [endless_bytes, bomb, bomb_in_an_error], ids=lambda t: t.__name__)
    def test_the_bytes_are_bounded_once_unpacked(
        self, name: str, stream: bool, trick: Trick, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(bounded, "MAX_REPLY_BYTES", 8 << 20)
        bomb_bytes()  # before the memory is watched
        with serving(trick) as (url, _):
            tracemalloc.start()
            response = one(model(name, url, stream, 60.0), Request("q"))
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
        assert response.status == "error"
        assert response.error == "the server's reply is longer than 8 MB"
        assert peak < 100 << 20

    @pytest.mark.parametrize(
        ("trick", "said"),
        [
            (other_encoding, "the server's reply is encoded as 'br'; allowed: gzip, deflate"),
            (damaged_gzip, "the server's reply cannot be unpacked"),
        ],
        ids=["other", "damaged"],
    )
    def test_what_cannot_be_unpacked_is_an_error_row(
        self, name: str, stream: bool, trick: Trick, said: str
    ) -> None:
        with serving(trick) as (url, _):
            response = one(model(name, url, stream, 60.0), Request("q"))
        assert response.status == "error"
        assert said in str(response.error)

    def test_no_redirect_leads_to_another_host(self, name: str, stream: bool) -> None:
        with serving(redirect) as (url, asked):
            response = one(model(name, url, stream, 60.0), Request("q"))
        assert response.status == "error"
        assert not any("localhost" in host for host in asked)


@pytest.mark.parametrize("encoding", ["gzip", "identity"])
def test_a_packed_answer_is_read(encoding: str) -> None:
    body = {
        "id": "x",
        "object": "chat.completion",
        "created": 0,
        "model": "m",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "B"}}],
    }

    def answer(handler: Handler) -> None:
        text = json.dumps(body).encode()
        handler.head(kind="application/json", content_encoding=encoding)
        handler.wfile.write(gzip.compress(text) if encoding == "gzip" else text)

    with serving(answer) as (url, _):
        assert one(model("openai_audio", url, False, 60.0), Request("q")).text == "B"
