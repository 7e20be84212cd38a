"""Checks the types in a run's files, which may come from other people, so that all verbs can rely on them."""

from __future__ import annotations

from collections.abc import Mapping
from types import NoneType
from typing import Any

#: Integers of more digits are rejected: no float can hold them.
MAX_DIGITS = 200
_NUMBER = (int, float)
_MISSING = object()
_OF_RESULTS: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("fingerprint", "tasks", "groups", "config", "versions", "manifests", "cache"), dict),
    **dict.fromkeys(("model", "fingerprint_sha256", "started"), str),
    "wall_s": _NUMBER,
    **dict.fromkeys(("condition", "selection"), (dict, NoneType)),
}
_OF_TASK: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(
        ("n_meta", "n_loaded", "n_missing", "n_filtered", "n_scored", "n_errors", "n_unverified", "n_cut"),
        int,
    ),
    **dict.fromkeys(("n_unanswered", "n_left_out", "breakdown", "usage", "metrics"), dict),
}
_OF_SAMPLE: Mapping[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("readings", "usage", "fields", "judge"), dict),
    **dict.fromkeys(("audio", "choices", "letters"), list),
    "status": str,
}


def is_number(value: Any) -> bool:
    """Return whether a value is a number; true and false are none."""
    return isinstance(value, _NUMBER) and not isinstance(value, bool)


def is_interval(value: Any) -> bool:
    """Return whether a value is a list of two numbers."""
    return isinstance(value, list) and len(value) == 2 and all(map(is_number, value))


def whole_number(digits: str) -> int:
    """Parse an integer, as `parse_int` of json.loads. Raises ValueError for one that no float can hold."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def fault_of_results(loaded: Mapping[str, Any]) -> str | None:
    """Return the first key of results.json with a wrong type, or None. Missing keys are accepted here."""
    fault = _wrong(loaded, _OF_RESULTS)
    if fault is not None:
        return fault
    fault = _fault_of_selection(loaded.get("selection"))
    if fault is not None:
        return fault
    manifest = next(
        (task for task, entry in loaded.get("manifests", {}).items() if not isinstance(entry, dict)), None
    )
    if manifest is not None:
        return f"manifests: {manifest}"
    press = loaded.get("fingerprint", {}).get("press")
    if press is not None and not (
        isinstance(press, dict)
        and isinstance(press.get("press"), str)
        and isinstance(press.get("ratio"), _NUMBER)
    ):
        return "fingerprint: press"
    faults = (_fault_of_task(name, task) for name, task in loaded.get("tasks", {}).items())
    return next((fault for fault in faults if fault is not None), None)


def fault_of_sample(row: Any) -> str | None:
    """Return the first key of a samples_<task>.jsonl line with a wrong type, or None."""
    if not isinstance(row, dict):
        return "the line"
    if type(row.get("doc_id")) is not int:
        return "doc_id"
    return _wrong(row, _OF_SAMPLE) or next(
        (f"readings: {name}" for name, read in row.get("readings", {}).items() if not _is_reading(read)), None
    )


def _is_reading(read: Any) -> bool:
    return (
        isinstance(read, dict)
        and "answer" in read
        and isinstance(read["answer"], (str, NoneType))
        and isinstance(read.get("scores"), dict)
    )


def _wrong(loaded: Mapping[str, Any], kinds: Mapping[str, type | tuple[type, ...]]) -> str | None:
    # a plain loop: a report calls this for a quarter of a million rows
    for key, kind in kinds.items():
        value = loaded.get(key, _MISSING)
        if value is not _MISSING and not isinstance(value, kind):
            return key
    return None


def _fault_of_selection(selection: Mapping[str, Any] | None) -> str | None:
    """Return the first key of `selection` with a wrong type, or None; older runs have none."""
    kinds: Mapping[str, type | tuple[type, ...]] = {
        "subset": (str, NoneType),
        "limit": (*_NUMBER, NoneType),
        "samples": (dict, NoneType),
        "tasks": dict,
    }
    fault = _wrong(selection or {}, kinds)
    return None if fault is None else f"selection: {fault}"


def _fault_of_task(name: str, task: Any) -> str | None:
    if not isinstance(task, dict) or not isinstance(task.get("readings"), list):
        return f"tasks: {name}: readings"
    fault = _wrong(task, _OF_TASK)
    if fault is not None:
        return f"tasks: {name}: {fault}"
    for key in ("n_unanswered", "n_left_out"):
        if not all(type(count) is int for count in task.get(key, {}).values()):
            return f"tasks: {name}: {key}"
    for reading in task["readings"]:
        metrics = task.get(reading) if isinstance(reading, str) else None
        if not isinstance(metrics, dict):
            return f"tasks: {name}: {reading}"
        for metric, entry in metrics.items():
            value = entry.get("value") if isinstance(entry, dict) else ""
            interval = entry.get("ci95") if isinstance(entry, dict) else None
            reason = entry.get("no_interval", "") if isinstance(entry, dict) else ""
            if (
                not (value is None or is_number(value))
                or not (interval is None or is_interval(interval))
                or not isinstance(reason, str)
            ):
                return f"tasks: {name}: {reading}: {metric}"
    return None
