"""Builds the readings of a task: each filter pipeline of filter_list with its metrics of metric_list."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from marathon_eval.api.filter import Pipeline
from marathon_eval.api.metric import Metric
from marathon_eval.errors import MarathonError, unknown
from marathon_eval.scoring.filters.build import build_pipeline
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.scorer import Reading
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.loader import Document

_Built = TypeVar("_Built", Pipeline, Metric)
_BUILT: dict[tuple[object, str], Pipeline | Metric] = {}


def build_readings(config: TaskConfig, document: Document) -> dict[str, Reading]:
    """Build the readings from filter_list and metric_list, by name. Raises MarathonError with file and line.

    A metric_list entry with `filter_list` (one name or several) applies to these readings only, other entries apply
    to all. lm-eval's aggregate_metric_list has a key of the same name for this purpose.
    """
    pipelines: dict[str, Pipeline] = {}
    for position, spec in enumerate(config.filter_list):
        where = document.where("filter_list", position)
        pipeline = _built(build_pipeline, spec, where)
        if pipeline.name in pipelines:
            raise MarathonError(f"{where}: filter_list: two readings have the name '{pipeline.name}'")
        pipelines[pipeline.name] = pipeline
    metrics: dict[str, list[Metric]] = {name: [] for name in pipelines}
    for position, spec in enumerate(config.metric_list):
        where = document.where("metric_list", position)
        metric = _built(build_metric, {key: spec[key] for key in spec if key != "filter_list"}, where)
        for name in _readings_of(spec, list(pipelines), where):
            if any(other.name == metric.name for other in metrics[name]):
                raise MarathonError(f"{where}: metric_list: '{metric.name}' is there twice for '{name}'")
            metrics[name].append(metric)
    return {name: Reading(pipelines[name], tuple(metrics[name])) for name in pipelines}


def _built(build: Callable[[Mapping[str, Any], str], _Built], spec: Mapping[str, Any], where: str) -> _Built:
    """Build a pipeline or metric, or reuse the one of an equal entry: tasks share entries, and none has state."""
    key = (build, json.dumps(spec, sort_keys=True, default=repr))
    if key not in _BUILT:
        _BUILT[key] = build(spec, where)
    return cast("_Built", _BUILT[key])


def _readings_of(spec: Mapping[str, Any], readings: list[str], where: str) -> list[str]:
    selection = spec.get("filter_list")
    names = readings if selection is None else [selection] if isinstance(selection, str) else list(selection)
    for name in names:
        if name not in readings:
            raise unknown(f"{where}: metric_list: filter_list", "reading", name, readings)
    return names
