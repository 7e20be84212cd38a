"""Compares two runs: finds the tasks they share and checks that these have the same data and prompts.

Reads only the runs' files. paired.py compares one task; Holm's correction is over all tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.results.compared_rows import compared_rows
from marathon_eval.results.directions import falling_metrics
from marathon_eval.results.files import newest_run, read_results, read_samples
from marathon_eval.results.gate import Limit, gate
from marathon_eval.results.judges import judge_differences, judge_in
from marathon_eval.results.label import label_words, recorded_condition, recorded_selection
from marathon_eval.results.metric_differences import metric_differences
from marathon_eval.results.paired import (
    TaskDifference,
    TaskRows,
    correct,
    other_target,
    paired_metrics,
)
from marathon_eval.results.recomputed import JsonObject
from marathon_eval.results.run_labels import names_of
from marathon_eval.results.run_name import shown_model


def compare_runs(
    path_a: Path, path_b: Path, force: bool = False, wanted: Sequence[Limit] = ()
) -> dict[str, Any]:
    """Return what `compare` prints as JSON, with a verdict on each of the `wanted` limits.

    Raises MarathonError if data, right answers or prompts differ, unless `force` is set; for rows that cannot be known to be
    the same; and for a limit on a task that is not shared.
    """
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
            f"compare: {'; '.join(unlike)}. Use --force to compare the documents that both runs have"
        )
    for task in shared:
        _refuse_unknown_rows(task, *rows[task])
    differences = [paired_metrics(task, *rows[task]) for task in shared]
    _refuse_unpaired(differences, results)
    correct([difference.readings for difference in differences])
    return {
        "schema_version": 1,
        **{
            side: {"name": name, **run_label(r, f)}
            for side, name, r, f in zip("ab", run_names(results), results, folders, strict=True)
        },
        "tasks": {each.task: {**asdict(each), **_marks(results, each.task)} for each in differences},
        "only_a": [task for task in results[0]["tasks"] if task not in shared],
        "only_b": [task for task in results[1]["tasks"] if task not in shared],
        "forced": unlike,
        "gate": [asdict(verdict) for verdict in gate(wanted, rows)],
    }


def _refuse_unknown_rows(task: str, a: TaskRows, b: TaskRows) -> None:
    """Raise MarathonError if right answers differ and no prompt says which rows are the same: the order may have changed."""
    common = [(row, b.rows[doc]) for doc, row in a.rows.items() if doc in b.rows]
    if any(row["prompt_sha256"] is not None for pair in common for row in pair):
        return
    if different := sum(other_target(*pair) for pair in common):
        raise MarathonError(
            f"compare: {task}: {different} of {len(common)} rows of the same number have another right answer in the other run, and "
            "predictions record no prompt by which rows could be matched. Score both files against one data set: "
            f"`score --tasks {task} --predictions FILE --data_dir DIR`"
        )


def _refuse_unpaired(differences: Sequence[TaskDifference], results: Sequence[JsonObject]) -> None:
    """Raise MarathonError if no task has a reading that both runs have: nothing could be shown."""
    if any(difference.readings for difference in differences):
        return
    sides = [
        ", ".join(
            dict.fromkeys(name for each in differences for name in result["tasks"][each.task]["readings"])
        )
        for result in results
    ]
    raise MarathonError(
        f"compare: no reading is in both runs: {sides[0] or 'none'} in A, {sides[1] or 'none'} in B. Readings of one name are "
        "paired; to see two readings of one run, keep both in filter_list and type --readings all"
    )


def _marks(results: Sequence[JsonObject], task: str) -> dict[str, Any]:
    """Return what `compare` says of a task beside its differences.

    That is: in what judges and metrics differ, what only one run measured, B's headline, and by reading the metrics of which
    lower is better.
    """
    judges = (judge_in(each, each.get("config") or {}, task) for each in results)
    return {
        "judge_differences": judge_differences(*judges),
        "metric_differences": metric_differences(task, results),
        "lower_is_better": falling_metrics(task, results[0]["tasks"][task].get("metrics") or {}),
        "headline_b": results[1]["tasks"][task].get("headline"),
        "measured_only_a": _measured_alone(*(each["tasks"][task] for each in results)),
        "measured_only_b": _measured_alone(*(each["tasks"][task] for each in reversed(results))),
    }


def _measured_alone(own: JsonObject, other: JsonObject) -> list[str]:
    """Return the readings and metrics of a task that the other run does not have: `strict macro_f1`, `reading first`."""
    alone = [f"reading {name}" for name in own["readings"] if name not in other["readings"]]
    shared = [name for name in own["readings"] if name in other["readings"]]
    return [
        f"{name} {metric}" for name in shared for metric in own[name] if metric not in other[name]
    ] + alone


def run_names(results: Sequence[JsonObject]) -> list[str]:
    """Return each run's own name or its model, press and ratio, with the settings in which runs of one model differ."""
    return names_of([{**each["fingerprint"], "model": shown_model(each)} for each in results])


def run_label(results: JsonObject, folder: Path) -> dict[str, Any]:
    """Return the fields that identify a run in the comparison."""
    keys = ("model", "fingerprint_sha256", "started", "interrupted")
    condition, selection = recorded_condition(results), recorded_selection(results)
    return {
        "folder": str(folder),
        **{key: results[key] for key in keys},
        "press": _press(results),
        "condition": condition,
        "selection": selection,
        "label": label_words(condition, selection),
    }


def _press(results: JsonObject) -> Any:
    return results["fingerprint"].get("press")


def task_rows(results: JsonObject, folder: Path, task: str) -> TaskRows:
    """Read one task of a finished run. Raises MarathonError if the run has no samples, or a scored one lacks a part."""
    rows = TaskRows(results["tasks"][task], compared_rows(read_samples(folder, task)))
    for doc, row in rows.scored.items():
        lacking = [name for name in rows.summary["readings"] if name not in row["readings"]]
        if lacking or row["target"] is None:
            part = f"reading {lacking[0]!r}" if lacking else "target"
            raise MarathonError(f"{folder}: samples_{task}.jsonl: the scored row {doc} has no {part}")
    return rows


def unlikeness(task: str, results: Sequence[JsonObject], rows: Sequence[TaskRows]) -> list[str]:
    """Return the reasons not to compare two runs of a task: different data, or other right answers or prompts for a document."""
    hashes = [(r.get("manifests") or {}).get(task, {}).get("manifest_sha256") for r in results]
    reasons = []
    if hashes[0] != hashes[1]:
        reasons.append(f"{task}: the runs are on different data (manifest {_short(hashes)})")
    common = [doc for doc in rows[0].rows if doc in rows[1].rows]
    prompts = [[side.rows[doc]["prompt_sha256"] for doc in common] for side in rows]
    different = sum(a != b and None not in (a, b) for a, b in zip(*prompts, strict=True))
    if different:
        reasons.append(f"{task}: {different} of {len(common)} documents were asked with different prompts")
    other = sum(other_target(*(side.rows[doc] for side in rows)) for doc in common)
    if other:
        reasons.append(f"{task}: {other} of {len(common)} documents have different right answers")
    return reasons


def _short(hashes: Sequence[str | None]) -> str:
    return " and ".join((value or "none")[:8] for value in hashes)
