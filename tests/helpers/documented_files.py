"""Writes the files that a document shows: code blocks whose first line names one, as in "```yaml mine/tasks/x.yaml"."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import numpy as np
import soundfile

_BLOCK = re.compile(r"^```\w+ (\S+/\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def write_files(document: Path, folder: Path) -> list[Path]:
    """Write a document's files below `folder`, and a short clip for each that rows name under `audio` or `file`."""
    written = []
    for name, content in _BLOCK.findall(document.read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        written.append(path)
        if path.suffix == ".json":
            for row in json.loads(content):
                _clip(path.parent / (row.get("audio") or row["file"]))
        if path.suffix == ".csv":
            for row in csv.DictReader(content.splitlines()):
                if clip := row.get("audio") or row.get("file"):
                    _clip(path.parent / clip)
    return written


def _clip(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    seed = sum(path.name.encode())
    noise = np.random.default_rng(seed).normal(0, 0.1, 8000).astype(np.float32)
    soundfile.write(path, noise, 16000)
