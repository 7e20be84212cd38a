"""Writes a manifest of hashes that identifies a copy of a data set, and compares another copy with it.

The manifest has for each task the metadata's sha256 (`expected_sha256` in a task YAML), and for each file its
seconds and the hash of its decoded samples (the hash that results record). It has no absolute path: equal copies
give equal manifests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.survey import below
from marathon_eval.corpus.build.journal import sha256_of_file
from marathon_eval.task.data.pin import PIN_VERSION

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.decode import DecodedFile
    from marathon_eval.corpus.audit.examined import Examined
    from marathon_eval.corpus.audit.survey import Survey


def pin(examined: Examined) -> dict[str, Any]:
    """Return the manifest of an examined copy, ready for JSON."""
    return {"schema_version": PIN_VERSION, "tasks": tasks_of(examined.survey, examined.heard)}


def tasks_of(surveyed: Survey, heard: Mapping[Path, DecodedFile]) -> dict[str, Any]:
    """Return the manifest's entry of each task."""
    tasks: dict[str, Any] = {}
    for task, rows in sorted(surveyed.tasks().items()):
        used = {row.audio for row in rows} | {Path(clip.path) for row in rows for clip in row.clips}
        files = sorted(path for path in used if path is not None and path in heard)
        source = surveyed.metadata.get(task)
        tasks[task] = {
            "rows": len(rows),
            "metadata": below(source, surveyed.root) if source else None,
            "metadata_sha256": sha256_of_file(source) if source else None,
            "audio": {
                below(path, surveyed.root): {
                    "seconds": round(heard[path].seconds, 6),
                    "sha256": heard[path].sha256,
                }
                for path in files
            },
        }
    return tasks


def pin_faults(
    pinned_tasks: Mapping[str, Any], surveyed: Survey, heard: Mapping[Path, DecodedFile]
) -> Iterator[Fault]:
    """Yield every difference between a copy and the manifest; tasks that the manifest lacks are not compared."""
    copy_tasks = tasks_of(surveyed, heard)
    for task, expected in pinned_tasks.items():
        if task not in copy_tasks:
            yield Fault("unlike_manifest", task, task, "the copy has no such task")
            continue
        if copy_tasks[task]["metadata_sha256"] != expected["metadata_sha256"]:
            seen = f"other metadata: {copy_tasks[task]['rows']} rows, the manifest has {expected['rows']}"
            yield Fault("unlike_manifest", task, copy_tasks[task]["metadata"] or task, seen)
        for path in sorted(expected["audio"].keys() | copy_tasks[task]["audio"].keys()):
            sounds = [
                audio.get(path, {}).get("sha256") for audio in (expected["audio"], copy_tasks[task]["audio"])
            ]
            if sounds[0] != sounds[1]:
                difference = "is not in this copy" if sounds[1] is None else "is not in the manifest"
                yield Fault("unlike_manifest", task, path, "another sound" if all(sounds) else difference)
