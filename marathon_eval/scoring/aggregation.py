"""Aggregates a task's samples into its result, one at a time; stores a few numbers per sample, never the sample."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Callable, Hashable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.filter import LEFT_OUT, Answer, FilterContext
from marathon_eval.api.metric import Metric, ScoredRow, Tally, spread
from marathon_eval.api.results import MetricValue, ReadingScore, Sample, TaskResult
from marathon_eval.scoring.metrics.accuracy import guessed
from marathon_eval.scoring.scorer import SCORABLE_STATUS, Scorer, clip_of, scored_row, several, target_at_turn
from marathon_eval.scoring.usage import UsageColumns, answer_seconds
from marathon_eval.scoring.value_labels import value_key, value_labels

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: {breakdown column: {value: places of the scored rows that have it}}.
Parts = Mapping[str, Mapping[str, "array[int]"]]
#: Stands in for the row in tallies that use the row's score alone.
_NO_ROW = ScoredRow(Answer(None, ""), "", FilterContext(), "")


class Measured(NamedTuple):
    """Holds one metric's value over all rows, and over the rows of each value of each breakdown column."""

    whole: MetricValue
    parts: dict[str, dict[str, float | None]]


class Tallied(NamedTuple):
    """Pairs one metric of one reading with its tally, which keeps the numbers of the rows."""

    reading: str
    metric: Metric
    tally: Tally


class Aggregation:
    """Collects one task's samples as the scorer makes them, and computes the task's result.

    `contexts` maps a document to the filters' context.
    """

    def __init__(self, scorer: Scorer, contexts: Callable[[Doc], FilterContext]) -> None:
        self.scorer = scorer
        self.contexts = contexts
        self.tallies = [
            Tallied(name, metric, metric.tally())
            for name, reading in scorer.readings.items()
            for metric in reading.metrics
        ]
        #: Readings with a metric that needs the row itself, not only the row's score.
        self._readings_with_rows = {tallied.reading for tallied in self.tallies if tallied.metric.reads_rows}
        #: Cluster and clips of the scored documents, in order.
        self._clusters: list[str] = []
        self._clips: list[str] = []
        self.parts: dict[str, dict[Hashable, array[int]]] = {key: {} for key in scorer.breakdown}
        self.unanswered = dict.fromkeys(scorer.readings, 0)
        #: Places of the rows that each reading leaves out.
        self.left_out = {name: array("q") for name in scorer.readings}
        #: Rows without a score, by reading and metric, of metrics that count them.
        self.unscored: dict[str, Counter[str]] = {name: Counter() for name in scorer.readings}
        self.usage = UsageColumns()
        self.n_scored = self.n_errors = self.n_unverified = self.n_cut = 0
        self.answer_s: float | None = None
        #: The chance that a guess is right, of each scored row with options, where no metric of the task gives it.
        self.guessed = array("d")
        names = {tallied.metric.name for tallied in self.tallies}
        self._counts_guesses = "chance" not in names and bool(names & {"accuracy", "acc"})

    def add(self, sample: Sample, doc: Doc, rows: Mapping[str, ScoredRow] = MappingProxyType({})) -> None:
        """Add the sample of this document, with its scored rows if they are there; else they are built again."""
        seconds = answer_seconds(sample)
        if seconds is not None:
            self.answer_s = (self.answer_s or 0.0) + seconds
        if sample.status not in SCORABLE_STATUS:
            self.n_errors += 1
            return
        self.n_scored += 1
        self.n_unverified += sample.status == "unverified"
        self.n_cut += sample.usage.get("finish_reason") == "length"
        self.usage.add(sample.usage)
        if sample.readings:
            self._take(sample, doc, rows)

    def _take(self, sample: Sample, doc: Doc, rows: Mapping[str, ScoredRow]) -> None:
        for key, places in self.parts.items():
            value = value_key(sample.fields.get(key))
            if value not in places:
                places[value] = array("q")
            places[value].append(len(self._clusters))
        given = next(iter(rows.values()), None)
        cluster, clip = given.cluster if given else self.scorer.cluster(doc), clip_of(doc)
        if given is None and self._readings_with_rows:
            rows = self._rows(sample.readings, doc, cluster)
        left_out = set()
        for name, read in sample.readings.items():
            if read.answer is None:
                if read.rule in LEFT_OUT:
                    left_out.add(name)
                    self.left_out[name].append(len(self._clusters))
                else:
                    self.unanswered[name] += 1
        if self._counts_guesses:
            share = guessed(given.target, given.context) if given else self._guessed(doc)
            if share is not None:
                self.guessed.append(share)
        self._clusters.append(cluster)
        self._clips.append(cluster if cluster == clip else clip)
        for name, metric, tally in self.tallies:
            if metric.counts_left_out or name not in left_out:
                score = sample.readings[name].scores[metric.name]
                tally.add(rows.get(name, _NO_ROW), score)
                if score is None and metric.counts_unscored:
                    self.unscored[name][metric.name] += 1

    def _counts(self, tallied: Tallied) -> NDArray[Any]:
        """Return the counts of a metric [n, k] over all scored rows; rows left out of its reading have zeros."""
        counts, left_out = tallied.tally.counts(), self.left_out[tallied.reading]
        if tallied.metric.counts_left_out or not left_out:
            return counts
        missing, n_scored = set(left_out), len(self._clusters)
        return spread(counts, [n for n in range(n_scored) if n not in missing], n_scored)

    def _guessed(self, doc: Doc) -> float | None:
        """Return the chance that a guess is right, by the target that the first reading compares with."""
        turn = next(iter(self.scorer.readings.values())).pipeline.turn
        return guessed(target_at_turn(doc, turn) or "", self.contexts(doc))

    def _rows(self, readings: Mapping[str, ReadingScore], doc: Doc, cluster: str) -> dict[str, ScoredRow]:
        context = self.contexts(doc)
        return {
            name: scored_row(
                doc,
                context,
                Answer(readings[name].answer, readings[name].rule),
                cluster,
                self.scorer.readings[name].pipeline.turn,
            )
            for name in self._readings_with_rows
        }

    def result(self, docset: DocSet) -> TaskResult:
        """Return the task's metrics with intervals, and the counts of rows that entered them or were left out."""
        parts = {key: _by_label(places) for key, places in self.parts.items()}
        values = self._values(parts)
        return TaskResult(
            task=self.scorer.name,
            readings={
                name: {metric: measured.whole for metric, measured in metrics.items()}
                for name, metrics in values.items()
            },
            n_meta=docset.n_meta,
            n_loaded=docset.n_loaded,
            n_missing=docset.n_missing,
            n_filtered=docset.n_filtered,
            n_scored=self.n_scored,
            n_unanswered=self.unanswered,
            n_errors=self.n_errors,
            n_unverified=self.n_unverified,
            n_cut=self.n_cut,
            n_left_out={name: len(places) for name, places in self.left_out.items() if places},
            n_unscored={name: dict(counts) for name, counts in self.unscored.items() if counts},
            headline=None if self.scorer.headline is None else dict(self.scorer.headline),
            breakdown=_breakdown(parts, values),
            usage=self.usage.merged(),
            version=self.scorer.version,
            metrics={
                name: {metric.name: dict(metric.spec) for metric in reading.metrics}
                for name, reading in self.scorer.readings.items()
            },
            filters={
                name: [dict(entry) for entry in reading.pipeline.entries]
                for name, reading in self.scorer.readings.items()
            },
            chance_level=sum(self.guessed) / len(self.guessed) if self.guessed else None,
            answer_s=self.answer_s,
        )

    def _values(self, parts: Parts) -> dict[str, dict[str, Measured]]:
        """Compute value, 95 % interval by cluster and breakdown of each metric; values are None without rows."""
        values: dict[str, dict[str, Measured]] = {name: {} for name in self.scorer.readings}
        if not self._clusters:
            for name, metric, _ in self.tallies:
                values[name][metric.name] = Measured(MetricValue(None), {key: {} for key in parts})
            return values
        clusters = self._clusters if several(self._clusters) else self._clips
        for tallied in self.tallies:
            name, metric, _ = tallied
            if len(self.left_out[name]) == len(self._clusters) and not metric.counts_left_out:
                # some metrics have a value of their own for no rows
                nothing = {key: dict.fromkeys(labels) for key, labels in parts.items()}
                values[name][metric.name] = Measured(MetricValue(None), nothing)
                continue
            values[name][metric.name] = _measured(metric, self._counts(tallied), clusters, parts)
        return values


def _measured(metric: Metric, counts: NDArray[Any], clusters: Sequence[str], parts: Parts) -> Measured:
    import numpy as np

    from marathon_eval.scoring.intervals import OF_NO_ANSWER, metric_interval

    value = _value(metric, counts)
    whole = MetricValue(None)
    if value is not None and not metric.resampled:
        whole = MetricValue(value, None, "computed by a function of the task's own")
    elif value is not None and not metric.of_answers:
        whole = MetricValue(value, None, OF_NO_ANSWER)
    elif value is not None:
        found = metric_interval(counts, clusters, metric.value, metric.share, metric.rowwise)
        whole = MetricValue(value, found.ci95, found.reason)
    return Measured(
        whole,
        {
            key: {label: _value(metric, counts[np.array(places)]) for label, places in labels.items()}
            for key, labels in parts.items()
        },
    )


def _value(metric: Metric, counts: NDArray[Any]) -> float | None:
    value = float(metric.value(counts.sum(axis=0, keepdims=True))[0])
    return value if math.isfinite(value) else None


def _by_label(places: Mapping[Hashable, array[int]]) -> dict[str, array[int]]:
    """Return the places of a column's values by their names, sorted."""
    labels = value_labels(places)
    return dict(sorted(((labels[value], found) for value, found in places.items()), key=lambda part: part[0]))


def _breakdown(parts: Parts, values: Mapping[str, Mapping[str, Measured]]) -> dict[str, Any]:
    """Return `{column: {value: {n, <reading>: {metric: value}}}}`."""
    return {
        key: {
            label: {
                "n": len(places),
                **{
                    name: {metric: measured.parts[key][label] for metric, measured in metrics.items()}
                    for name, metrics in values.items()
                },
            }
            for label, places in labels.items()
        }
        for key, labels in parts.items()
    }
