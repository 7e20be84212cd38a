"""Reads the rows of tasks as a run does (`Task.docs`), so that doctor knows every data set that a YAML describes."""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from marathon_eval.api.task_functions import task_function
from marathon_eval.corpus.audit.expected import Dataset, Expected
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.row_files import ROW_FORMATS, RowFile
from marathon_eval.corpus.audit.survey import Survey, SurveyRow, below
from marathon_eval.errors import RowError
from marathon_eval.task.data.arguments import csv_layout, delimiter_of
from marathon_eval.task.data.csv_rows import CSV_DELIMITERS, PLAIN_LAYOUT
from marathon_eval.task.data.sources import NO_SUCH_FILE, OUTSIDE_ROOT, within
from marathon_eval.task.data.table import FORMATS
from marathon_eval.task.prompt.choices import NO_OPTION

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc, DocSet
    from marathon_eval.api.registry import Registry
    from marathon_eval.task.task import Task

LONGEST_PATH = 1000
_ERROR_RATE = re.compile(r"(?:^|[._])[wc]er(?:$|_)")
#: The kind of fault by what a row's error says.
_KINDS = (
    (NO_SUCH_FILE, "missing"),
    *((words, "outside_root") for words in OUTSIDE_ROOT),
    *((words, "gold_not_an_option") for words in NO_OPTION),
)


def fitting_tasks(registry: Registry, root: Path, described: Collection[str]) -> dict[str, Task]:
    """Return the tasks whose data files all lie below a folder, without those of the described layouts."""
    from marathon_eval.task.task import Task, load_task

    found: dict[str, Task] = {}
    for name in registry.names("task"):
        if name in described:
            continue
        task = load_task(registry.task_path(name), registry.task_path)
        if isinstance(task, Task):
            files = data_paths(task, root) if data_files(task) else []
            if files and all(within(file, [root]) for file in files):
                found[name] = task
    return found


def data_files(task: Task) -> list[str]:
    """Return the names of a task's data files of the evaluated split; none if the task names none."""
    files = task.config.dataset_kwargs.data_files
    if isinstance(files, dict):
        files = files.get(task.config.test_split or task.config.validation_split or "test")
    return [files] if isinstance(files, str) else list(files or ())


def data_paths(task: Task, root: Path) -> list[Path]:
    """Return the real paths of a task's data files, where a run with `--data_dir root` finds them; none if one is missing.

    Raises MarathonError.
    """
    return [Path(os.path.realpath(file)) for file in task.reader(str(root)).local_files()]


def survey_task(surveyed: Survey, task: Task, data_dir: Path | None) -> None:
    """Add all rows of a task to the survey, and a fault for each row that a run could not ask.

    Raises MarathonError if the data set as a whole cannot be read.
    """
    subset = "full" if "full" in task.config.subsets else None
    docset = task.docs(None if data_dir is None else str(data_dir), subset=subset)
    names = data_files(task)
    place = posixpath.normpath(names[0]) if len(names) == 1 else task.name
    files = data_paths(task, data_dir) if names and data_dir is not None else []
    if len(names) == len(files) == 1:
        file = _as_surveyed(files[0], surveyed.root)
        place = below(file, surveyed.root)
        surveyed.metadata[task.name] = file
        if (row_file := _row_file(task, file)) is not None:
            surveyed.row_files[task.name] = row_file
    if docset.n_missing and task.config.on_missing_audio == "drop":
        surveyed.faults.append(
            Fault("missing", task.name, place, f"{docset.n_missing} rows, which a run drops")
        )
    mentioned = {f"{place}#{doc.doc_id}": _file_names(doc) for doc in docset.docs}
    surveyed_as = {os.path.realpath(path): str(path) for path in reversed(surveyed.files)}
    for part in _read(task, docset, place, surveyed_as):
        if isinstance(part, Fault):
            surveyed.faults.append(part)
            surveyed.mentioned |= mentioned[part.where]
        else:
            surveyed.rows.append(part)


def _row_file(task: Task, file: Path) -> RowFile | None:
    """Return the task's file if its rows are the task's, one for one.

    None for parquet, for tables written in a way of their own, and for rows of a function.
    """
    kwargs, suffix = task.config.dataset_kwargs, file.suffix.lstrip(".").lower()
    form = suffix if suffix in FORMATS else task.config.dataset_path
    if form not in ROW_FORMATS or task_function(task.config.process_docs) is not None:
        return None
    given = kwargs.model_dump()
    if form in CSV_DELIMITERS and (kwargs.encoding is not None or csv_layout(given, _place) != PLAIN_LAYOUT):
        return None  # RowFile writes UTF-8 with a header in the first line
    return RowFile(file, form, kwargs.field, delimiter_of(given, _place))


def _place(argument: str) -> str:
    return "dataset_kwargs"


def with_tasks(dataset: Dataset, tasks: Sequence[str]) -> Dataset:
    """Return the description with these tasks, of which nothing is promised but what their rows say."""
    own = dict.fromkeys(tasks, Expected(mono=False, same_options=False))
    return dataset.model_copy(update={"tasks": {**dataset.tasks, **own}})


def _as_surveyed(path: Path, root: Path) -> Path:
    """Return a real path as the survey names it, whose folder may be reached by a link."""
    real = os.path.realpath(root)
    return root / path.relative_to(real) if path.is_relative_to(real) else path


def _read(
    task: Task, docset: DocSet, place: str, surveyed_as: Mapping[str, str]
) -> Iterator[SurveyRow | Fault]:
    transcribed = any(_ERROR_RATE.search(str(entry.get("metric", ""))) for entry in task.config.metric_list)
    for doc in docset.docs:
        where = f"{place}#{doc.doc_id}"
        if doc.error is not None:
            kind = next((kind for words, kind in _KINDS if words in doc.error), "bad_row")
            yield Fault(kind, task.name, where, doc.error.removeprefix(f"row {doc.doc_id}: "))
            continue
        try:
            question = task.writer.question.text_for(doc.fields)
        except RowError as error:
            yield Fault("bad_row", task.name, where, str(error))
            continue
        yield _row(task, _with_surveyed_audio(doc, surveyed_as), where, question, transcribed)


def _with_surveyed_audio(doc: Doc, surveyed_as: Mapping[str, str]) -> Doc:
    """Return the document with its clips named as the survey names these files: a file is not counted under two names."""
    clips = tuple(
        replace(clip, path=surveyed_as.get(os.path.realpath(clip.path), clip.path)) for clip in doc.audio
    )
    return doc if clips == doc.audio else replace(doc, audio=clips)


def _row(task: Task, doc: Doc, where: str, question: str, transcribed: bool) -> SurveyRow:
    first = doc.target if isinstance(doc.target, str) else (doc.target or (None,))[0]
    answer = _answer_place(task, doc, first)
    stretches = [
        name if (clip.start, clip.stop) == (0.0, None) else f"{name}[{clip.start}-{clip.stop}]"
        for name, clip in zip(doc.audio_names, doc.audio, strict=True)
    ]
    identity = next((doc.fields[key] for key in ("uniq_id", "id") if doc.fields.get(key) is not None), None)
    return SurveyRow(
        task.name,
        where,
        doc.doc_id,
        " ".join(stretches),
        Path(doc.audio[0].path) if doc.audio else None,
        question=question,
        options=doc.choices,
        gold=first,
        answer=answer,
        label=doc.choices[answer] if answer is not None else None,
        uid=None if identity is None else str(identity),
        reference=first if transcribed and not doc.choices else None,
        clips=doc.audio,
        fields=doc.fields,
        gold_columns=_target_names(task),
    )


def _file_names(doc: Doc) -> set[str]:
    values = [value for value in doc.fields.values() if isinstance(value, str)]
    return {PurePosixPath(value).name for value in values if len(value) < LONGEST_PATH}


def _target_names(task: Task) -> frozenset[str]:
    target = task.writer.question.target
    return frozenset() if isinstance(target, (int, list)) else target.names


def _answer_place(task: Task, doc: Doc, gold: str | None) -> int | None:
    """Return the index of the right option; None without options and where gold is none of them."""
    if gold is None or not doc.choices:
        return None
    context = task.context(doc)
    return next((place for place in range(len(doc.choices)) if context.means(gold, place)), None)
