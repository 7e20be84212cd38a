"""Builds the readings of a task: each filter pipeline of filter_list with its metrics of metric_list."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

from marathon_eval.api.filter import Pipeline
from marathon_eval.api.metric import Metric
from marathon_eval.api.task_functions import functions_in, task_function
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.filters.build import build_pipeline
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.metrics.normalizers import language_code
from marathon_eval.scoring.metrics.task_function_metrics import (
    ResultsFunction,
    function_metric,
    metric_item,
)
from marathon_eval.scoring.scorer import Reading
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.loader import Document
from marathon_eval.task.yaml.replaced import unknown_in

#: Caches of built pipelines and metrics, by their YAML entry; they are stateless, so tasks share them.
_PIPELINES: dict[str, Pipeline] = {}
_METRICS: dict[str, Metric] = {}


def build_readings(config: TaskConfig, document: Document) -> dict[str, Reading]:
    """Build the readings from filter_list and metric_list, by name. Raises MarathonError with file and line.

    A metric_list entry with `filter_list` (one name or several) applies to these readings only, other entries apply
    to all. lm-eval's aggregate_metric_list has a key of the same name for this purpose.
    """
    pipelines: dict[str, Pipeline] = {}
    for position, spec in enumerate(config.filter_list):
        where = document.where("filter_list", position)
        pipeline = _pipeline_built(spec, where, document)
        if pipeline.name in pipelines:
            raise MarathonError(f"{where}: filter_list: two readings have the name '{pipeline.name}'")
        pipelines[pipeline.name] = pipeline
    defaults = _task_defaults(config, document)
    results = _results_function(config, document)
    metrics: dict[str, list[Metric]] = {name: [] for name in pipelines}
    for position, spec in enumerate(config.metric_list):
        where = document.where("metric_list", position)
        entry = {key: spec[key] for key in spec if key != "filter_list"}
        metric = _own_metric(entry, results, where) or _metric_built(entry, where, defaults, document)
        for name in _readings_of(spec, list(pipelines), document, position):
            if any(other.name == metric.name for other in metrics[name]):
                typed = (
                    ""
                    if entry["metric"] == metric.name
                    else f", which {entry['metric']} is called in results"
                )
                raise MarathonError(
                    f"{where}: metric_list: '{metric.name}' is there twice for '{name}'{typed}: give one of the two another name (key name)"
                )
            metrics[name].append(metric)
    return {name: Reading(pipelines[name], tuple(metrics[name])) for name in pipelines}


def _results_function(config: TaskConfig, document: Document) -> ResultsFunction | None:
    code = task_function(config.process_results)
    if config.process_results is not None and code is None:
        raise MarathonError(
            f"{document.where('process_results')}: process_results: must be !function module.name"
        )
    return None if code is None else ResultsFunction(code)


def _own_metric(spec: Mapping[str, Any], results: ResultsFunction | None, where: str) -> Metric | None:
    """Build the metric of an entry whose rows a function of the task scores; None for other entries."""
    code, key = task_function(spec.get("metric")), str(spec.get("metric"))
    if code is None and results is None:
        return None
    name = str(spec.get("name") or (key if code is None else code.name))
    item = metric_item(code) if code is not None else cast("ResultsFunction", results).item(key)
    metric = function_metric(spec, item, name, where)
    hashes = functions_in(dict(spec)) | ({} if results is None else dict(results.code.hashes))
    metric.spec = MappingProxyType({**spec, "code": hashes})
    return metric


def _task_defaults(config: TaskConfig, document: Document) -> dict[str, str | None]:
    """Return the task's keys that metrics inherit. Raises MarathonError for an unknown language."""
    if config.language is not None:
        try:
            language_code(config.language)
        except MarathonError as error:
            raise MarathonError(f"{document.where('language')}: {error}") from None
    return {"language": config.language, "normalizer": config.normalizer}


def _metric_built(
    spec: Mapping[str, Any], where: str, defaults: Mapping[str, Any], document: Document
) -> Metric:
    """Build a metric, and print once what its `note` says of the task's language."""
    own = document.own_code("metric", spec.get("metric"), where)
    if own is not None:
        return build_metric(spec, where, defaults, own)
    key = json.dumps([spec, defaults], sort_keys=True, default=repr)
    if key not in _METRICS:
        _METRICS[key] = metric = build_metric(spec, where, defaults)
        if note := getattr(metric, "note", ""):
            print(f"marathon-eval: warning: {where}: metric_list: {note}", file=sys.stderr)
    return _METRICS[key]


def _pipeline_built(spec: Mapping[str, Any], where: str, document: Document) -> Pipeline:
    entries = spec.get("filter")
    named = [entry.get("function") for entry in entries or () if isinstance(entry, Mapping)]
    found = {str(name): document.own_code("filter", name, where) for name in named}
    if own := {name: code for name, code in found.items() if code is not None}:
        return build_pipeline(spec, where, own)
    key = json.dumps(spec, sort_keys=True, default=repr)
    if key not in _PIPELINES:
        _PIPELINES[key] = build_pipeline(spec, where)
    return _PIPELINES[key]


def _readings_of(
    spec: Mapping[str, Any], readings: list[str], document: Document, position: int
) -> list[str]:
    selection = spec.get("filter_list")
    names = readings if selection is None else [selection] if isinstance(selection, str) else list(selection)
    for name in names:
        if name not in readings:
            keys = ("metric_list", position)
            at = f"{document.where(*keys)}: metric_list: filter_list"
            raise unknown_in(document, keys, at, "reading", name, readings, "filter_list")
    return names
