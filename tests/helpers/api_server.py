"""Serves OpenAI's and Gemini's API on loopback, and fails as a prompt asks it to.

A prompt that contains `[429]` gets that fault: see FAULTS. Otherwise the answer is "A", and the token counts are
those of a model that hears `rate` tokens per second, and at most `hears` seconds. Every call is recorded in `calls`.
"""

from __future__ import annotations

import base64
import io
import json
import re
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

import soundfile

#: What the chat template and its default system text cost here, in tokens.
TEMPLATE_TOKENS = 12
FAULTS = (
    "429",
    "500",
    "flaky",
    "slow",
    "stall",
    "drop",
    "cut",
    "empty",
    "refuse",
    "filter",
    "length",
    "think",
    "401",
)


@dataclass
class Call:
    """Holds one request as the server received it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    prompt: str = ""
    system: str | None = None
    seconds: list[float] = field(default_factory=list)
    at: float = field(default_factory=time.monotonic)


@dataclass
class FakeServer:
    rate: float = 25.0
    hears: float = 1e9
    window: float = 0.0
    #: tell audio tokens apart from the others; tell any usage at all
    split: bool = False
    usage: bool = True
    key: str | None = None
    delay: float = 0.0
    rejections: int = 2
    #: how a 429 says when to come back
    retry_after: dict[str, str] = field(default_factory=lambda: {"retry-after-ms": "40"})
    answer: str = "A"
    calls: list[Call] = field(default_factory=list)
    files: dict[str, bytes] = field(default_factory=dict)
    deleted: list[str] = field(default_factory=list)
    most_at_once: int = 0

    def __enter__(self) -> Self:
        self.at_once, self.seen, self.lock = 0, Counter[str](), threading.Lock()
        self.server = _Server(("127.0.0.1", 0), type("Bound", (_Handler,), {"fake": self}))
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def asked(self, prompt: str) -> int:
        """Return how often a prompt reached the server."""
        return sum(call.prompt == prompt for call in self.calls)

    def audio_tokens(self, call: Call) -> int:
        heard = [min(seconds, self.hears) for seconds in call.seconds]
        if self.window:
            heard = [-(-seconds // self.window) * self.window for seconds in heard]
        return round(sum(heard) * self.rate)

    def counts(self, call: Call) -> tuple[int, int]:
        """Return the prompt tokens and, of these, the audio tokens."""
        audio = self.audio_tokens(call)
        words = len(re.findall(r"\w+|[^\w\s]", call.prompt + " " + (call.system or "")))
        return audio + words + TEMPLATE_TOKENS, audio


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # with the usual 5, the sixth connection at once waits for a second

    def handle_error(self, *_: object) -> None:
        """Ignore the error: some tests let the client disconnect on purpose."""


class _Handler(BaseHTTPRequestHandler):
    fake: FakeServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Print nothing."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        if "/upload/" in self.path:
            return self._upload(body)
        headers = {name.lower(): value for name, value in self.headers.items()}
        call = _understood(self.path, headers, json.loads(body), self.fake.files)
        fake = self.fake
        with fake.lock:
            fake.calls.append(call)
            fake.seen[call.prompt] += 1
            fake.at_once += 1
            fake.most_at_once = max(fake.most_at_once, fake.at_once)
        try:
            self._react(call)
        except BrokenPipeError:
            self.close_connection = True  # the client has gone: that is what some tests do
        finally:
            with fake.lock:
                fake.at_once -= 1

    def do_GET(self) -> None:
        self._json(200, _file(self.path.rpartition("/")[2], self.fake.url))

    def do_DELETE(self) -> None:
        self.fake.deleted.append(self.path.rpartition("/")[2])
        self._json(200, {})

    def _upload(self, body: bytes) -> None:
        """Serve the Files API's two steps: the upload address, then the bytes."""
        if self.headers["x-goog-upload-command"] == "start":
            number = len(self.fake.files)
            self.fake.files[f"f{number}"] = b""
            return self._json(200, {}, {"X-Goog-Upload-URL": f"{self.fake.url}/upload/f{number}"})
        name = self.path.rpartition("/")[2]
        self.fake.files[name] += body
        final = "finalize" in self.headers["x-goog-upload-command"]
        status = {"X-Goog-Upload-Status": "final" if final else "active"}
        return self._json(200, {"file": {**_file(name, self.fake.url), "state": "PROCESSING"}}, status)

    def _react(self, call: Call) -> None:
        fake, gemini = self.fake, "generateContent" in call.path.replace("streamG", "g")
        key = call.headers.get("authorization", "").removeprefix("Bearer ") or call.headers.get(
            "x-goog-api-key"
        )
        times = fake.seen[call.prompt]
        if fake.key is not None and key != fake.key:
            return self._error(401, f"Incorrect API key provided: {key}. Bearer {key} is wrong")
        if "[401]" in call.prompt:
            return self._error(401, "revoked")
        if "[429]" in call.prompt and times <= fake.rejections:
            return self._error(429, "slow down", fake.retry_after)
        if "[500]" in call.prompt or ("[flaky]" in call.prompt and times <= 1):
            return self._error(500, "out of cheese", {"retry-after-ms": "10"})
        if "[drop]" in call.prompt:
            self.close_connection = True
            return None
        time.sleep(30.0 if "[slow]" in call.prompt else fake.delay)
        chunks = _gemini(fake, call) if gemini else _openai(fake, call)
        streaming = "stream" in call.path or call.body.get("stream")
        return self._stream(chunks, call) if streaming else self._whole(chunks, call)

    def _whole(self, chunks: list[dict[str, Any]], call: Call) -> None:
        self._json(200, _merged(chunks), cut="[cut]" in call.prompt)

    def _stream(self, chunks: list[dict[str, Any]], call: Call) -> None:
        self._head(200, {"Content-Type": "text/event-stream", "Connection": "close"})
        self.close_connection = True
        for number, chunk in enumerate(chunks):
            text = json.dumps(chunk)
            if "[cut]" in call.prompt and number == 1:
                return
            if "[stall]" in call.prompt and number == 1:
                time.sleep(30.0)
            self.wfile.write(f"data: {text}\n\n".encode())
            self.wfile.flush()
        if "generate" not in call.path.lower():
            self.wfile.write(b"data: [DONE]\n\n")

    def _error(self, status: int, message: str, headers: dict[str, str] | None = None) -> None:
        self._json(status, {"error": {"message": message, "code": status, "status": "FAULT"}}, headers)

    def _json(
        self, status: int, value: Any, headers: dict[str, str] | None = None, cut: bool = False
    ) -> None:
        text = json.dumps(value).encode()
        text = text[: len(text) // 2] if cut else text
        self._head(
            status, {"Content-Type": "application/json", "Content-Length": str(len(text)), **(headers or {})}
        )
        self.wfile.write(text)

    def _head(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def _understood(path: str, headers: dict[str, str], body: dict[str, Any], files: dict[str, bytes]) -> Call:
    """Return the prompt and the audio of either API; audio that cannot be decoded fails here, in the server."""
    call = Call(path, headers, body)
    sounds: list[bytes] = []
    if "messages" in body:
        for message in body["messages"]:
            parts = message["content"]
            parts = [{"type": "text", "text": parts}] if isinstance(parts, str) else parts
            texts = " ".join(part["text"] for part in parts if part["type"] == "text")
            if message["role"] == "system":
                call.system = texts
            else:
                call.prompt = texts
            for part in parts:
                if part["type"] == "input_audio":
                    sounds.append(base64.b64decode(part["input_audio"]["data"]))
                elif part["type"] == "audio_url":
                    sounds.append(base64.b64decode(part["audio_url"]["url"].partition("base64,")[2]))
    else:
        call.body = body = _camel(body)
        for part in [part for content in body["contents"] for part in content["parts"]]:
            call.prompt = part.get("text", call.prompt)
            if "inlineData" in part:
                # urlsafe, as protobuf's JSON writes bytes
                sounds.append(base64.urlsafe_b64decode(part["inlineData"]["data"]))
            if "fileData" in part:
                sounds.append(files[part["fileData"]["fileUri"].rpartition("/")[2]])
        if "systemInstruction" in body:
            call.system = body["systemInstruction"]["parts"][0]["text"]
    for sound in sounds:
        with soundfile.SoundFile(io.BytesIO(sound)) as file:
            call.seconds.append(file.frames / file.samplerate)
    return call


def _camel(value: Any) -> Any:
    """Rename keys to protobuf's JSON names; like Google's servers, accept both spellings."""
    if isinstance(value, list):
        return [_camel(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {re.sub(r"_([a-z])", lambda m: m[1].upper(), key): _camel(item) for key, item in value.items()}


def _openai(fake: FakeServer, call: Call) -> list[dict[str, Any]]:
    """Return the chunks of a stream: text, finish, usage."""
    head = {"id": "x", "object": "chat.completion.chunk", "created": 1, "model": call.body["model"]}
    if "[empty]" in call.prompt:
        return [{**head, "choices": []}]
    prompt, audio = fake.counts(call)
    usage: dict[str, Any] = {"prompt_tokens": prompt, "completion_tokens": 1, "total_tokens": prompt + 1}
    if fake.split:
        usage["prompt_tokens_details"] = {"audio_tokens": audio}
    text: dict[str, Any] = {"role": "assistant", "content": fake.answer}
    finish = "stop"
    if "[refuse]" in call.prompt:
        text = {"role": "assistant", "content": None, "refusal": "I won't listen to this"}
    if "[filter]" in call.prompt:
        finish = "content_filter"
    if "[length]" in call.prompt:
        finish = "length"
    if "[think]" in call.prompt:
        text, finish = {"role": "assistant", "content": "", "reasoning_content": "hm"}, "length"
    chunks = [
        {**head, "choices": [{"index": 0, "delta": text, "finish_reason": None}]},
        {**head, "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]},
    ]
    return [*chunks, {**head, "choices": [], "usage": usage}] if fake.usage else chunks


def _gemini(fake: FakeServer, call: Call) -> list[dict[str, Any]]:
    prompt, audio = fake.counts(call)
    usage: dict[str, Any] = {"promptTokenCount": prompt, "candidatesTokenCount": 1}
    if fake.split:
        usage["promptTokensDetails"] = [
            {"modality": "TEXT", "tokenCount": prompt - audio},
            {"modality": "AUDIO", "tokenCount": audio},
        ]
    finish, parts = "STOP", [{"text": fake.answer}]
    if "[empty]" in call.prompt:
        return [{"usageMetadata": usage}]
    if "[refuse]" in call.prompt:
        return [{"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}]
    if "[filter]" in call.prompt:
        finish = "PROHIBITED_CONTENT"
    if "[length]" in call.prompt:
        finish = "MAX_TOKENS"
    if "[think]" in call.prompt:
        finish, parts = "MAX_TOKENS", [{"text": "hm", "thought": True}]
        usage["thoughtsTokenCount"] = 16
    first = {
        "candidates": [{"content": {"role": "model", "parts": parts}, "index": 0}],
        "modelVersion": "fake-1",
    }
    last: dict[str, Any] = {"candidates": [{"finishReason": finish, "index": 0}]}
    return [first, {**last, "usageMetadata": usage} if fake.usage else last]


def _merged(chunks: list[dict[str, Any]]) -> dict[str, Any]:
    """Merge the chunks into an unstreamed reply."""
    whole: dict[str, Any] = {}
    for chunk in chunks:
        merged = {**whole, **chunk}
        for name in ("choices", "candidates"):
            if whole.get(name) and chunk.get(name):
                merged[name] = [{**whole[name][0], **chunk[name][0]}]
            elif whole.get(name):
                merged[name] = whole[name]
        for choice in merged.get("choices", ()):
            choice["message"] = choice.get("message") or choice["delta"]
        whole = merged
    return whole


def _file(name: str, url: str) -> dict[str, str]:
    return {
        "name": f"files/{name}",
        "uri": f"{url}/v1beta/files/{name}",
        "mimeType": "audio/wav",
        "state": "ACTIVE",
    }
