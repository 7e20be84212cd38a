"""Says of a run's metrics whether higher is better, from the entries of metric_list that the run recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.results import TaskResult
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.alike import kind_of_entry

LOWER = "↓"
LOWER_NOTE = f"{LOWER} lower is better."


def marked(heading: str, falls: bool, mark: str = LOWER) -> str:
    """Return a column's head, with the mark where a lower score is better."""
    return f"{heading} {mark}" if falls else heading


def directions(task: TaskResult) -> dict[str, bool | None]:
    """Return for each metric of a task whether higher is better, None where 0 is best. Raises MarathonError for an unknown metric."""
    return {
        name: kind_of_entry(name, json.dumps(entry, sort_keys=True, default=str), task.task).higher_is_better
        for named in task.metrics.values()
        for name, entry in named.items()
    }


def falling_metrics(task: str, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, list[str]]:
    """Return by reading the metrics of which a lower value is better; `metrics` are the entries that a run recorded."""
    falling = {
        reading: [name for name, entry in named.items() if _falls(name, entry, task)]
        for reading, named in metrics.items()
    }
    return {reading: names for reading, names in falling.items() if names}


def _falls(name: str, entry: Mapping[str, Any], task: str) -> bool:
    """Return whether a lower value is better, as far as can be told without running code from the hub."""
    if entry.get("hf_evaluate") or str(entry.get("metric")).startswith("evaluate:"):
        return entry.get("higher_is_better") is False
    try:
        kind = kind_of_entry(name, json.dumps(entry, sort_keys=True, default=str), task)
    except MarathonError:  # a metric that this version does not know
        return False
    return kind.higher_is_better is False
