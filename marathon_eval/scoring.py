"""Responses to samples, samples to a task's result: every reading of the same answers."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from marathon_eval.datasets import Doc, DocSet
from marathon_eval.errors import RowError
from marathon_eval.filters import Answer, FilterContext
from marathon_eval.metrics import Metric, Scored
from marathon_eval.model import Response, Usage
from marathon_eval.readings import Reading
from marathon_eval.results import MetricValue, ReadingScore, Sample, TaskResult, merge_usage
from marathon_eval.task_config import TaskConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORED = ("ok", "unverified")
_USAGE = tuple(field.name for field in fields(Usage))


class Scorer:
    """Scores one task's answers."""

    def __init__(self, name: str, config: TaskConfig, readings: Mapping[str, Reading]) -> None:
        self.name = name
        self.config = config
        self.readings = readings
        keys = config.breakdown or []
        self.breakdown = [keys] if isinstance(keys, str) else list(keys)

    def score(self, doc: Doc, context: FilterContext, responses: Sequence[Response], judge: bool) -> Sample:
        """One line of samples_<task>.jsonl. A failed answer, or one of several that failed, is an error row."""
        failed = next((response for response in responses if response.status not in SCORED), None)
        status, error = ("ok", None) if failed is None else (failed.status, failed.error)
        readings: dict[str, ReadingScore] = {}
        if failed is None:
            status = next((response.status for response in responses if response.status != "ok"), "ok")
            try:
                readings = (
                    self._read(doc, context, [response.text for response in responses]) if judge else {}
                )
            except RowError as problem:
                status, error = "error", str(problem)
        texts = [response.text for response in responses]
        return Sample(
            task=self.name,
            doc_id=doc.doc_id,
            target=list(doc.target) if isinstance(doc.target, tuple) else doc.target,
            response=texts
            if len(texts) > 1
            else texts[0]
            if texts and (texts[0] or failed is None)
            else None,
            status=status,
            error=error,
            readings=readings,
            usage=mean_usage(responses),
            cached=False,
            prompt_sha256=None,
            audio=[],
            fields={key: doc.fields.get(key) for key in self.breakdown},
            choices=list(context.choices),
            letters=list(context.letters),
            cluster=self.cluster(doc),
        )

    def _read(self, doc: Doc, context: FilterContext, texts: Sequence[str]) -> dict[str, ReadingScore]:
        found = {}
        for name, reading in self.readings.items():
            answer = reading.pipeline.apply(texts, context)
            row = _scored(doc, context, answer, self.cluster(doc))
            scores = {metric.name: metric.score(row) for metric in reading.metrics}
            found[name] = ReadingScore(answer.value, answer.rule, scores)
        return found

    def cluster(self, doc: Doc) -> str:
        """What intervals resample: the `cluster` column where the row has it, else the clip, else the row."""
        named = doc.fields.get(self.config.cluster) if self.config.cluster else None
        return str(named if named is not None else doc.audio_names or doc.doc_id)

    def clusters(self, docs: Sequence[Doc]) -> list[str]:
        """Each document's cluster; one speaker alone has no spread to resample, so then the clips are taken."""
        named = [self.cluster(doc) for doc in docs]
        return named if len(set(named)) > 1 else [str(doc.audio_names or doc.doc_id) for doc in docs]

    def aggregate(
        self, samples: Sequence[Sample], docset: DocSet, contexts: Mapping[int, FilterContext]
    ) -> TaskResult:
        """The task's metrics with intervals, and the count of every row that did or did not enter them."""
        docs = {doc.doc_id: doc for doc in docset.docs}
        answered = [sample for sample in samples if sample.status in SCORED]
        judged = [sample for sample in answered if sample.readings]
        clusters = self.clusters([docs[sample.doc_id] for sample in judged])
        rows = {
            name: [
                _scored(docs[s.doc_id], contexts[s.doc_id], _answer(s.readings[name]), cluster)
                for s, cluster in zip(judged, clusters, strict=True)
            ]
            for name in self.readings
        }
        parts = {key: _places(judged, key) for key in self.breakdown}
        values = {name: self._values(reading, rows[name], parts) for name, reading in self.readings.items()}
        return TaskResult(
            task=self.name,
            readings={
                name: {metric: value.whole for metric, value in found.items()}
                for name, found in values.items()
            },
            n_meta=docset.n_meta,
            n_loaded=docset.n_loaded,
            n_missing=docset.n_missing,
            n_filtered=docset.n_filtered,
            n_scored=len(answered),
            n_unanswered={
                name: sum(row.answer.value is None for row in rows[name]) for name in self.readings
            },
            n_errors=len(samples) - len(answered),
            n_unverified=sum(sample.status == "unverified" for sample in samples),
            headline=self.config.headline.model_dump() if self.config.headline else None,
            breakdown=_breakdown(parts, values),
            usage=merge_usage([sample.usage for sample in answered]),
            version=self.config.metadata.get("version"),
            metrics={
                name: {metric.name: dict(metric.spec) for metric in reading.metrics}
                for name, reading in self.readings.items()
            },
        )

    def _values(
        self, reading: Reading, rows: Sequence[Scored], parts: Mapping[str, Mapping[str, list[int]]]
    ) -> dict[str, Measured]:
        return {metric.name: measured(metric, rows, parts) for metric in reading.metrics}


def _scored(doc: Doc, context: FilterContext, answer: Answer, cluster: str) -> Scored:
    if doc.target is None:
        raise RowError(f"row {doc.doc_id}: has no target")
    return Scored(answer, doc.target, context, cluster)


def _answer(score: ReadingScore) -> Answer:
    return Answer(score.answer, score.rule)


@dataclass(frozen=True)
class Measured:
    """One metric over all rows, and over the rows of every value of every breakdown column."""

    whole: MetricValue
    parts: dict[str, dict[str, float | None]]


def measured(
    metric: Metric, rows: Sequence[Scored], parts: Mapping[str, Mapping[str, list[int]]]
) -> Measured:
    """Value, 95 % interval by cluster, and the breakdown's values; None where no row can be scored."""
    if not rows:
        return Measured(MetricValue(None), {key: {} for key in parts})
    from marathon_eval.stats import bootstrap

    counts = metric.counts(rows)
    interval = bootstrap(counts, [row.cluster for row in rows], metric.value)
    return Measured(
        MetricValue(_value(metric, counts), None if interval is None else (interval.low, interval.high)),
        {
            key: {label: _value(metric, counts[places]) for label, places in labels.items()}
            for key, labels in parts.items()
        },
    )


def _value(metric: Metric, counts: NDArray[Any]) -> float | None:
    value = float(metric.value(counts.sum(axis=0, keepdims=True))[0])
    return None if math.isnan(value) else value


def _places(samples: Sequence[Sample], key: str) -> dict[str, list[int]]:
    """Which samples have which value of a breakdown column."""
    places: dict[str, list[int]] = {}
    for position, sample in enumerate(samples):
        places.setdefault(str(sample.fields.get(key)), []).append(position)
    return dict(sorted(places.items()))


def _breakdown(
    parts: Mapping[str, Mapping[str, list[int]]], values: Mapping[str, Mapping[str, Measured]]
) -> dict[str, Any]:
    """`{column: {value: {n, <reading>: {metric: value}}}}`."""
    return {
        key: {
            label: {
                "n": len(places),
                **{
                    name: {metric: found.parts[key][label] for metric, found in metrics.items()}
                    for name, metrics in values.items()
                },
            }
            for label, places in labels.items()
        }
        for key, labels in parts.items()
    }


def mean_usage(responses: Sequence[Response]) -> dict[str, Any]:
    """What one answer cost, the mean over a row's repeats; absent numbers are left out, and why it ended is kept."""
    found: dict[str, Any] = {}
    for key in _USAGE:
        values = [getattr(response.usage, key) for response in responses]
        values = [value for value in values if isinstance(value, (int, float))]
        if values:
            found[key] = values[0] if len(values) == 1 else sum(values) / len(values)
    if responses and responses[0].usage.details:
        found["details"] = dict(responses[0].usage.details)
    if responses:
        found["finish_reason"] = responses[0].finish_reason
    return found
