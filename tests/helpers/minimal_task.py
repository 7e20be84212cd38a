"""Writes a task for tests: a YAML and a JSON file beside it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marathon_eval.api.registry import Registry
from marathon_eval.task.task import DocSet, Task, load_task

#: A task that needs nothing more, and one that listens.
KEYS = "doc_to_text: q\ndoc_to_target: a\n"
HEARD = KEYS + "doc_to_audio: path\n"
BASE = "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\n"


def measured(
    metric: str = "accuracy",
    settings: str = "",
    scale: int = 1,
    version: int = 1,
    filters: str = "{function: take_first}",
) -> str:
    """Return KEYS of a task with one reading, `strict`, and one metric with these settings, its headline on `scale`."""
    return KEYS + (
        f"filter_list:\n  - {{name: strict, filter: [{filters}]}}\n"
        f"metric_list:\n  - {{metric: {metric}, {settings}filter_list: strict}}\n"
        f"headline: {{reading: strict, metric: {metric}, scale: {scale}}}\nmetadata: {{version: {version}}}\n"
    )


def write_task(folder: Path, keys: str, rows: Any = (), name: str = "own") -> Path:
    """Write `<name>.yaml` with the keys below BASE, and rows.json; returns the YAML's path."""
    (folder / "rows.json").write_text(json.dumps(rows if isinstance(rows, dict) else list(rows)))
    path = folder / f"{name}.yaml"
    path.write_text(BASE + keys)
    return path


def load(path: Path) -> Task:
    task = load_task(path, Registry().task_path)
    assert isinstance(task, Task)
    return task


def make_task(folder: Path, keys: str, rows: Any = ()) -> Task:
    return load(write_task(folder, keys, rows))


def touch(path: Path) -> Path:
    """Create an empty file in place of a clip; no test hears it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


def docs_of(folder: Path, keys: str, rows: Any, **choice: Any) -> DocSet:
    """Return the documents of a task file, with its audio below `folder`."""
    return make_task(folder, keys, rows).docs(str(folder), **choice)


def errors(docset: DocSet) -> list[str]:
    """Return the errors of the rows that cannot become requests, in order."""
    return [doc.error for doc in docset.docs if doc.error is not None]
