"""Renders the prompts of the ten tasks for the rows of golden/rows.json: the content of golden/prompts.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from marathon_eval.api.registry import Registry
from marathon_eval.task.task import Task, load_task

GOLDEN = Path(__file__).resolve().parents[1] / "golden"


def golden_rows() -> dict[str, dict[str, Any]]:
    """Return per task: `file` with its `content` and `audio`, or bare `files`, or `transcripts` by clip."""
    rows: dict[str, dict[str, Any]] = json.loads((GOLDEN / "rows.json").read_text())
    return rows


def lay_out(root: Path, entry: dict[str, Any]) -> None:
    """Write one task's rows in the released layout; the clips are empty files, because no model hears them."""
    clips = [*entry.get("files", []), *entry.get("transcripts", {})]
    if "file" in entry:
        metadata = root / entry["file"]
        metadata.parent.mkdir(parents=True, exist_ok=True)
        metadata.write_text(json.dumps(entry["content"]))
        clips += [str(Path(entry["file"]).parent / name) for name in entry["audio"]]
    for clip in clips:
        (root / clip).parent.mkdir(parents=True, exist_ok=True)
        (root / clip).touch()
    for clip, text in entry.get("transcripts", {}).items():
        (root / clip).with_suffix(".txt").write_text(text)


def load_shipped(name: str) -> Task:
    registry = Registry()
    task = load_task(registry.task_path(name), registry.task_path)
    assert isinstance(task, Task)
    return task


def rendered(root: Path) -> dict[str, list[dict[str, Any]]]:
    """Return per task and row every part of the request that can change a response, and the target.

    Then follow the prompts for models that have a wording of their own.
    """
    shown: dict[str, list[dict[str, Any]]] = {}
    for name, entry in golden_rows().items():
        lay_out(root, entry)
        task = load_shipped(name)
        shown[name] = []
        docs = task.docs(str(root), subset="full").docs
        for doc in docs:
            assert doc.error is None, doc.error
            (request,) = task.requests(doc)
            shown[name].append(
                {
                    "doc_id": doc.doc_id,
                    "system": request.system,
                    "prompt": request.prompt.split("\n"),
                    "audio": [Path(audio.path).relative_to(root).as_posix() for audio in request.audios],
                    "max_new_tokens": request.generation.max_new_tokens,
                    "temperature": request.generation.temperature,
                    "stop": list(request.generation.stop),
                    "target": task.target(doc),
                }
            )
        for model in task.variants:
            asked = [task.requests(doc, model)[0] for doc in docs]
            shown[f"{name}, {model}"] = [
                {"system": request.system, "prompt": request.prompt.split("\n")} for request in asked
            ]
    return shown
