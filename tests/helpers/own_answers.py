"""Runs a model of a user's own in a process of its own, so that nothing of it is loaded yet."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from helpers.minimal_task import KEYS, write_task


def answers(folder: Path, model: str, *flags: str) -> str:
    """The answer of a run in a process of its own, by way of its cache."""
    tasks = folder.parent / "task"
    if not tasks.exists():
        tasks.mkdir()
        write_task(tasks, KEYS, [{"q": "one", "a": "A"}])
    out = folder.parent / "out"
    command = [sys.executable, "-m", "marathon_eval", "--model", model, "--tasks", str(tasks / "own.yaml")]
    # compiled files are written, whatever the environment of the tests says: they are what these tests are about
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    subprocess.run([*command, "--output_path", str(out), *flags], check=True, capture_output=True, env=env)
    newest = max(out.glob("*/*/samples_own.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    said = json.loads(newest.read_text())["response"]
    assert isinstance(said, str)
    return said
