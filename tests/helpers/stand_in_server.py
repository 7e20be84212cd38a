"""Writes programs that stand for `vllm` and `sglang`: they take the same flags, and serve, die, hang or lack audio."""

from __future__ import annotations

import sys
from pathlib import Path

#: Serves one model whose answer is its name; 25 tokens a second of audio. MODE decides what goes wrong.
SOURCE = """#!{python}
import base64, io, json, os, sys, time, wave
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

MODE, MARKS = {mode!r}, {marks!r}
arguments = sys.argv[1:]
if arguments == ["--version"]:
    print("INFO loading"), print("0.11.2")
    sys.exit(0)
json.dump([os.getpid(), arguments], open(os.path.join(MARKS, str(os.getpid())), "w"))
if MODE == "dies":
    print("ValueError: no kernel for this GPU", file=sys.stderr)
    sys.exit(1)
if MODE == "killed":
    os.kill(os.getpid(), 9)
if MODE == "hangs":
    time.sleep(600)
answered = 0

class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.reply(200, {{}})

    def do_POST(self):
        global answered
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        tokens, content = 7, body["messages"][-1]["content"]
        parts = content if isinstance(content, list) else [{{"type": "text", "text": content}}]
        for part in parts:
            if part["type"] == "text":
                tokens += len(part["text"].split())
            elif MODE == "no_audio":
                return self.reply(400, {{"error": {{"message": "At most 0 audio(s) may be provided in one request."}}}})
            else:
                data = base64.b64decode(part["input_audio"]["data"])
                sound = wave.open(io.BytesIO(data))
                tokens += 25 * sound.getnframes() // sound.getframerate()
        answered += 1
        if MODE == "dies_later" and answered > 4:
            os._exit(3)
        choice = {{"index": 0, "finish_reason": "stop", "message": {{"role": "assistant", "content": body["model"]}}}}
        usage = {{"prompt_tokens": tokens, "completion_tokens": 1, "total_tokens": tokens + 1}}
        self.reply(200, {{"id": "1", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice], "usage": usage}})

    def reply(self, code, value):
        data = json.dumps(value).encode()
        self.send_response(code)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

ThreadingHTTPServer(("127.0.0.1", int(arguments[arguments.index("--port") + 1])), Handler).serve_forever()
"""


def write_server(folder: Path, mode: str = "serves", name: str = "vllm") -> Path:
    """Write FOLDER/bin/NAME; each of its processes leaves its number and its flags in FOLDER/marks."""
    (folder / "marks").mkdir(exist_ok=True)
    path = folder / "bin" / name
    path.parent.mkdir(exist_ok=True)
    path.write_text(SOURCE.format(python=sys.executable, mode=mode, marks=str(folder / "marks")))
    path.chmod(0o755)
    return path


#: Serves with `transformers serve`, from vLLM's flags.
TRANSFORMERS = """#!{python}
import os, sys
arguments = sys.argv[1:]
if arguments == ["--version"]:
    import importlib.metadata
    print(importlib.metadata.version("transformers"))
    sys.exit(0)
port = arguments[arguments.index("--port") + 1]
flags = ["--device", "cpu", "--dtype", "float32", "--host", "127.0.0.1", "--port", port]
code = "import marathon_eval.backends.hf.engine; from transformers.cli.transformers import app; app()"
os.environ["HF_HUB_OFFLINE"] = "1"
os.execv(sys.executable, [sys.executable, "-c", code, "serve", *flags])
"""


def write_transformers_server(folder: Path) -> Path:
    """Write FOLDER/bin/vllm, which runs `transformers serve` on the port that it is given."""
    path = folder / "bin" / "vllm"
    path.parent.mkdir(exist_ok=True)
    path.write_text(TRANSFORMERS.format(python=sys.executable))
    path.chmod(0o755)
    return path
