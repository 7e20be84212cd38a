"""A run without a model: predictions read from a file, scored as answers are, with the benchmark's own tables."""

from __future__ import annotations

import json
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
from marathon_eval.evaluator.evaluator import as_judged, judge_with, load_tasks
from marathon_eval.evaluator.provenance import recorded_versions
from marathon_eval.evaluator.rescore.official_output import released_printout
from marathon_eval.evaluator.rescore.predictions_file import Joined, joined_predictions, read_predictions
from marathon_eval.evaluator.score_run import judged_by, scored_sample
from marathon_eval.files import sha256_of
from marathon_eval.scoring.released.common import INVALID
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.data.table import Table
from marathon_eval.task.documents import DocLoader
from marathon_eval.task.prompt.prompt import OURS
from marathon_eval.task.prompt.template import check_names
from marathon_eval.task.task import Task

if TYPE_CHECKING:
    from marathon_eval.api.model import Model
    from marathon_eval.evaluator.judge import Judged

#: A prediction that says that its model failed: AudioMarathon's scripts write it where an answer should be.
FAILED = "ERROR"


@dataclass(frozen=True)
class Predicted:
    """A scored predictions file, and the lines that the benchmark's own script would print."""

    result: RunResult
    printout: list[str]


class GivenTable(TableReader):
    """Rows that are at hand already."""

    def __init__(self, task: Task, table: Table) -> None:
        super().__init__(task.config, None, Path.cwd(), task.document.where("dataset_path"))
        self.table = table

    def read(self, split: str) -> Table:
        """The same rows for every split."""
        return self.table


class ScoringLoader(DocLoader):
    """Documents that are scored and not asked: the question and the audio may be absent."""

    def __init__(self, task: Task) -> None:
        super().__init__(task.config, task.document, task.writer.question, task.loader.choices)

    def _check_columns(self, known: set[str]) -> None:
        ours = known | (OURS if self.question.choices.given else frozenset())
        for rule in self.question.rules():
            if rule is not self.question.text:
                check_names(rule, ours)
        check_names(self.choices, ours)

    def _audio_values(self, fields: Any) -> list[Any]:
        named = isinstance(fields, Mapping) and all(rule.names <= fields.keys() for rule in self.audio)
        return super()._audio_values(fields) if named else []


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
) -> Predicted:
    """Score a predictions file for tasks and groups; only a judge is ever asked. Raises MarathonError."""
    started, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    tasks, groups = load_tasks(Registry(include_path), names)
    tasks = as_judged(tasks, judge)
    file = read_predictions(path, key)
    found = {name: joined_predictions(task, file, data_dir) for name, task in tasks.items()}
    tasks = {name: task for name, task in tasks.items() if found[name].table.rows}
    if not tasks:
        raise MarathonError(f"{path}: no row belongs to {', '.join(names)}")
    docs = {name: documents(task, found[name], subset) for name, task in tasks.items()}
    asked = judge_with(judge, cache or ResponseCache(None), judge_generation or {})
    samples: dict[str, list[Sample]] = {}
    manifests: dict[str, Any] = {}
    for name, task in tasks.items():
        judged = judged_by(asked, task, _texts(docs[name], found[name]))
        samples[name] = [_sample(task, doc, found[name].given, judged) for doc in docs[name].docs]
        manifests[name] = {**docs[name].manifest(), **({"judge": judged.facts} if judged else {})}
    results = {name: task.aggregate(samples[name], docs[name]) for name, task in tasks.items()}
    fingerprint = {"model": "predictions", "file": file.path.name, "sha256": file.sha256, "key": file.key}
    result = RunResult(
        model="predictions",
        fingerprint=fingerprint,
        fingerprint_sha256=sha256_of(fingerprint),
        tasks=results,
        groups={name: group.aggregate(results) for name, group in groups.items()},
        samples=samples,
        config={"tasks": list(names), "predictions": str(path), "data_dir": data_dir, "subset": subset},
        versions=recorded_versions(),
        manifests=manifests,
        cache={"hits": 0, "misses": 0},
        wall_s=round(time.monotonic() - clock, 3),
        started=started,
    )
    return Predicted(
        result, released_printout(tasks, docs, {name: found[name].given for name in tasks}, samples)
    )


def documents(task: Task, found: Joined, subset: str | None) -> DocSet:
    """The task's documents from these rows. Audio is not needed: nobody listens again."""
    docset = ScoringLoader(task).load(GivenTable(task, found.table), subset, None, None)
    failed = [doc.doc_id for doc in docset.docs if doc.error is not None]
    if not failed or found.table.source is None:
        return docset
    silent = ScoringLoader(task).load(GivenTable(task, replace(found.table, source=None)), subset, None, None)
    unheard = {doc.doc_id: doc for doc in silent.docs if doc.doc_id in set(failed) and doc.error is None}
    return replace(docset, docs=[unheard.get(doc.doc_id, doc) for doc in docset.docs])


def _texts(docs: DocSet, found: Joined) -> list[tuple[Doc, list[Response]]]:
    """What a judge is shown: predictions that are text."""
    given = found.given
    return [
        (doc, [Response(given[doc.doc_id])]) for doc in docs.docs if isinstance(given.get(doc.doc_id), str)
    ]


def _sample(task: Task, doc: Doc, given: Mapping[int, Any], judged: Judged | None) -> Sample:
    """One row's sample. No prediction is an error row; one that is no text is invalid: counted, and wrong."""
    if doc.error is not None:
        return task.score(doc, [Response.failed(doc.error)])
    if doc.doc_id not in given:
        return task.score(doc, [Response.failed(f"row {doc.doc_id}: has no prediction")])
    text = given[doc.doc_id]
    if isinstance(text, str) and text.startswith(FAILED) and text[len(FAILED) :][:1] in ("", ":"):
        return task.score(
            doc, [Response.failed(f"row {doc.doc_id}: the prediction is a failure: {text[:200]}")]
        )
    if isinstance(text, str):
        verdict = judged.verdicts.get(doc.doc_id) if judged else None
        return scored_sample(task, doc, [Response(text)], verdict)
    return invalid_prediction(task, doc, text)


def invalid_prediction(task: Task, doc: Doc, value: Any) -> Sample:
    """The sample of a prediction that is null, a number or a list."""
    row = ScoredRow(Answer(None, INVALID), doc.target or "", task.context(doc), task.scorer.cluster(doc))
    readings = {
        name: ReadingScore(None, INVALID, {metric.name: metric.score(row) for metric in reading.metrics})
        for name, reading in task.readings.items()
    }
    sample = task.score(doc, [Response("")])
    written = None if value is None else json.dumps(value, ensure_ascii=False)
    return replace(sample, response=written, readings=readings)
