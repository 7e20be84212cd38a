"""Says what `--run_name` may call a run, and under which name tables show one.

A name is a label alone: it is in no fingerprint and no cache key. It stands in results.json's config, in the name of the
run's folder, and in tables in place of the model's name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from marathon_eval.errors import MarathonError

#: Characters of the longest name; it is the head of a column in some tables.
LONGEST_RUN_NAME = 80


def checked_run_name(name: str | None, flag: str = "--run_name") -> str | None:
    """Return the name if a run can be called so. Raises MarathonError that begins with the flag."""
    fault = None if name is None else run_name_fault(name)
    if fault is not None:
        raise MarathonError(f"{flag}: {name!r} {fault}")
    return name


def run_name_fault(name: str) -> str | None:
    """Return what is wrong with a name, as the rest of a sentence about it; None if a run can be called so."""
    if not name.strip():
        return "is empty: give a name such as base-7b"
    if not name.isprintable():
        return "must be one line of printable characters"
    if name != name.strip():
        return "must neither begin nor end with a space"
    if "/" in name or "\\" in name:
        return "must hold no / and no \\, for it is part of the name of the run's folder"
    if len(name) > LONGEST_RUN_NAME:
        return f"has {len(name)} characters; at most {LONGEST_RUN_NAME} are allowed"
    return None


def run_name_of(results: Mapping[str, Any]) -> str | None:
    """Return the name in the config of results.json; None for a run without one."""
    name: str | None = (results.get("config") or {}).get("run_name")
    return name


def shown_model(results: Mapping[str, Any]) -> str:
    """Return the run's name, or its model's where the run has none."""
    return run_name_of(results) or str(results["model"])


def shown_fingerprint(results: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fingerprint to name a run by (`run_labels.names_of`): a run's name stands in it for the model's.

    So runs of one name are told apart as runs of one model are, by the settings in which they differ.
    """
    name = run_name_of(results)
    return {**results["fingerprint"], **({} if name is None else {"model": name})}
