"""Scores responses: applies every reading (filters, then metrics) of a task to them and builds the samples."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from marathon_eval.api.doc import Doc
from marathon_eval.api.filter import Answer, FilterContext, Pipeline, at_turn
from marathon_eval.api.metric import Metric, ScoredRow, finite_score
from marathon_eval.api.model import Response
from marathon_eval.api.results import ReadingScore, Sample
from marathon_eval.errors import RowError
from marathon_eval.scoring.usage import mean_usage

#: Statuses of responses that are scored; any other makes an error row.
SCORABLE_STATUS = ("ok", "unverified")


class Scored(NamedTuple):
    """Holds a document's sample, and by reading the rows that metrics scored for it: none for an error row."""

    sample: Sample
    rows: Mapping[str, ScoredRow]


class _Read(NamedTuple):
    """Holds the scores and the scored rows of a document, by reading."""

    readings: dict[str, ReadingScore]
    rows: dict[str, ScoredRow]


class Scorer:
    """Scores the responses of one task.

    `breakdown` names the columns whose values get figures of their own, `sample_fields` further columns that samples
    keep, and `cluster` the column that intervals resample.
    """

    def __init__(
        self,
        name: str,
        readings: Mapping[str, Reading],
        *,
        breakdown: Sequence[str] = (),
        sample_fields: Sequence[str] = (),
        cluster: str | None = None,
        headline: Mapping[str, Any] | None = None,
        version: Any = None,
    ) -> None:
        self.name = name
        self.readings = readings
        self.breakdown = list(breakdown)
        self._kept = [*dict.fromkeys([*breakdown, *sample_fields])]
        self.headline = headline
        self.version = version
        self._cluster = cluster

    def scored(
        self, doc: Doc, context: FilterContext, responses: Sequence[Response], with_readings: bool
    ) -> Scored:
        """Return one line of samples_<task>.jsonl; one failed response among the repeats makes it an error row.

        Without `with_readings` the readings stay empty.
        """
        failed = next((response for response in responses if response.status not in SCORABLE_STATUS), None)
        status, error = ("ok", None) if failed is None else (failed.status, failed.error)
        texts, cluster = [response.text for response in responses], self.cluster(doc)
        read = _Read({}, {})
        if failed is None:
            status = next((response.status for response in responses if response.status != "ok"), "ok")
            try:
                read = self._read(doc, context, texts, cluster) if with_readings else read
            except RowError as problem:
                status, error = "error", str(problem)
        sample = Sample(
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
            readings=read.readings,
            usage=mean_usage(responses),
            cached=False,
            prompt_sha256=None,
            audio=[],
            fields={key: doc.fields.get(key) for key in self._kept},
            choices=list(context.choices),
            letters=list(context.letters),
            cluster=cluster,
        )
        return Scored(sample, read.rows)

    def _read(self, doc: Doc, context: FilterContext, texts: Sequence[str], cluster: str) -> _Read:
        read = _Read({}, {})
        for name, reading in self.readings.items():
            answer = reading.pipeline.apply(texts, context)
            row = scored_row(doc, context, answer, cluster, reading.pipeline.turn)
            left_out = answer.left_out
            scores = {
                metric.name: None
                if left_out and not metric.counts_left_out
                else finite_score(metric.score(row))
                for metric in reading.metrics
            }
            read.readings[name] = ReadingScore(answer.value, answer.rule, scores)
            read.rows[name] = row
        return read

    def cluster(self, doc: Doc) -> str:
        """Return the unit that intervals resample: the row's `cluster` column, else its clip, else the row itself.

        An empty cell of a table, or nan, names no cluster.
        """
        value = doc.fields.get(self._cluster) if self._cluster else None
        empty = value is None or (isinstance(value, float) and math.isnan(value)) or not str(value).strip()
        return clip_of(doc) if empty else str(value)

    def clusters(self, docs: Sequence[Doc]) -> list[str]:
        """Return each document's cluster; where all share one (a single speaker), the clips instead."""
        clusters = [self.cluster(doc) for doc in docs]
        return clusters if several(clusters) else [clip_of(doc) for doc in docs]


def clip_of(doc: Doc) -> str:
    """Return a document's clips as one text, or its number if it has none."""
    return str(doc.audio_names or doc.doc_id)


def several(clusters: Sequence[str]) -> bool:
    """Return whether there is more than one cluster."""
    return any(cluster != clusters[0] for cluster in clusters)


def scored_row(
    doc: Doc, context: FilterContext, answer: Answer, cluster: str, turn: int | Literal["last"] | None = None
) -> ScoredRow:
    """Build the row that metrics take. Raises RowError where the document has no target, or none for the turn."""
    if doc.target is None:
        raise RowError(f"row {doc.doc_id}: has no target")
    return ScoredRow(answer, target_at_turn(doc, turn) or "", context, cluster)


def target_at_turn(doc: Doc, turn: int | Literal["last"] | None) -> str | tuple[str, ...] | None:
    """Return the target; of a dialogue with a right answer for each turn, that of the turn. Raises RowError."""
    if turn is None or not isinstance(doc.target, tuple):
        return doc.target
    return at_turn(doc.target, turn, f"row {doc.doc_id}: the targets")


@dataclass(frozen=True)
class Reading:
    """Names one way to score responses: a filter pipeline that extracts answers, and the metrics computed on them."""

    pipeline: Pipeline
    metrics: tuple[Metric, ...]

    @property
    def name(self) -> str:
        """Return the pipeline's name, which is the reading's key in results."""
        return self.pipeline.name
