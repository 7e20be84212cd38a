"""Validates a task before weights load: its YAML and, if its data is on this machine, its rows and its scorer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.doc import Doc
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.evaluator.gold_phrasings import EXACT, readable_gold
from marathon_eval.evaluator.prompt_letters import letters_not_shown
from marathon_eval.evaluator.scorer_check import (
    at_reading,
    check_scorers,
    choice_advice,
    gold_and_wrong_text,
    row_for_text,
)
from marathon_eval.scoring.reasoning import parted
from marathon_eval.scoring.scorer import Reading
from marathon_eval.task.group import check_group
from marathon_eval.task.task import Group, Task, load_task

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge_prompts import JudgeKind

#: Rows whose gold and wrong answers are scored.
ROWS_SCORED = 20
#: Bad rows that are shown one by one; the others are counted.
REASONS_SHOWN = 3
#: The key of the warning about the prompt; no reading has an empty name.
_PROMPT = ""
_WITHOUT_ROWS = "rows not checked: --data_dir DIR checks those of a local copy"
_OF_GROUP = "a group: rows not checked, name its tasks with --data_dir DIR"


class Validated(NamedTuple):
    """Holds the problems of a task, one line each, what was not checked and how to, empty if all was, and warnings."""

    problems: list[str]
    unchecked: str = ""
    warnings: Sequence[str] = ()


def validate_task(
    path: Path, find: Callable[[str], Path], data_dir: str | None = None, registry: Registry | None = None
) -> list[str]:
    """Return the problems of a task, one line each; an empty list if it has none. `validated` says what is checked."""
    return validated(path, find, data_dir, registry).problems


def validated(
    path: Path, find: Callable[[str], Path], data_dir: str | None = None, registry: Registry | None = None
) -> Validated:
    """Return the problems of a task, and whether its rows were left unchecked.

    Keys, templates, filters and metrics are always checked. If `data_dir` is given or the task's data files are beside
    its YAML, rows are checked, the judge's prompts are written for gold answers, and the scorer is tried on gold and
    wrong answers, as a run does before weights load. Never accesses the hub. `find` maps a task's name to the path of its YAML; `registry` finds the
    user's metrics, filters and row steps.
    """
    try:
        loaded = load_task(path, find, registry)
        if isinstance(loaded, Group):
            return Validated([*_member_problems(loaded, find, registry)], _OF_GROUP)
        if loaded.config.judge is not None:
            from marathon_eval.evaluator.judge_prompts import check_judging

            check_judging(loaded)
        if not _has_data(loaded, data_dir):
            return Validated([], _WITHOUT_ROWS)
        warnings: dict[str, str] = {}
        # the gold answer and a wrong one may fail alike
        problems = list(dict.fromkeys(_data_problems(loaded, data_dir, warnings)))
        return Validated(problems, warnings=list(warnings.values()))
    except MarathonError as error:
        return Validated(str(error).splitlines())


def _member_problems(group: Group, find: Callable[[str], Path], registry: Registry | None) -> Iterator[str]:
    for name in group.members:
        try:
            find(name)
        except MarathonError as error:
            yield f"{group.name}: {error}"
            return
    rules = group.config.aggregate_metric_list or ()
    if all(rule.metric == "headline" for rule in rules):
        return
    try:
        loaded = [load_task(find(name), find, registry) for name in group.members]
        check_group(group, {task.name: task.metric_names for task in loaded if isinstance(task, Task)})
    except MarathonError as error:
        yield from str(error).splitlines()


def _has_data(task: Task, data_dir: str | None) -> bool:
    """Return whether the task's rows can be read without the hub."""
    return data_dir is not None or bool(task.reader().local_files())


def _data_problems(task: Task, data_dir: str | None, warnings: dict[str, str]) -> Iterator[str]:
    """Yield what is wrong with the rows; `warnings` gets at most one for each reading, and one for the prompt."""
    docs = task.docs(data_dir).docs
    if task.config.judge is not None:
        from marathon_eval.evaluator.judge_prompts import check_judge_columns

        check_judge_columns(task, docs)
    errors = [doc.error for doc in docs if doc.error is not None]
    yield from (f"{task.name}: {reason}" for reason in errors[:REASONS_SHOWN])
    if len(errors) > REASONS_SHOWN:
        yield f"{task.name}: and {len(errors) - REASONS_SHOWN} more rows of {len(docs)} cannot be asked"
    judgings = _judgings(task)
    sound = [doc for doc in docs if doc.error is None]
    if sound and (warning := letters_not_shown(task, sound[0])):
        warnings[_PROMPT] = warning
    for doc in sound[:ROWS_SCORED]:
        yield from _doc_problems(task, doc, judgings, warnings)
    if task.has_gold:
        yield from check_scorers(task, docs).faults


def _judgings(task: Task) -> list[JudgeKind]:
    """Return what builds the prompts of the task's judge, by kind of judging; empty for a task without one."""
    if task.config.judge is None:
        return []
    from marathon_eval.evaluator.judge_prompts import JudgeKind
    from marathon_eval.task.judged_readings import judge_kinds

    return [JudgeKind(name, spec, task) for name, spec in judge_kinds(task.config).items()]


def _doc_problems(
    task: Task, doc: Doc, judgings: Sequence[JudgeKind], warnings: dict[str, str]
) -> Iterator[str]:
    """Check that the prompts render (the judge's too) and, if there is one, that the gold answer scores 1 and a wrong one 0."""
    try:
        for model in (None, *task.variants):
            task.requests(doc, model)
    except RowError as error:
        yield f"{task.name}: row {doc.doc_id}: {error}"
        return
    if task.config.gold_is == "absent":
        return
    if judgings:
        gold, _ = gold_and_wrong_text(task, doc)
    for kind in judgings:
        try:
            kind.settled(doc, parted(gold), gold)
            kind.calls(doc, parted(gold))
        except RowError as error:
            yield f"{task.name}: row {doc.doc_id}: judge: {kind.name}: {error}"
    # the readings of a dialogue's turn are compared with that turn's answer
    for turn in dict.fromkeys(reading.pipeline.turn for reading in task.readings.values()):
        readings = {name: each for name, each in task.readings.items() if each.pipeline.turn == turn}
        for asked in at_reading([doc], next(iter(readings.values()))):
            plain = gold_and_wrong_text(task, asked)
            for name, reading in readings.items():
                said = readable_gold(task, reading, asked, *plain)
                if said.warning:
                    warnings.setdefault(name, said.warning)
                if said.gold is not None:
                    yield from _score_problems(
                        task, {name: reading}, asked, said.gold, 1.0, "the gold answer"
                    )
                if said.wrong is not None:
                    yield from _score_problems(
                        task, {name: reading}, asked, said.wrong, 0.0, "a wrong answer"
                    )


def _score_problems(
    task: Task, readings: Mapping[str, Reading], doc: Doc, text: str, expected: float, what: str
) -> Iterator[str]:
    """Score `text` as a model's response to `doc`, and compare each exact metric with the expected score."""
    try:
        rows = {name: row_for_text(task, reading, doc, text) for name, reading in readings.items()}
        scores = {
            name: {metric.name: metric.score(rows[name]) for metric in reading.metrics}
            for name, reading in readings.items()
        }
    except RowError as error:
        yield f"{task.name}: row {doc.doc_id}: {error}"
        return
    for name, row in rows.items():
        # an open question's filter may look for a form that the plain gold text does not have
        if row.answer.value is None and not doc.choices:
            continue
        # a `paper` reading may score a wrong option as right, because the released rule does
        if name == "paper" and not expected:
            continue
        for metric, score in scores[name].items():
            if metric in EXACT and score is not None and score != expected:
                yield (
                    f"{task.name}: row {doc.doc_id}: {what} '{text}' gets {metric} {score:g} in '{name}', "
                    f"not {expected:g}{choice_advice(task, readings[name], doc) if expected else ''}"
                )
