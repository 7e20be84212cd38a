"""What can be known of a task before any weight loads: its YAML, and where data is at hand its rows and its scorer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from marathon_eval.api.doc import Doc
from marathon_eval.api.model import Response
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.task.data.rows import FORMATS
from marathon_eval.task.task import Group, Task, load_task

#: Metrics that must give 1 for the gold answer and 0 for a wrong one.
EXACT = ("accuracy", "acc", "exact_match", "wer_accuracy")
ROWS_SCORED = 20
REASONS_SHOWN = 3


def validate_task(path: Path, find: Callable[[str], Path], data_dir: str | None = None) -> list[str]:
    """Every problem in one line each, none for a sound task.

    Keys, templates, filters and metrics are always checked; rows, and the scorer on gold and on wrong answers, where
    `data_dir` is given or the task's files lie beside its YAML. The hub is never asked.
    """
    try:
        loaded = load_task(path, find)
        if isinstance(loaded, Group):
            return [*_member_problems(loaded, find)]
        if loaded.config.judge is not None:
            from marathon_eval.evaluator.judge_prompts import check_judging

            check_judging(loaded)
        return [*_data_problems(loaded, data_dir)] if _has_data(loaded, data_dir) else []
    except MarathonError as error:
        return str(error).splitlines()


def _member_problems(group: Group, find: Callable[[str], Path]) -> Iterator[str]:
    for name in group.members:
        try:
            find(name)
        except MarathonError as error:
            yield f"{group.name}: {error}"


def _has_data(task: Task, data_dir: str | None) -> bool:
    files = task.config.dataset_kwargs.data_files
    if data_dir is not None or task.config.dataset_path not in FORMATS or files is None:
        return data_dir is not None
    named = [files] if isinstance(files, str) else files if isinstance(files, list) else [*files.values()]
    flat = [name for item in named for name in ([item] if isinstance(item, str) else item)]
    return all((task.path.resolve().parent / name).is_file() or Path(name).is_file() for name in flat)


def _data_problems(task: Task, data_dir: str | None) -> Iterator[str]:
    docs = task.docs(data_dir).docs
    bad = [doc.error for doc in docs if doc.error is not None]
    yield from (f"{task.name}: {reason}" for reason in bad[:REASONS_SHOWN])
    if len(bad) > REASONS_SHOWN:
        yield f"{task.name}: and {len(bad) - REASONS_SHOWN} more rows of {len(docs)} cannot be asked"
    for doc in [doc for doc in docs if doc.error is None][:ROWS_SCORED]:
        yield from _doc_problems(task, doc)


def _doc_problems(task: Task, doc: Doc) -> Iterator[str]:
    """The prompt renders, the gold answer scores 1 and a wrong one 0."""
    try:
        for model in (None, *task.variants):
            task.requests(doc, model)
    except RowError as error:
        yield f"{task.name}: row {doc.doc_id}: {error}"
        return
    right, wrong = answers(task, doc)
    yield from _score_problems(task, doc, right, 1.0, "the gold answer")
    if wrong is not None:
        yield from _score_problems(task, doc, wrong, 0.0, "a wrong answer")


def answers(task: Task, doc: Doc) -> tuple[str, str | None]:
    """What a model would have to say to be right, and to be wrong (None for open questions)."""
    gold = [doc.target] if isinstance(doc.target, str) else list(doc.target or ())
    letters = task.context(doc).letters or doc.choices
    right = [
        letter for letter, text in zip(letters, doc.choices, strict=True) if letter in gold or text in gold
    ]
    wrong = [letter for letter in letters if letter not in right]
    # options that only a filter reads need not hold the gold answer
    return (right[0], wrong[0] if wrong else None) if right else (gold[0], None)


def _score_problems(task: Task, doc: Doc, text: str, wanted: float, what: str) -> Iterator[str]:
    sample = task.score(doc, [Response(text)] * task.config.repeats)
    if sample.error is not None:
        yield f"{task.name}: row {doc.doc_id}: {sample.error}"
    for name, reading in sample.readings.items():
        # an open question's filter may look for a form that the bare gold text does not have
        if reading.answer is None and not doc.choices:
            continue
        # released rules that call some wrong options right are what a `paper` reading is for
        if name == "paper" and not wanted:
            continue
        for metric, score in reading.scores.items():
            if metric in EXACT and score is not None and score != wanted:
                yield f"{task.name}: row {doc.doc_id}: {what} '{text}' gets {metric} {score:g} in '{name}', not {wanted:g}"
