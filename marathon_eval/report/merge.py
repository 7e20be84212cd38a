"""Merges the runs below a folder: one per model, press, condition and selection, with the best result of each task.

Two scores of a task count as the same measurement only if rows, prompts, generation arguments and judge agree. Then the
one over more rows is kept, and the newer one of two over equally many.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.files import sha256_of
from marathon_eval.results.asked import ASPECTS, Asked, asked_in
from marathon_eval.results.files import read_results
from marathon_eval.results.label import same_place

#: The run, as read from its folder, that gives each task of a merged run.
RunByTask = dict[str, dict[str, Any]]


def runs_below(parent: Path, leave_out: Mapping[Path, str] | None = None) -> list[dict[str, Any]]:
    """Read every run below a folder, the newest first. Raises MarathonError if there is none.

    `leave_out` gives the folders of damaged runs, which are not read, with their errors.
    """
    damaged = leave_out or {}
    files = sorted(
        parent.glob("**/results.json"), key=lambda file: (file.parent.name, str(file)), reverse=True
    )
    if not files:
        raise MarathonError(f"{parent}: no results.json here or below")
    runs = [one_run(file.parent) for file in files if file.parent not in damaged]
    if not runs:
        raise MarathonError(damaged[files[0].parent])
    return runs


def one_run(folder: Path) -> dict[str, Any]:
    """Read one run; `folders` and `configs` give for each task its folder and config. Raises MarathonError.

    `displaced` has by task the headlines of the runs that this one stands for, though they have another headline.
    """
    results = read_results(folder)
    config = results.get("config") or {}
    return {
        **results,
        "folders": dict.fromkeys(results["tasks"], folder),
        "configs": dict.fromkeys(results["tasks"], config),
        "displaced": {},
        "manifests": results.get("manifests") or {},
    }


def merged_runs_below(parent: Path, leave_out: Mapping[Path, str] | None = None) -> list[dict[str, Any]]:
    """Return the merged runs below a folder but those in `leave_out`; `variant` has words for those of equal place in which a task was asked otherwise.

    Raises MarathonError.
    """
    places: dict[str, list[RunByTask]] = {}
    for run in runs_below(parent, leave_out):
        folder = next(iter(run["folders"].values()), parent)
        merged = places.setdefault(same_place(run, folder), [])
        if not run["tasks"] and not merged:
            merged.append({"": run})
        for name in run["tasks"]:
            _add(merged, name, run)
    return [
        _assembled(by_task, _variant(by_task, merged)) for merged in places.values() for by_task in merged
    ]


def _add(merged: list[RunByTask], name: str, run: dict[str, Any]) -> None:
    """Add a task of a run that is older than those before it."""
    for by_task in merged:
        held = by_task.get(name)
        if held is None:
            by_task[name] = run
            return
        if _asked(held, name) == _asked(run, name):
            kept, other = (run, held) if _n_scored(run, name) > _n_scored(held, name) else (held, run)
            by_task[name] = kept
            _note_displaced(kept, other, name)
            return
    merged.append({name: run})


def _note_displaced(kept: dict[str, Any], other: dict[str, Any], name: str) -> None:
    """Note in a run the headlines of the runs in whose place it stands; one with the same headline is not noted."""
    headlines = [*other["displaced"].get(name, ()), other["tasks"][name].get("headline")]
    shown = _measured(kept["tasks"][name].get("headline"))
    unlike = [headline for headline in headlines if _measured(headline) != shown]
    if unlike:
        kept["displaced"].setdefault(name, []).extend(unlike)


def _measured(headline: Mapping[str, Any] | None) -> tuple[str, str, float] | None:
    """Return reading, metric and scale, which make two headlines the same; None for a task without a headline."""
    return (headline["reading"], headline["metric"], headline.get("scale", 1.0)) if headline else None


def _asked(run: dict[str, Any], name: str) -> Asked:
    """Return how the run asked the task; what had to be read from its samples is remembered in the run."""
    known: dict[str, Asked] = run.setdefault("asked", {})
    if name not in known:
        known[name] = asked_in(run, run["folders"][name], name)
    return known[name]


def _n_scored(run: dict[str, Any], name: str) -> int:
    """Return the rows in the scores; a row that a reading leaves out counts less."""
    entry = run["tasks"][name]
    return int(entry["n_scored"]) - int(sum(entry.get("n_left_out", {}).values()))


def _variant(by_task: RunByTask, merged: Sequence[RunByTask]) -> list[str]:
    """Return what tells a merged run from others of the same place, as words for its label: `prompts 3fa81c02`."""
    words = []
    for aspect, shown in ASPECTS.items():
        unlike = {
            name: getattr(_asked(run, name), aspect)
            for name, run in by_task.items()
            for other in merged
            if name
            and name in other
            and getattr(_asked(other[name], name), aspect) != getattr(_asked(run, name), aspect)
        }
        if unlike:
            known = any(value is not None for value in unlike.values())
            words.append(f"{shown} {sha256_of(unlike)[:8] if known else 'not recorded'}")
    return words


def _assembled(by_task: RunByTask, variant: list[str]) -> dict[str, Any]:
    """Return one run with each task from the run that gives it, and all else from the newest of these."""
    newest = max(by_task.values(), key=lambda run: str(run["started"]))
    by_task = {name: run for name, run in by_task.items() if name}
    parts = {
        part: {name: run[part][name] for name, run in by_task.items() if name in run[part]}
        for part in ("tasks", "folders", "configs", "manifests", "displaced")
    }
    interrupted = any(run["interrupted"] for run in by_task.values()) if by_task else newest["interrupted"]
    return {**newest, **parts, "interrupted": interrupted, "variant": variant}
