"""Checks, when a task is loaded, that judged readings, their filters, their metrics and `judge:` fit together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.scoring.grades import GRADE_FILTERS, GRADE_METRICS
from marathon_eval.scoring.judge import JUDGE_FILTERS, JUDGE_METRICS
from marathon_eval.scoring.scorer import Reading
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.judge_keys import JudgePrompt
from marathon_eval.task.yaml.loader import Document

#: The kind of judging whose verdict a filter reads, and a metric measures.
KIND_OF_FILTER = {name: name.removeprefix("judge_") for name in (*JUDGE_FILTERS, *GRADE_FILTERS)}
KIND_OF_METRIC = {
    **{name: "rubric" if name == "rubric_score" else "pair" for name in JUDGE_METRICS},
    **dict.fromkeys(GRADE_METRICS, "grade"),
}
#: Kinds of judging with a lowest grade, which rows below the gate get.
_GATED = ("rubric", "grade")


def judge_kinds(config: TaskConfig) -> dict[str, JudgePrompt]:
    """Return the kinds of judging that the task has, by name."""
    return {name: spec for name, spec in config.judge or () if spec is not None}


def readings_of_kind(spec: JudgePrompt) -> list[str]:
    """Return the names of the readings that use a kind's verdicts."""
    return [spec.readings] if isinstance(spec.readings, str) else list(spec.readings)


def readings_without_judge(config: TaskConfig, readings: Iterable[str]) -> list[str]:
    """Return those of a task's readings that use no judge's verdict."""
    judged = {name for spec in judge_kinds(config).values() for name in readings_of_kind(spec)}
    return [name for name in readings if name not in judged]


def check_judged_readings(config: TaskConfig, document: Document, readings: Mapping[str, Reading]) -> None:
    """Raise MarathonError, with file and line, for a judged filter or metric that no judge of the task serves."""
    kinds_of_reading = {
        spec["name"]: {
            KIND_OF_FILTER[step["function"]] for step in spec["filter"] if step["function"] in KIND_OF_FILTER
        }
        for spec in config.filter_list
    }
    for problem in (
        *_filter_problems(config, document, kinds_of_reading),
        *_metric_problems(config, document, kinds_of_reading),
        *_listing_problems(config, document, kinds_of_reading),
        *_criterion_problems(config, document),
        *_reference_problems(config, document, kinds_of_reading),
    ):
        raise MarathonError(problem)
    for name, spec in judge_kinds(config).items():
        _check_gate(name, spec, document, readings, kinds_of_reading)


def _filter_problems(
    config: TaskConfig, document: Document, kinds_of_reading: Mapping[str, set[str]]
) -> Iterator[str]:
    specs = judge_kinds(config)
    for position, (reading, kinds) in enumerate(kinds_of_reading.items()):
        for kind in sorted(kinds):
            where = document.where("filter_list", position)
            if kind not in specs:
                yield (
                    f"{where}: filter_list: the reading '{reading}' uses judge_{kind}, and the task says nothing to a "
                    f"judge: add judge: {{{kind}: {{readings: {reading}, prompt: ...}}}}"
                )
            elif reading not in readings_of_kind(specs[kind]):
                yield (
                    f"{document.where('judge', kind, 'readings')}: judge: {kind}: readings does not list '{reading}', "
                    f"whose filter is judge_{kind}. Listed: {', '.join(readings_of_kind(specs[kind]))}"
                )


def _metric_problems(
    config: TaskConfig, document: Document, kinds_of_reading: Mapping[str, set[str]]
) -> Iterator[str]:
    for position, spec in enumerate(config.metric_list):
        kind = KIND_OF_METRIC.get(str(spec.get("metric")))
        if kind is None:
            continue
        named = spec.get("filter_list", list(kinds_of_reading))
        for reading in [named] if isinstance(named, str) else named:
            if kind in kinds_of_reading[reading]:
                continue
            fitting = [name for name, kinds in kinds_of_reading.items() if kind in kinds]
            advice = (
                f"readings with it: {', '.join(fitting)} (name them in filter_list)"
                if fitting
                else f"give the reading the filter {{function: judge_{kind}}} and the task judge: {{{kind}: ...}}"
            )
            yield (
                f"{document.where('metric_list', position)}: metric_list: '{spec['metric']}' measures what a judge says, "
                f"and the reading '{reading}' has no filter judge_{kind}; {advice}"
            )


def _listing_problems(
    config: TaskConfig, document: Document, kinds_of_reading: Mapping[str, set[str]]
) -> Iterator[str]:
    """Yield readings that `judge:` lists although their filter reads no verdict of that kind."""
    for name, spec in judge_kinds(config).items():
        for reading in readings_of_kind(spec):
            if name not in kinds_of_reading.get(reading, {name}):
                yield (
                    f"{document.where('judge', name, 'readings')}: judge: {name}: readings: the filter of '{reading}' is "
                    f"not judge_{name}, so that it uses no verdict of the judge"
                )


def _criterion_problems(config: TaskConfig, document: Document) -> Iterator[str]:
    """Yield metrics of a criterion that the judge does not grade."""
    grading = config.judge.grade if config.judge else None
    names = list(grading.criteria_texts()) if grading else []
    for position, spec in enumerate(config.metric_list):
        criterion = spec.get("criterion")
        if grading is not None and spec.get("metric") == "grade" and criterion not in (None, *names):
            where = f"{document.where('metric_list', position)}: metric_list: grade"
            yield str(unknown(where, "criterion", str(criterion), names))


def _reference_problems(
    config: TaskConfig, document: Document, kinds_of_reading: Mapping[str, set[str]]
) -> Iterator[str]:
    """Yield readings that need the right answer where rows may be without."""
    grading = config.judge.grade if config.judge else None
    plain = [reading for reading, kinds in kinds_of_reading.items() if kinds != {"grade"}]
    if grading is not None and grading.reference != "required" and plain:
        yield (
            f"{document.where('judge', 'grade', 'reference')}: judge: grade: reference: {grading.reference} lets rows be "
            f"without a right answer, and the reading '{plain[0]}' compares with it"
        )


def _check_gate(
    name: str,
    spec: JudgePrompt,
    document: Document,
    readings: Mapping[str, Reading],
    kinds_of_reading: Mapping[str, set[str]],
) -> None:
    gate = spec.gate
    if gate is None:
        return
    where = f"{document.where('judge', name, 'gate')}: judge: {name}: gate"
    if name not in _GATED:
        raise MarathonError(
            f"{where}: '{name}' has no lowest grade for rows below a gate; it is for {', '.join(_GATED)}"
        )
    plain = [reading for reading in readings if not kinds_of_reading[reading]]
    if gate.reading not in plain:
        raise unknown(where, "reading without a judge", gate.reading, plain)
    metrics = [metric.name for metric in readings[gate.reading].metrics]
    if gate.metric not in metrics:
        raise unknown(where, f"metric of '{gate.reading}'", gate.metric, metrics)
