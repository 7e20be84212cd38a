"""Scores a predictions file as if a model had given its responses, and prints the benchmark's own tables."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.filter import Answer
from marathon_eval.api.metric import ScoredRow
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import ReadingScore, RunResult, Sample
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget_flags import score_budget
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import as_judged, build_judge, judge_with, load_tasks
from marathon_eval.evaluator.provenance import recorded_versions
from marathon_eval.evaluator.requests import cache_folder
from marathon_eval.evaluator.rescore.official_output import released_printout
from marathon_eval.evaluator.rescore.predictions_file import Joined, joined_predictions, read_predictions
from marathon_eval.evaluator.run_scores import default_subsets
from marathon_eval.evaluator.score_run import judged_by, scored_sample
from marathon_eval.evaluator.spending import Spending
from marathon_eval.files import sha256_of
from marathon_eval.results.label import condition_of, selection_of
from marathon_eval.scoring.released.air_bench_mmar_mmau import INVALID
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.data.table import Table
from marathon_eval.task.documents import DocLoader
from marathon_eval.task.prompt.prompt import OURS
from marathon_eval.task.prompt.template import check_names
from marathon_eval.task.task import Task

if TYPE_CHECKING:
    from marathon_eval.api.model import Model
    from marathon_eval.evaluator.judge import Judge, Judged

#: Start of a prediction that reports a failure: AudioMarathon's scripts write it in place of a response.
FAILED = "ERROR"


@dataclass(frozen=True)
class Predicted:
    """Holds the result of a predictions file, and the lines that the benchmark's own script would print.

    `notes` say by task where the gold comes from and how predictions were joined.
    """

    result: RunResult
    printout: list[str]
    notes: tuple[str, ...] = ()


class GivenTable(TableReader):
    """Reads a table that is already in memory."""

    def __init__(self, task: Task, table: Table) -> None:
        super().__init__(task.config, None, Path.cwd(), task.document.where("dataset_path"))
        self.table = table

    def read(self, split: str) -> Table:
        """Return the table, whatever the split."""
        return self.table


class ScoringLoader(DocLoader):
    """Loads documents that are only scored: the question and the audio may be absent."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.config, task.document, task.writer.question, task.loader.choices)
        self.examples = None

    def _check_columns(self, known: set[str]) -> None:
        names = known | (OURS if self.question.choices.given else frozenset())
        for rule in self.question.rules():
            if rule is not self.question.text:
                check_names(rule, names)
        check_names(self.choices, names)

    def _audio_values(self, fields: Any, table: Table) -> list[Any]:
        has_audio = isinstance(fields, Mapping) and all(rule.names <= fields.keys() for rule in self.audio)
        return super()._audio_values(fields, table) if has_audio else []

    def _check_audio(self, references: Sequence[object]) -> None:
        """Accept a row without audio: a prediction is scored without its clip."""


def scored_predictions(config: RunConfig, path: Path, key: str | None = None) -> Predicted:
    """Score a predictions file for the config's tasks, with its folders, subset, judge and cache. Raises MarathonError."""
    judge = build_judge(Registry(config.include_path, config.trust_task_code), config)
    spending = Spending(score_budget(config, judge))
    with ResponseCache(cache_folder(config)) as cache:
        scored = score_predictions(
            config.tasks,
            path,
            include_path=config.include_path,
            data_dir=config.data_dir,
            subset=config.subset,
            judge=judge,
            cache=cache,
            key=key,
            judge_generation=config.judge_gen_kwargs,
            spending=spending,
            trust_task_code=config.trust_task_code,
        )
    return replace(scored, result=replace(scored.result, spent=spending.of_scoring()))


def score_predictions(
    names: Sequence[str],
    path: Path,
    include_path: Sequence[str] = (),
    data_dir: str | None = None,
    subset: str | None = None,
    judge: Model | None = None,
    cache: ResponseCache | None = None,
    key: str | None = None,
    judge_generation: Mapping[str, Any] | None = None,
    spending: Spending | None = None,
    trust_task_code: bool = False,
) -> Predicted:
    """Score a predictions file for tasks and groups. Asks no model but the judge, which `spending` bounds. Raises MarathonError."""
    started, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    tasks, groups = load_tasks(Registry(include_path, trust_task_code), names)
    _refuse_turns(path, tasks)
    tasks = as_judged(tasks, judge)
    file = read_predictions(path, key)
    joined = {name: joined_predictions(task, file, data_dir) for name, task in tasks.items()}
    tasks = {name: task for name, task in tasks.items() if joined[name].table.rows}
    if not tasks:
        raise MarathonError(f"{path}: no row belongs to {', '.join(names)}")
    docs = {name: documents(task, joined[name], subset) for name, task in tasks.items()}
    joined = {name: _with_numbers_as_text(docs[name], joined[name]) for name in tasks}
    cached_judge = judge_with(judge, cache or ResponseCache(None), judge_generation or {}, spending=spending)
    samples, manifests = _scored(tasks, docs, joined, cached_judge)
    results = {name: task.aggregate(samples[name], docs[name]) for name, task in tasks.items()}
    config = {"tasks": list(names), "predictions": str(path), "data_dir": data_dir, "subset": subset}
    fingerprint = {"model": "predictions", "file": file.path.name, "sha256": file.sha256, "key": file.key}
    result = RunResult(
        model="predictions",
        fingerprint=fingerprint,
        fingerprint_sha256=sha256_of(fingerprint),
        tasks=results,
        groups={name: group.aggregate(results) for name, group in groups.items()},
        samples=samples,
        config=config,
        condition=condition_of(config),
        selection=selection_of(config, manifests, default_subsets(tasks)),
        versions=recorded_versions(),
        manifests=manifests,
        cache={"hits": 0, "misses": 0},
        wall_s=round(time.monotonic() - clock, 3),
        started=started,
    )
    return Predicted(
        result,
        released_printout(tasks, docs, {name: joined[name].given for name in tasks}, samples),
        _notes({name: joined[name].note for name in tasks}),
    )


def _refuse_turns(path: Path, tasks: Mapping[str, Task]) -> None:
    if turned := [name for name, task in tasks.items() if task.has_turns]:
        raise MarathonError(
            f"{path}: {turned[0]} has doc_to_messages, and a predictions file has one answer a row"
        )


def _notes(by_task: Mapping[str, str | None]) -> tuple[str, ...]:
    """Return each note once, behind the names of its tasks: `mmar: ...`, `air_bench_a and 18 others: ...`."""
    tasks: dict[str, list[str]] = {}
    for name, note in by_task.items():
        if note is not None:
            tasks.setdefault(note, []).append(name)
    return tuple(
        f"{names[0]}{f' and {len(names) - 1} others' if len(names) > 1 else ''}: {note}"
        for note, names in tasks.items()
    )


def _scored(
    tasks: Mapping[str, Task], docs: Mapping[str, DocSet], joined: Mapping[str, Joined], judge: Judge | None
) -> tuple[dict[str, list[Sample]], dict[str, Any]]:
    """Return the samples and the manifest of each task."""
    samples: dict[str, list[Sample]] = {}
    manifests: dict[str, Any] = {}
    for name, task in tasks.items():
        judged = judged_by(judge, task, _texts(docs[name], joined[name]))
        samples[name] = [_sample(task, doc, joined[name].given, judged) for doc in docs[name].docs]
        manifests[name] = {**docs[name].manifest(), **({"judge": judged.facts} if judged else {})}
    return samples, manifests


def documents(task: Task, joined: Joined, subset: str | None) -> DocSet:
    """Load the task's documents from these rows. A row without its audio is loaded too: scoring needs none."""
    docset = ScoringLoader(task).load(GivenTable(task, joined.table), subset, None, None)
    failed = [doc.doc_id for doc in docset.docs if doc.error is not None]
    if not failed or joined.table.source is None:
        return docset
    no_audio = ScoringLoader(task).load(
        GivenTable(task, replace(joined.table, source=None)), subset, None, None
    )
    loaded_without = {
        doc.doc_id: doc for doc in no_audio.docs if doc.doc_id in set(failed) and doc.error is None
    }
    return replace(docset, docs=[loaded_without.get(doc.doc_id, doc) for doc in docset.docs])


def _with_numbers_as_text(docs: DocSet, joined: Joined) -> Joined:
    """Return the predictions with JSON numbers as they are written, for documents without options.

    With options a number names none of them for certain, and the official scripts do not take it.
    """
    is_open = {doc.doc_id: not doc.choices for doc in docs.docs}
    given = {
        number: json.dumps(value)
        if is_open.get(number) and type(value) in (int, float) and math.isfinite(value)
        else value
        for number, value in joined.given.items()
    }
    return joined._replace(given=given)


def _texts(docs: DocSet, joined: Joined) -> list[tuple[Doc, list[Response]]]:
    """Return the documents and predictions that a judge judges: predictions that are text."""
    predictions = joined.given
    return [
        (doc, [Response(predictions[doc.doc_id])])
        for doc in docs.docs
        if isinstance(predictions.get(doc.doc_id), str)
    ]


def _sample(task: Task, doc: Doc, predictions: Mapping[int, Any], judged: Judged | None) -> Sample:
    """Score one row. Without a prediction it is an error row; a prediction that is neither text nor an open question's number is wrong."""
    if doc.error is not None:
        return task.score(doc, [Response.failed(doc.error)])
    if doc.doc_id not in predictions:
        return task.score(doc, [Response.failed(f"row {doc.doc_id}: has no prediction")])
    text = predictions[doc.doc_id]
    if text is None:
        return task.score(doc, [Response.failed(f"row {doc.doc_id}: the prediction is null")])
    if isinstance(text, str) and text.startswith(FAILED) and text[len(FAILED) :][:1] in ("", ":"):
        return task.score(
            doc, [Response.failed(f"row {doc.doc_id}: the prediction is a failure: {text[:200]}")]
        )
    if isinstance(text, str):
        verdict = judged.verdicts.get(doc.doc_id) if judged else None
        return scored_sample(task, doc, [Response(text)], verdict)
    return invalid_prediction(task, doc, text)


def invalid_prediction(task: Task, doc: Doc, value: Any) -> Sample:
    """Make the sample of a prediction that is not text (a number or a list)."""
    row = ScoredRow(Answer(None, INVALID), doc.target or "", task.context(doc), task.scorer.cluster(doc))
    readings = {
        name: ReadingScore(None, INVALID, {metric.name: metric.score(row) for metric in reading.metrics})
        for name, reading in task.readings.items()
    }
    sample = task.score(doc, [Response("")])
    return replace(sample, response=json.dumps(value, ensure_ascii=False), readings=readings)
