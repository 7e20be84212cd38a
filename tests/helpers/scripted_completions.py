"""Serves chat completions on loopback whose bodies a test writes itself, to try every shape of a reply."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


def completion(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    """Return a whole chat completion with one choice; `more` replaces its other fields."""
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": finish}
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    head = {"id": "1", "object": "chat.completion", "created": 1, "model": "m"}
    return {**head, "choices": [choice], "usage": usage, **more}


def chunks(deltas: list[dict[str, Any]], finish: str = "stop") -> list[dict[str, Any]]:
    """Return the chunks of a streamed completion: one per delta, then the end."""
    head = {"id": "1", "object": "chat.completion.chunk", "created": 1, "model": "m"}
    choices: list[dict[str, Any]] = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    ends = {"index": 0, "delta": {}, "finish_reason": finish}
    usage = {"prompt_tokens": 20, "completion_tokens": 7, "total_tokens": 27}
    return [
        *({**head, "choices": [choice]} for choice in [*choices, ends]),
        {**head, "choices": [], "usage": usage},
    ]


@contextmanager
def replying(
    body: Any, status: int = 200, kind: str | None = None
) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Reply to every request with `body`: chunks (a list) as a stream, anything else as JSON of content type `kind`.

    Yields the address and the list of request bodies received so far.
    """
    received: list[dict[str, Any]] = []

    class Reply(BaseHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Print nothing."""

        def do_POST(self) -> None:
            received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            streamed = isinstance(body, list)
            text = (
                "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in body) if streamed else json.dumps(body)
            )
            data = f"{text}data: [DONE]\n\n".encode() if streamed else text.encode()
            self.send_response(status)
            self.send_header(
                "Content-Type", kind or ("text/event-stream" if streamed else "application/json")
            )
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Reply)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1", received
    finally:
        server.shutdown()
        server.server_close()
