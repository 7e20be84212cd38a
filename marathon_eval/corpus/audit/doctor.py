"""Examines a data set: reads every row, decodes every audio file, and lists all faults, known ones by name."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

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
from marathon_eval.corpus.audit.row_checks import label_faults, row_audio_faults
from marathon_eval.corpus.audit.survey import Survey, below, keyed, survey
from marathon_eval.corpus.audit.task_rows import data_paths, survey_task, with_tasks
from marathon_eval.corpus.build.builder import MANIFESTS
from marathon_eval.corpus.build.journal import sha256_of_file
from marathon_eval.corpus.build.manifest import read_manifest
from marathon_eval.errors import unknown

if TYPE_CHECKING:
    from marathon_eval.task.task import Task


def examine(
    root: Path | None,
    dataset: Dataset,
    jobs: int = 1,
    headers_only: bool = False,
    tasks: Iterable[str] = (),
    pinned: Mapping[str, Any] | None = None,
    own: Mapping[str, Task] | None = None,
) -> Examined:
    """Examine all rows and audio files of a data set, and compare them with another copy's manifest (`pinned`).

    `root` is its folder; None: the tasks `own` fetch theirs. `headers_only` skips decoding; `tasks` limits the
    examination to these tasks; the rows of tasks in `own` are read as their YAMLs say. Raises MarathonError.
    """
    own = own or {}
    surveyed = surveyed_with(root, dataset, own)
    dataset = with_tasks(dataset, list(own))
    builds = builds_in(surveyed.root)
    dataset = as_built(dataset, builds)
    names = set(tasks)
    known = {*surveyed.tasks(), *(fault.task for fault in surveyed.faults)}
    if names - known:
        raise unknown("--tasks", f"task in {surveyed.root}", min(names - known), known)
    if names:
        surveyed.rows = [row for row in surveyed.rows if row.task in names]
        surveyed.faults = [fault for fault in surveyed.faults if fault.task in names]
    places = {
        path: (row.task, row.key.partition("#")[0] if path == row.audio else below(path, surveyed.root))
        for row in surveyed.rows
        for path in ([Path(clip.path) for clip in row.clips] or ([row.audio] if row.audio else []))
    }
    if not names:
        places |= {
            path: ("", path.relative_to(surveyed.root).as_posix())
            for path in surveyed.files
            if path not in places
        }
    present = sorted(path for path in places if path.is_file())
    with ThreadPoolExecutor(max_workers=max(1, jobs)) as pool:
        heard = dict(zip(present, pool.map(read_header if headers_only else hear, present), strict=True))
    faults = [*surveyed.faults, *_faults(surveyed, dataset, heard, places), *unfinished(surveyed.root, names)]
    faults += [
        fault for task, build in builds.items() for fault in changed_faults(task, build, surveyed.root, heard)
    ]
    if pinned is not None:
        pinned_tasks = pinned["tasks"]
        faults += pin_faults(
            {task: pinned_tasks[task] for task in pinned_tasks if not names or task in names}, surveyed, heard
        )
    faults.sort(key=lambda fault: (fault.task, fault.where, fault.kind))
    return Examined(surveyed, heard, [Finding(fault, dataset.known_as(fault)) for fault in faults])


def surveyed_with(root: Path | None, dataset: Dataset, own: Mapping[str, Task]) -> Survey:
    """Return the survey of a folder and of the tasks `own`, whose data files the folder's survey leaves to them."""
    if root is None:
        surveyed = Survey(next(task.path.resolve().parent for task in own.values()))
    else:
        folder = Path(os.path.abspath(root))
        surveyed = survey(root, dataset, {file for task in own.values() for file in data_paths(task, folder)})
    for task in own.values():
        survey_task(surveyed, task, root)
    surveyed.rows = keyed(surveyed.rows, surveyed.root)
    return surveyed


def unfinished(root: Path, names: Collection[str]) -> Iterable[Fault]:
    """Yield the builds whose journal is still there: it is removed when the last file is written."""
    for path in sorted((root / MANIFESTS).glob("*.journal")):
        if not names or path.stem in names:
            where = path.relative_to(root).as_posix()
            yield Fault("unfinished_build", path.stem, where, "the build was broken off")


def builds_in(root: Path) -> dict[str, dict[str, Any]]:
    """Return the manifests that `build` wrote into a data set, by task. Raises MarathonError when one is damaged."""
    manifests = {path.stem: read_manifest(path) for path in sorted((root / MANIFESTS).glob("*.json"))}
    return {task: build for task, build in manifests.items() if build is not None}


def as_built(dataset: Dataset, builds: Mapping[str, Mapping[str, Any]]) -> Dataset:
    """Return the description with the row counts and sample rates that the manifests of our builds state."""
    tasks = dict(dataset.tasks)
    for task, build in builds.items():
        rates = {line["rate"] for line in build["audio"]}
        expected = {"rows": build["counts"]["rows"], "rate": min(rates) if len(rates) == 1 else None}
        tasks[task] = tasks.get(task, Expected()).model_copy(update=expected)
    return dataset.model_copy(update={"tasks": tasks})


def changed_faults(
    task: str, build: Mapping[str, Any], root: Path, heard: Mapping[Path, DecodedFile]
) -> Iterable[Fault]:
    """Yield files whose bytes differ from those that their build wrote."""
    for line in build["audio"]:
        path = root / build["root"] / line["path"]
        if path in heard and sha256_of_file(path) != line["sha256"]:
            yield Fault(
                "changed", task, path.relative_to(root).as_posix(), "its bytes differ from the manifest"
            )


def _faults(
    surveyed: Survey,
    dataset: Dataset,
    heard: Mapping[Path, DecodedFile],
    places: Mapping[Path, tuple[str, str]],
) -> Iterable[Fault]:
    for row in surveyed.rows:
        yield from row_faults(row)
    for path, file in heard.items():
        task, where = places[path]
        yield from audio_faults(file, task, where, dataset.tasks.get(task, Expected()))
    for task, rows in surveyed.tasks().items():
        source = surveyed.metadata.get(task)
        place = below(source, surveyed.root) if source else task
        yield from task_faults(task, rows, dataset.tasks.get(task, Expected()), place)
        yield from label_faults(task, rows)
        yield from row_audio_faults(task, rows, heard, place)
    yield from duplicate_faults(heard, places)
    yield from orphan_faults(surveyed.files, surveyed.rows, surveyed.root, surveyed.mentioned)
