"""What identifies a copy of a data set, to hold another one against: metadata and sounds by their hashes.

Per task the metadata's sha256 (a task YAML's `expected_sha256`), and for every file its seconds and the hash of its decoded
sound, which is the hash that results keep of every sample. No absolute path: equal copies have equal manifests.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.build.journal import sha256_of_file
from marathon_eval.task.data.pin import PIN_VERSION

if TYPE_CHECKING:
    from marathon_eval.corpus.audit.decode import DecodedFile
    from marathon_eval.corpus.audit.examined import Examined
    from marathon_eval.corpus.audit.survey import Survey


def pin(examined: Examined) -> dict[str, Any]:
    """The manifest of an examined copy, ready for JSON."""
    return {"schema_version": PIN_VERSION, "tasks": tasks_of(examined.survey, examined.heard)}


def tasks_of(found: Survey, heard: Mapping[Path, DecodedFile]) -> dict[str, Any]:
    """Each task's part of a manifest."""
    tasks: dict[str, Any] = {}
    for task, rows in sorted(found.tasks().items()):
        files = sorted({row.audio for row in rows if row.audio is not None and row.audio in heard})
        source = found.metadata.get(task)
        tasks[task] = {
            "rows": len(rows),
            "metadata": source.relative_to(found.root).as_posix() if source else None,
            "metadata_sha256": sha256_of_file(source) if source else None,
            "audio": {
                path.relative_to(found.root).as_posix(): {
                    "seconds": round(heard[path].seconds, 6),
                    "sha256": heard[path].sha256,
                }
                for path in files
            },
        }
    return tasks


def pin_faults(
    pinned_tasks: Mapping[str, Any], found: Survey, heard: Mapping[Path, DecodedFile]
) -> Iterator[Fault]:
    """What a copy has otherwise than the manifest says; tasks that the manifest does not hold are not judged."""
    here = tasks_of(found, heard)
    for task, expected in pinned_tasks.items():
        if task not in here:
            yield Fault("unlike_manifest", task, task, "the copy has no such task")
            continue
        if here[task]["metadata_sha256"] != expected["metadata_sha256"]:
            seen = f"other metadata: {here[task]['rows']} rows, the manifest has {expected['rows']}"
            yield Fault("unlike_manifest", task, here[task]["metadata"] or task, seen)
        for path in sorted(expected["audio"].keys() | here[task]["audio"].keys()):
            sounds = [audio.get(path, {}).get("sha256") for audio in (expected["audio"], here[task]["audio"])]
            if sounds[0] != sounds[1]:
                told = "is not in this copy" if sounds[1] is None else "is not in the manifest"
                yield Fault("unlike_manifest", task, path, "another sound" if all(sounds) else told)
