"""Rewrites a task for its judge: judged metrics carry the judge's name, or are removed if there is no judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.grading import Grading
from marathon_eval.evaluator.judge_prompts import check_judging
from marathon_eval.task.judged_readings import judge_kinds, readings_of_kind
from marathon_eval.task.task import Task


def with_judge_named(task: Task, names: Sequence[str]) -> Task:
    """Return the task whose judged metrics are named `metric[judge]`, `metric[one+other]` for several judges.

    With no name there is no judge: judged readings marked optional are removed. Raises MarathonError if the task has
    judged readings that are not optional, or a kind of judging that takes one judge and gets several.
    """
    kinds = judge_kinds(task.config)
    if task.config.judge is None:
        return task
    check_judging(task)
    optional_by_reading: dict[str, bool] = {}
    for name, kind in kinds.items():
        optional_by_reading |= dict.fromkeys(readings_of_kind(kind), kind.optional)
        if len(names) > 1 and name != "grade":
            raise MarathonError(
                f"{task.document.where('judge', name)}: {task.name}: judge: {name} takes one judge, got "
                f"{', '.join(names)}; several can share `grade`"
            )
    if not names and not all(optional_by_reading.values()):
        where = task.document.where("judge")
        raise MarathonError(f"{where}: {task.name} is scored by a judge: give --judge_model and --judge_args")
    return _with_judged_metrics_renamed(task, set(optional_by_reading), names)


def _with_judged_metrics_renamed(task: Task, judged: set[str], names: Sequence[str]) -> Task:
    """Build the task from the same YAML with the judges' names in the `judged` readings; with none, without these."""
    values = dict(task.document.values)
    all_readings = [spec["name"] for spec in task.config.filter_list]
    metrics: list[dict[str, Any]] = []
    for spec in task.config.metric_list:
        readings = _as_list(spec.get("filter_list", all_readings))
        plain_readings = [reading for reading in readings if reading not in judged]
        judged_readings = [reading for reading in readings if reading in judged]
        if plain_readings:
            metrics.append({**spec, "filter_list": plain_readings})
        if judged_readings and names:
            metrics += _of_judges({**spec, "filter_list": judged_readings}, task, names)
    values["metric_list"] = metrics
    headline = task.config.headline
    if not names:
        values["filter_list"] = [spec for spec in task.config.filter_list if spec["name"] not in judged]
    elif headline is not None and headline.reading in judged:
        values["headline"] = {**headline.model_dump(), "metric": f"{headline.metric}[{'+'.join(names)}]"}
    return Task(replace(task.document, values=values))


def _of_judges(spec: Mapping[str, Any], task: Task, names: Sequence[str]) -> list[dict[str, Any]]:
    """Return the metric of all judges together, and of several judges also each one's mean grade."""
    base = _metric_name(spec, spec["filter_list"][0])
    if spec.get("metric") == "grade" and task.config.judge and task.config.judge.grade:
        given = task.config.judge.grade
        spec = {**spec, "lowest": Grading(given).lowest}
        if given.combine != "mean":
            spec["combine"] = given.combine
    together = {**spec, "name": f"{base}[{'+'.join(names)}]"}
    if spec.get("metric") != "grade" or len(names) < 2:
        return [together]
    return [together, *({**spec, "judge": name, "name": f"{base}[{name}]"} for name in names)]


def _metric_name(spec: Mapping[str, Any], reading: str) -> str:
    """Return the name that the metric of this `metric_list` entry has without a judge."""
    from marathon_eval.scoring.metrics.build import UNNAMED_NORMALIZER, build_metric

    entry = {key: value for key, value in spec.items() if key != "filter_list"}
    return build_metric(entry, reading, UNNAMED_NORMALIZER).name


def _as_list(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
