"""A data set examined: every row read, every file heard, every fault told, the known ones by their name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from marathon_eval.corpus.audit.checks import (
    audio_faults,
    duplicate_faults,
    orphan_faults,
    row_faults,
    task_faults,
)
from marathon_eval.corpus.audit.decode import DecodedFile, hear, read_header
from marathon_eval.corpus.audit.examined import Examined, Finding
from marathon_eval.corpus.audit.expected import Dataset, Expected
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.fingerprint import pin_faults
from marathon_eval.corpus.audit.survey import Survey, survey
from marathon_eval.corpus.build.builder import MANIFESTS
from marathon_eval.corpus.build.journal import sha256_of_file
from marathon_eval.corpus.build.manifest import read_manifest


def examine(
    root: Path,
    dataset: Dataset,
    jobs: int = 1,
    headers_only: bool = False,
    tasks: Iterable[str] = (),
    pinned: Mapping[str, Any] | None = None,
) -> Examined:
    """Look at everything below a folder, and hold it against another copy's manifest. Raises MarathonError."""
    found = survey(root, dataset)
    builds = builds_in(found.root)
    dataset = as_built(dataset, builds)
    wanted = set(tasks)
    if wanted:
        found.rows = [row for row in found.rows if row.task in wanted]
        found.faults = [fault for fault in found.faults if fault.task in wanted]
    places = {row.audio: (row.task, row.key.partition("#")[0]) for row in found.rows if row.audio is not None}
    if not wanted:
        places |= {
            path: ("", path.relative_to(found.root).as_posix()) for path in found.files if path not in places
        }
    present = sorted(path for path in places if path.is_file())
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        heard = dict(zip(present, pool.map(read_header if headers_only else hear, present), strict=True))
    faults = [*found.faults, *_faults(found, dataset, heard, places)]
    faults += [
        fault for task, build in builds.items() for fault in changed_faults(task, build, found.root, heard)
    ]
    if pinned is not None:
        known = pinned["tasks"]
        faults += pin_faults(
            {task: known[task] for task in known if not wanted or task in wanted}, found, heard
        )
    faults.sort(key=lambda fault: (fault.task, fault.where, fault.kind))
    return Examined(found, heard, [Finding(fault, dataset.known_as(fault)) for fault in faults])


def builds_in(root: Path) -> dict[str, dict[str, Any]]:
    """The manifests of our own builds in a data set, by task. Raises MarathonError when one is damaged."""
    found = {path.stem: read_manifest(path) for path in sorted((root / MANIFESTS).glob("*.json"))}
    return {task: build for task, build in found.items() if build is not None}


def as_built(dataset: Dataset, builds: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """What to expect of tasks that were built here: the build's own number of rows and rate."""
    tasks = dict(dataset.tasks)
    for task, build in builds.items():
        rates = {line["rate"] for line in build["audio"]}
        known = {"rows": build["counts"]["rows"], "rate": min(rates) if len(rates) == 1 else None}
        tasks[task] = tasks.get(task, Expected()).model_copy(update=known)
    return dataset.model_copy(update={"tasks": tasks})


def changed_faults(
    task: str, build: Mapping[str, Any], root: Path, heard: Mapping[Path, DecodedFile]
) -> Iterable[Fault]:
    """Files that are not what their build made."""
    for line in build["audio"]:
        path = root / build["root"] / line["path"]
        if path in heard and sha256_of_file(path) != line["sha256"]:
            yield Fault("changed", task, path.relative_to(root).as_posix(), "not the bytes of the manifest")


def _faults(
    found: Survey,
    dataset: Dataset,
    heard: Mapping[Path, DecodedFile],
    places: Mapping[Path, tuple[str, str]],
) -> Iterable[Fault]:
    for row in found.rows:
        yield from row_faults(row)
    for path, report in heard.items():
        task, where = places[path]
        yield from audio_faults(report, task, where, dataset.tasks.get(task, Expected()))
    for task, rows in found.tasks().items():
        source = found.metadata.get(task)
        place = source.relative_to(found.root).as_posix() if source else task
        yield from task_faults(task, rows, dataset.tasks.get(task, Expected()), place)
    yield from duplicate_faults(heard, places)
    yield from orphan_faults(found.files, found.rows, found.root)
