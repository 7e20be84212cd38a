"""Rewrites a task for its judge: judged metrics carry the judge's name, or are removed if there is no judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.judge_prompts import check_judging
from marathon_eval.task.task import Task


def with_judge_named(task: Task, name: str | None) -> Task:
    """Return the task whose judged metrics are named `metric[judge name]`.

    With `name=None` there is no judge: judged readings marked optional are removed. Raises MarathonError if the task
    has judged readings that are not optional.
    """
    kinds = task.config.judge
    if kinds is None:
        return task
    check_judging(task)
    optional_by_reading: dict[str, bool] = {}
    for kind in dict(kinds).values():
        if kind is not None:
            optional_by_reading |= dict.fromkeys(_as_list(kind.readings), kind.optional)
    if name is None and not all(optional_by_reading.values()):
        where = task.document.where("judge")
        raise MarathonError(f"{where}: {task.name} is scored by a judge: give --judge_model and --judge_args")
    return _with_judged_metrics_renamed(task, set(optional_by_reading), name)


def _with_judged_metrics_renamed(task: Task, judged: set[str], name: str | None) -> Task:
    """Build the task from the same YAML with `metric[name]` in the `judged` readings; with no name, without these."""
    values = dict(task.document.values)
    all_readings = [spec["name"] for spec in task.config.filter_list]
    metrics: list[dict[str, Any]] = []
    for spec in task.config.metric_list:
        readings = _as_list(spec.get("filter_list", all_readings))
        plain_readings = [reading for reading in readings if reading not in judged]
        judged_readings = [reading for reading in readings if reading in judged]
        if plain_readings:
            metrics.append({**spec, "filter_list": plain_readings})
        if judged_readings and name is not None:
            metric_name = f"{_metric_name(spec, judged_readings[0])}[{name}]"
            metrics.append({**spec, "filter_list": judged_readings, "name": metric_name})
    values["metric_list"] = metrics
    headline = task.config.headline
    if name is None:
        values["filter_list"] = [spec for spec in task.config.filter_list if spec["name"] not in judged]
    elif headline is not None and headline.reading in judged:
        values["headline"] = {**headline.model_dump(), "metric": f"{headline.metric}[{name}]"}
    return Task(replace(task.document, values=values))


def _metric_name(spec: Mapping[str, Any], reading: str) -> str:
    """Return the name that the metric of this `metric_list` entry has without a judge."""
    from marathon_eval.scoring.metrics.build import UNNAMED_NORMALIZER, build_metric

    entry = {key: value for key, value in spec.items() if key != "filter_list"}
    return build_metric(entry, reading, UNNAMED_NORMALIZER).name


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
