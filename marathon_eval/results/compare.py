"""Two runs, held against each other: which tasks they share, and whether they were asked the same.

Only files are read. What is computed of a task stands in paired.py; Holm's correction is over the tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.results.files import newest_run, read_results, read_samples
from marathon_eval.results.paired import TaskRows, correct, paired_metrics

ResultsJson = Mapping[str, Any]


def compare_runs(path_a: Path, path_b: Path, force: bool = False) -> dict[str, Any]:
    """What `compare` prints as JSON. Raises MarathonError for runs on different data or prompts, unless forced."""
    folders = newest_run(path_a), newest_run(path_b)
    results = [read_results(folder) for folder in folders]
    shared = [task for task in results[0]["tasks"] if task in results[1]["tasks"]]
    if not shared:
        lists = [", ".join(result["tasks"]) or "none" for result in results]
        raise MarathonError(f"compare: no task is in both runs: {lists[0]} in A, {lists[1]} in B")
    rows = {task: [task_rows(r, f, task) for r, f in zip(results, folders, strict=True)] for task in shared}
    unlike = [reason for task in shared for reason in unlikeness(task, results, rows[task])]
    if unlike and not force:
        raise MarathonError(
            f"compare: {'; '.join(unlike)}. --force compares the documents that both runs have"
        )
    found = [paired_metrics(task, *rows[task]) for task in shared]
    correct([one.readings for one in found])
    return {
        "schema_version": 1,
        **{name: run_label(r, f) for name, r, f in zip("ab", results, folders, strict=True)},
        "tasks": {one.task: asdict(one) for one in found},
        "only_a": [task for task in results[0]["tasks"] if task not in shared],
        "only_b": [task for task in results[1]["tasks"] if task not in shared],
        "forced": unlike,
    }


def run_label(results: ResultsJson, folder: Path) -> dict[str, Any]:
    """Which run a column is."""
    kept = ("model", "fingerprint_sha256", "started", "interrupted")
    return {"folder": str(folder), **{key: results[key] for key in kept}, "press": _press(results)}


def _press(results: ResultsJson) -> Any:
    return results["fingerprint"].get("press")


def task_rows(results: ResultsJson, folder: Path, task: str) -> TaskRows:
    """One task of a finished run. Raises MarathonError for a run without samples."""
    return TaskRows(results["tasks"][task], {row["doc_id"]: row for row in read_samples(folder, task)})


def unlikeness(task: str, results: Sequence[ResultsJson], rows: Sequence[TaskRows]) -> list[str]:
    """Why two runs of a task are not to be compared: other documents, or the same asked in other words."""
    hashes = [(r.get("manifests") or {}).get(task, {}).get("manifest_sha256") for r in results]
    reasons = []
    if hashes[0] != hashes[1]:
        reasons.append(f"{task}: the runs are on different data (manifest {_short(hashes)})")
    common = [doc for doc in rows[0].rows if doc in rows[1].rows]
    asked = [[one.rows[doc]["prompt_sha256"] for doc in common] for one in rows]
    others = sum(a != b and None not in (a, b) for a, b in zip(*asked, strict=True))
    if others:
        reasons.append(f"{task}: {others} of {len(common)} documents were asked with different prompts")
    return reasons


def _short(hashes: Sequence[str | None]) -> str:
    return " and ".join((value or "none")[:8] for value in hashes)
