"""Says of which scores of tasks a mean means something: those of one direction and one unit.

Shares and error rates are in one unit where their `scale` is the same. Other numbers, such as grades, count as points where
the headline's `scale` takes them there, and else are alike only within one metric.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from marathon_eval.api.results import TaskResult
from marathon_eval.errors import MarathonError

#: What a scale other than 1 takes grades and own numbers to.
_POINTS = 100.0


class TaskScore(NamedTuple):
    """Names one number of a task: a metric of a reading, times a scale."""

    task: TaskResult
    reading: str
    metric: str
    scale: float = 1.0


class _Kind(NamedTuple):
    """Says whether a metric's higher values are better (None: 0 is best), and whether 1 stands for 100 %."""

    higher_is_better: bool | None
    is_fraction: bool


class _Unit(NamedTuple):
    falls: bool
    #: What 100 % is, or None for the own numbers of the metric `name`, times `scale`.
    whole: float | None
    name: str


def headline_score(task: TaskResult) -> TaskScore:
    """Return what a task's headline names."""
    headline = task.headline or {}
    return TaskScore(task, str(headline.get("reading")), str(headline.get("metric")), task.headline_scale)


def headline_falls(task: TaskResult) -> bool:
    """Return whether a lower headline is better, as of an error rate; False where that is not known."""
    unit = _unit(headline_score(task))
    return unit is not None and unit.falls


def unlike(scores: Sequence[TaskScore]) -> str | None:
    """Return why a mean of these scores would mean nothing, naming two tasks; None where they are alike.

    Metrics that this version does not know are passed over.
    """
    known = [(score.task.task, unit) for score in scores if (unit := _unit(score)) is not None]
    for task, unit in known[1:]:
        first_task, first = known[0]
        if unit.falls != first.falls:
            falling, rising = (task, first_task) if unit.falls else (first_task, task)
            return f"less is better in {falling}, more in {rising}"
        if unit.whole != first.whole or (unit.whole is None and unit.name != first.name):
            return f"{_words(first_task, first)}, {_words(task, unit)}"
    return None


def _words(task: str, unit: _Unit) -> str:
    return (
        f"100 % is {unit.whole:g} in {task}"
        if unit.whole is not None
        else f"{task} is in units of {unit.name}"
    )


def _unit(score: TaskScore) -> _Unit | None:
    """Return the unit of a score, or None where its metric is not known."""
    entry = score.task.metrics.get(score.reading, {}).get(score.metric)
    if entry is None:
        return None
    kind = _kind(entry, score.metric, score.task.task)
    if kind is None:
        return None
    whole = None
    if kind.is_fraction:
        whole = score.scale
    elif abs(score.scale) != 1:
        whole = math.copysign(_POINTS, score.scale)
    name = str(entry.get("metric", score.metric))
    falls = kind.higher_is_better is not None and kind.higher_is_better != (score.scale > 0)
    return _Unit(falls, whole, name)


def _kind(entry: Mapping[str, Any], name: str, task: str) -> _Kind | None:
    if entry.get("hf_evaluate") or str(entry.get("metric")).startswith("evaluate:"):
        # to build it would run code from the hub
        return _Kind(entry.get("higher_is_better") is not False, False)
    try:
        return kind_of_entry(name, json.dumps(entry, sort_keys=True, default=str), task)
    except MarathonError:  # a metric that this version does not know
        return None


@lru_cache(maxsize=512)
def kind_of_entry(name: str, entry: str, task: str) -> _Kind:
    """Build the metric of an entry of metric_list, written as JSON, and return its kind. Raises MarathonError."""
    from marathon_eval.scoring.metrics.build import UNNAMED_NORMALIZER, build_metric
    from marathon_eval.scoring.metrics.own import recorded_metric
    from marathon_eval.scoring.metrics.wer import CorpusWER

    spec = json.loads(entry)
    if "code" in spec:
        own = recorded_metric(spec, name)
        return _Kind(own.higher_is_better, own.share)
    options = {key: value for key, value in spec.items() if key != "filter_list"}
    metric = build_metric(options, task, UNNAMED_NORMALIZER)
    return _Kind(metric.higher_is_better, metric.share or isinstance(metric, CorpusWER))
