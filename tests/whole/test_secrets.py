"""A secret is in no file and no message, and two secrets are two models."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from pydantic import Field, SecretStr

from helpers.minimal_task import KEYS, write_task
from marathon_eval.api.model import Model, ModelSettings, Request, Response, Usage
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cli.main import main
from marathon_eval.files import sha256_of

KEY = "Zq7-very/secret+Key"
ECHOING = """
import os
from marathon_eval.api.model import Model, ModelSettings, Response, Usage

class Settings(ModelSettings):
    token: str = ""
    how: str = "text"
    note: str = ""

class Echoing(Model):
    Settings = Settings

    def generate(self, requests):
        for request in requests:
            key = self.settings.token or os.environ["MY_API_KEY"]
            if self.settings.how == "raise":
                raise ValueError(f"refused: {key}")
            if self.settings.how == "failed":
                yield request, Response.failed(f"refused: {key}")
            elif self.settings.how == "details":
                yield request, Response("A", usage=Usage(details={"asked": ["with", key]}))
            else:
                yield request, Response(f"A {key}")
"""


def written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


# a model's own words are searched for the secrets of its own settings alone
@pytest.mark.parametrize(
    ("where", "how"),
    [("argument", "text")]
    + [
        (where, how)
        for where in ("argument", "environment", "noted")
        for how in ("raise", "failed", "details")
    ],
)
def test_no_file_and_no_message_holds_a_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], how: str, where: str
) -> None:
    (tmp_path / "task").mkdir()
    write_task(tmp_path / "task", KEYS, [{"q": "one", "a": "A"}])
    (tmp_path / "echoing.py").write_text(ECHOING)
    args: dict[str, Any] = {"how": how}
    if where != "argument":
        monkeypatch.setenv("MY_API_KEY", KEY)
    if where != "environment":
        args["token" if where == "argument" else "note"] = KEY
    out = tmp_path / "out"
    command = ["--model", str(tmp_path / "echoing.py"), "--model_args", json.dumps(args)]
    command += ["--tasks", str(tmp_path / "task" / "own.yaml"), "--output_path", str(out / "runs")]
    code = main([*command, "--use_cache", str(out / "cache")])
    assert code == (3 if how in ("raise", "failed") else 0)
    assert b"redacted" in written(out)
    assert KEY.encode() not in written(out)
    assert json.dumps(KEY)[1:-1].encode() not in written(out)
    assert main(["cache", "ls", "--use_cache", str(out / "cache")]) == 0
    assert main(["cache", "why", *command[:6], "--use_cache", str(out / "cache")]) == 0
    said = capsys.readouterr()
    assert KEY not in said.out + said.err
    assert main(["cache", "verify", "--use_cache", str(out / "cache")]) == 0


class Keyed(Model):
    class Settings(ModelSettings):
        token: str = ""
        api_key: SecretStr | None = None
        extra: dict[str, Any] = Field(default_factory=dict)

    def generate(self, requests):
        for request in requests:
            yield request, Response(repr(self.settings), usage=Usage())


@pytest.mark.parametrize(
    ("one", "two"),
    [
        ({"token": "<audio>"}, {"token": "<|AUDIO|>"}),
        ({"token": "short"}, {"token": "other"}),
        ({"api_key": "aaaaaaaaaa"}, {"api_key": "aaaaaaaaab"}),
        ({"extra": {"deep": [{"password": "p1"}]}}, {"extra": {"deep": [{"password": "p2"}]}}),
        ({"extra": {"secret": {"a": 1}}}, {"extra": {"secret": {"a": 2}}}),
        ({"extra": {"secret": 1}}, {"extra": {"secret": "1x"}}),
    ],
)
def test_other_secrets_are_another_model(tmp_path: Path, one: dict[str, Any], two: dict[str, Any]) -> None:
    models = [Keyed.from_args(args) for args in (one, two)]
    assert len({sha256_of(model.fingerprint) for model in models}) == 2
    assert sha256_of(Keyed.from_args(one).fingerprint) == sha256_of(models[0].fingerprint)
    with ResponseCache(tmp_path) as cache:
        assert [item.cached for model in models for item in cache.answer(model, [Request("a")])] == [
            False,
            False,
        ]


@pytest.mark.parametrize("place", ["base_url", "extra_body", "identity", "model"])
def test_two_keys_in_a_servers_settings_are_two_models_and_in_no_fingerprint(
    monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    seen = []
    for key in ("first-key-1234", "second-key-1234"):
        monkeypatch.setenv("OPENAI_API_KEY", key)
        args: dict[str, Any] = {"model": "m", "base_url": "http://host:1/v1"}
        args[place] = {
            "base_url": f"http://host:1/{key}/v1",
            "extra_body": {"user": {"id": key}},
            "identity": f"server of {key}",
            "model": f"m:{key}",
        }[place]
        made = Registry().model_class("openai_audio").from_args(args)
        assert key not in json.dumps(made.fingerprint)
        assert key not in made.shown_url
        seen.append(sha256_of(made.fingerprint))
    assert seen[0] != seen[1]


class Echoes(BaseHTTPRequestHandler):
    """Answers as a chat server does, with `said` in its text, its model's name, its identity or its error."""

    said = ""
    where = ""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        self._reply(200, {"object": "list", "data": [{"id": "m", "owned_by": self.said}]})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        if self.where == "error":
            self._reply(400, {"error": {"message": f"refused: {self.said}"}})
            return
        told = {name: self.said if self.where == name else name for name in ("text", "model", "server")}
        message = {"role": "assistant", "content": f"A {told['text']}"}
        choice = {"index": 0, "finish_reason": "stop", "message": message}
        reply = {"id": "1", "object": "chat.completion", "created": 1, "choices": [choice]}
        self._reply(200, {**reply, "model": told["model"], "system_fingerprint": told["server"]})

    def _reply(self, status: int, body: dict[str, Any]) -> None:
        text = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


@pytest.mark.parametrize(
    "where", ["base_url", "extra_body", "identity", "model", "text", "model's name", "server", "error"]
)
def test_a_key_that_a_server_gets_or_says_is_in_no_file_and_no_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], where: str
) -> None:
    key = "Zq7veryKey-1234"
    monkeypatch.setenv("OPENAI_API_KEY", key)
    monkeypatch.setattr(Echoes, "said", key)
    echoed = {"text": "text", "model's name": "model", "server": "server", "error": "error"}
    monkeypatch.setattr(Echoes, "where", echoed.get(where, ""))
    (tmp_path / "task").mkdir()
    task = write_task(tmp_path / "task", KEYS, [{"q": "one", "a": "A"}])
    out = tmp_path / "out"
    with ThreadingHTTPServer(("127.0.0.1", 0), Echoes) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_address[1]}"
        args: dict[str, Any] = {"model": "m", "base_url": f"{url}/v1"}
        args |= {
            "base_url": {"base_url": f"{url}/{key}/v1"},
            "extra_body": {"extra_body": {"user": key}},
            "identity": {"identity": f"server of {key}"},
            "model": {"model": f"m:{key}"},
        }.get(where, {})
        flags = ["--model", "openai_audio", "--model_args", json.dumps(args), "--tasks", str(task)]
        flags += ["--output_path", str(out / "runs"), "--use_cache", str(out / "cache")]
        assert main(flags) == (3 if where == "error" else 0)
        server.shutdown()
    assert main(["report", str(out / "runs"), "-o", str(out / "report.html")]) == 0
    assert main(["ls", "runs", str(out / "runs")]) == 0
    assert main(["cache", "ls", "--use_cache", str(out / "cache")]) == 0
    said = capsys.readouterr()
    names = " ".join(str(path) for path in out.rglob("*"))
    assert key not in said.out + said.err + names
    assert key.encode() not in written(out)
    (samples,) = (out / "runs").rglob("samples_own.jsonl")
    answered = json.loads(samples.read_text())
    assert answered["error" if where == "error" else "response"]


def test_a_name_that_looks_a_little_like_a_key_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Registry().model_class("openai_audio").from_args({"model": "task-specific-model-7b"})
    assert made.fingerprint["model"] == "task-specific-model-7b"
