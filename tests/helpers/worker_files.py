"""Writes workers for models in an environment of their own: one that answers, and one for each fault."""

from __future__ import annotations

import sys
from pathlib import Path
from textwrap import dedent

from marathon_eval.api.registry import Registry
from marathon_eval.backends.env.adapter import EnvModel

#: What each worker does at its second question; the first and third it answers.
FAULTS = {
    "raises": "raise ValueError('no\\nsuch layer')",
    "memory": "raise MemoryError('tried to take 80 GB')",
    "exits": "sys.exit(7)",
    "dies": "os._exit(9)",
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "hangs": "time.sleep(600)",
    "stopped": "os.kill(os.getpid(), signal.SIGSTOP)",
    "number": "return 4",
    "no_text": "return {'answer': 'A'}",
    "no_json": "return {'text': 'A', 'details': {'x': object()}}",
    "noisy": 'print(\'{"id": 2, "done": {"text": "forged"}}\', flush=True); os.write(1, b\'\\x00\\xff noise\\n\')',
    "cut": "return {'text': 'A', 'heard_seconds': 0.5}",
}

SOURCE = """
import os, signal, subprocess, sys, time, wave

questions = []

def load(args):
    print("loading", args)
    {load}

def answer(question, paths{settings}):
    marks = os.environ["WORKER_MARKS"]
    open(os.path.join(marks, str(os.getpid())), "w").close()
    if question.startswith("second"):
        {fault}
    return {{"text": question + "!", "heard_seconds": sum(seconds(path) for path in paths)}}

def seconds(path):
    return (os.path.getsize(path) - 80) / 4 / 16000
"""


def write_worker(
    folder: Path, name: str = "mine", fault: str = "pass", load: str = "pass", settings: bool = True
) -> Path:
    """Write FOLDER/models/NAME_worker.py and return it."""
    path = folder / "models" / f"{name}_worker.py"
    path.parent.mkdir(parents=True, exist_ok=True)
    third = ", settings" if settings else ""
    path.write_text(dedent(SOURCE).format(fault=fault, load=load, settings=third))
    return path


def worker_model(folder: Path, name: str = "mine", **args: object) -> EnvModel:
    """Build the model of a worker in a folder, in this interpreter's own environment."""
    kind = Registry([str(folder)]).model_class(name)
    model = kind.from_args({"env": sys.prefix, **args})
    assert isinstance(model, EnvModel)
    return model
