"""Groups several tasks under one name and averages their scores, by default as the plain mean of headlines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from marathon_eval.api.results import TaskResult
from marathon_eval.errors import unknown
from marathon_eval.scoring.alike import TaskScore, headline_score, unlike
from marathon_eval.task.yaml.config import AggregateMetric, GroupConfig

HEADLINE = AggregateMetric(metric="headline", weight_by_size=False)


@dataclass(frozen=True)
class Group:
    """Holds a group's YAML. `members` are the names of its tasks and of groups in other files, in order."""

    name: str
    config: GroupConfig
    #: `file:line` of its metrics, for error messages.
    where: str = ""

    @property
    def members(self) -> list[str]:
        """Return the names of the tasks and groups to load, each once, including those of inline sub-groups."""
        return list(dict.fromkeys(_names(self.config)))

    def aggregate(self, results: Mapping[str, TaskResult]) -> dict[str, Any]:
        """Return the group's entry in results.json."""
        return aggregate_group(self.config, results)


def check_group(group: Group, metrics: Mapping[str, Mapping[str, Collection[str]]]) -> None:
    """Raise MarathonError for a metric or reading of the group that none of its tasks has.

    `metrics` maps each loaded task to its readings, and each reading to the names of its metrics.
    """
    _check_rules(group.config, group.where or group.name, metrics)


def _check_rules(
    config: GroupConfig, where: str, metrics: Mapping[str, Mapping[str, Collection[str]]]
) -> None:
    tasks = [metrics[name] for name in _names(config) if name in metrics]
    # a member that is a group in another file brings tasks of its own, which are not known here
    complete = all(name in metrics for name in _names(config))
    for rule in config.aggregate_metric_list or ():
        if rule.metric == "headline" or not complete:
            continue
        readings = {reading for task in tasks for reading in task}
        wanted = (
            [rule.filter_list] if isinstance(rule.filter_list, str) else rule.filter_list or sorted(readings)
        )
        if absent := [reading for reading in wanted if reading not in readings]:
            raise unknown(
                f"{where}: filter_list", f"reading in any task of '{config.group}'", absent[0], readings
            )
        known = {name for task in tasks for reading in wanted for name in task.get(reading, ())}
        if rule.metric not in known:
            raise unknown(where, f"metric in any task of '{config.group}'", rule.metric, {"headline", *known})
    for member in config.task:
        if isinstance(member, GroupConfig):
            _check_rules(member, where, metrics)


def aggregate_group(config: GroupConfig, results: Mapping[str, TaskResult]) -> dict[str, Any]:
    """Return a group's entry: `score` is the mean over all tasks, None if one has no score; `groups` the sub-groups'.

    Scores of unlike metrics have no mean: `unlike` says why. `averaged` names what the first mean is of.

    The released AudioMarathon average is the unweighted mean of the ten task scores, so that is the default;
    `weight_by_size: true` weights by scored rows, as lm-eval does.
    """
    rules = config.aggregate_metric_list or [HEADLINE]
    tasks = [name for name in dict.fromkeys(_names(config)) if name in results]
    missing = [name for name in dict.fromkeys(_names(config)) if name not in results]
    groups = {
        member.group: aggregate_group(
            member.model_copy(update={"aggregate_metric_list": member.aggregate_metric_list or rules}),
            results,
        )
        for member in config.task
        if isinstance(member, GroupConfig)
    }
    reasons = {
        rule.metric: unlike([part for name in tasks for part in _parts(rule, results[name])])
        for rule in rules
    }
    metrics = {
        rule.metric: None
        if reasons[rule.metric]
        else _mean_of_members(rule, config, results, groups)
        if rule.over == "members"
        else _mean(rule, [results[name] for name in tasks])
        for rule in rules
    }
    return {
        "alias": config.group_alias or config.group,
        "score": None if missing else metrics[rules[0].metric],
        "averaged": _averaged(rules[0]),
        **({"unlike": reasons[rules[0].metric]} if reasons[rules[0].metric] else {}),
        "metrics": metrics,
        "tasks": {name: _value(rules[0], results[name]) for name in tasks},
        "missing": missing,
        "groups": groups,
    }


def _averaged(rule: AggregateMetric) -> str:
    """Return what a rule averages: `mean of headlines`, or `mean of exact_match (strict), weighted by rows`."""
    readings = rule.filter_list if isinstance(rule.filter_list, list) else [rule.filter_list or ""]
    of_readings = f" ({', '.join(readings)})" if any(readings) else ""
    what = "headlines" if rule.metric == "headline" else f"{rule.metric}{of_readings}"
    over = " over members" if rule.over == "members" else ""
    # members count alike, whatever their rows
    weighted = ", weighted by rows" if rule.weight_by_size and not over else ""
    return f"mean of {what}{over}{weighted}"


def _names(config: GroupConfig) -> Iterable[str]:
    for member in config.task:
        if isinstance(member, GroupConfig):
            yield from _names(member)
        else:
            yield member


def _mean(rule: AggregateMetric, results: Sequence[TaskResult]) -> float | None:
    """Return the mean, or None if one task has no score: a mean over the others would not be comparable."""
    values = [_value(rule, result) for result in results]
    weights = [_size(rule, result) if rule.weight_by_size else 1 for result in results]
    scores = [value for value in values if value is not None]
    if len(scores) < len(values) or not sum(weights):
        return None
    return sum(score * weight for score, weight in zip(scores, weights, strict=True)) / sum(weights)


def _size(rule: AggregateMetric, result: TaskResult) -> float:
    """Return the number of rows that the value which a rule averages is of; of several readings their mean."""
    sizes = [
        result.n_in(part.reading) - result.n_unscored.get(part.reading, {}).get(part.metric, 0)
        for part in _parts(rule, result)
    ]
    return sum(sizes) / len(sizes) if sizes else 0.0


def _mean_of_members(
    rule: AggregateMetric,
    config: GroupConfig,
    results: Mapping[str, TaskResult],
    groups: Mapping[str, Mapping[str, Any]],
) -> float | None:
    """Return the plain mean of the group's direct members, or None if one has no score."""
    values = [
        groups[member.group]["metrics"].get(rule.metric)
        if isinstance(member, GroupConfig)
        else _value(rule, results[member])
        if member in results
        else None
        for member in config.task
    ]
    scores = [value for value in values if value is not None]
    return sum(scores) / len(scores) if scores and len(scores) == len(values) else None


def _parts(rule: AggregateMetric, result: TaskResult) -> list[TaskScore]:
    """Return the scores of a task that a rule averages, whether or not they have a value."""
    if rule.metric == "headline":
        return [headline_score(result)]
    return [TaskScore(result, reading, rule.metric) for reading in _readings(rule, result)]


def _readings(rule: AggregateMetric, result: TaskResult) -> list[str]:
    """Return the readings of a task whose metric a rule averages (default: all that have it)."""
    names = [rule.filter_list] if isinstance(rule.filter_list, str) else rule.filter_list
    return [
        reading
        for reading, metrics in result.readings.items()
        if rule.metric in metrics and (names is None or reading in names)
    ]


def _value(rule: AggregateMetric, result: TaskResult) -> float | None:
    """Return a task's headline, or the mean of a metric over the rule's readings."""
    if rule.metric == "headline":
        headline = result.headline_value()
        return None if headline is None else headline.value
    values = [result.readings[reading][rule.metric].value for reading in _readings(rule, result)]
    scores = [value for value in values if value is not None]
    return sum(scores) / len(scores) if scores and len(scores) == len(values) else None
