"""Runs a worker, one Python file with `load` and `answer`, and answers the harness by JSON lines on two pipes.

This is the only file of the package that the environment's interpreter reads. It needs Python 3.9 and no package. What
the worker or a library prints goes to the log, because the two pipes are not standard output.

    {"id": 1, "do": "load", "args": {...}, "packages": [...]}
    {"id": 2, "do": "answer", "question": "...", "paths": ["..."], "settings": {"max_new_tokens": 16, ...}}

are answered by {"id": 1, "done": {...}} or {"id": 1, "error": "..."}; between them {"alive": true} comes every two seconds.
"""

from __future__ import annotations

import gc
import importlib.util
import inspect
import json
import os
import sys
import threading
import time
from importlib import metadata
from typing import Any

#: Begins the line that `describe` prints: other lines come from the environment's own start-up files.
MARK = "marathon-eval-environment "
ALIVE_SECONDS = 2.0
#: Sample rate (Hz) of the WAV files that a worker is given, unless it sets SAMPLE_RATE.
DEFAULT_RATE = 16000


def described(packages: list[str]) -> dict[str, Any]:
    """Return the interpreter's release and the installed release of each package, None for those that are missing."""
    found: dict[str, Any] = {}
    for name in packages:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = None
    return {"python": f"{sys.version_info[0]}.{sys.version_info[1]}", "packages": found}


class Replies:
    """Writes messages to the harness, one line each; ends this process when the harness is gone."""

    def __init__(self, descriptor: int) -> None:
        self._file = os.fdopen(descriptor, "w", encoding="ascii")
        self._lock = threading.Lock()

    def write(self, message: dict[str, Any]) -> None:
        """Write one message. Raises TypeError for a value that JSON has no type for."""
        text = json.dumps(message) + "\n"
        try:
            with self._lock:
                self._file.write(text)
                self._file.flush()
        except OSError:
            os._exit(1)

    def beat(self) -> None:
        """Write a sign of life every two seconds, for ever."""
        while True:
            self.write({"alive": True})
            time.sleep(ALIVE_SECONDS)


def imported_worker(path: str, beside: bool) -> Any:
    """Import the worker's file; with `beside`, it can import files of its own folder."""
    if beside:
        sys.path.append(os.path.dirname(os.path.abspath(path)))
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    missing = [name for name in ("load", "answer") if not callable(getattr(module, name, None))]
    if missing:
        raise ImportError(f"{path} must define {' and '.join(f'{name}()' for name in missing)}")
    return module


class Served:
    """Carries out the harness's messages with one worker."""

    def __init__(self, path: str, beside: bool) -> None:
        self._path, self._beside = path, beside
        self._worker: Any = None
        self._takes_settings = False

    def done(self, message: dict[str, Any]) -> dict[str, Any]:
        """Return the result of one message. Raises whatever the worker raises."""
        if message["do"] == "load":
            return self._loaded(message)
        return self._answered(message)

    def _loaded(self, message: dict[str, Any]) -> dict[str, Any]:
        self._worker = imported_worker(self._path, self._beside)
        parameters = inspect.signature(self._worker.answer).parameters.values()
        self._takes_settings = len(parameters) > 2 or any(
            one.kind is one.VAR_POSITIONAL for one in parameters
        )
        self._worker.load(message["args"])
        versions = {
            name: str(getattr(sys.modules[name], "__version__", ""))
            for name in message["packages"]
            if name in sys.modules
        }
        return {
            **described(message["packages"]),
            "imported": versions,
            "rate": int(getattr(self._worker, "SAMPLE_RATE", DEFAULT_RATE)),
            "takes_settings": self._takes_settings,
        }

    def _answered(self, message: dict[str, Any]) -> dict[str, Any]:
        arguments = [message["question"], message["paths"]]
        answer = self._worker.answer(*arguments, *([message["settings"]] if self._takes_settings else []))
        if isinstance(answer, str):
            return {"text": answer}
        if isinstance(answer, dict) and isinstance(answer.get("text"), str):
            return answer
        raise TypeError(
            f"answer() must return a str, or a dict whose 'text' is a str; it returned {type(answer).__name__}"
        )


def in_one_line(error: BaseException) -> str:
    """Return the error in one line. After out of memory, the caches of Python and torch are emptied."""
    text = " ".join(f"{type(error).__name__}: {error}".split())
    name = type(error).__name__
    if name in ("MemoryError", "OutOfMemoryError") or "out of memory" in str(error).lower():
        gc.collect()
        torch = sys.modules.get("torch")
        if torch is not None and torch.cuda.is_available():
            torch.cuda.empty_cache()
        return f"out of memory: {text}"
    return text


def serve(path: str, beside: bool, requests: int, replies: int) -> None:
    """Answer messages until the harness closes its end of the pipe."""
    for descriptor in (requests, replies):
        os.set_inheritable(descriptor, False)
    lines = Replies(replies)
    threading.Thread(target=lines.beat, daemon=True).start()
    served = Served(path, beside)
    with os.fdopen(requests, encoding="ascii") as messages:
        for line in messages:
            message = json.loads(line)
            try:
                lines.write({"id": message["id"], "done": served.done(message)})
            except (Exception, SystemExit) as error:  # noqa: BLE001 - a worker may raise anything, and goes on
                import traceback

                traceback.print_exc()
                lines.write({"id": message["id"], "error": in_one_line(error)})


if __name__ == "__main__":
    if sys.argv[1] == "describe":
        print("\n" + MARK + json.dumps(described(sys.argv[2:])), flush=True)
    else:
        serve(sys.argv[2], sys.argv[3] == "beside", int(sys.argv[4]), int(sys.argv[5]))
