"""Defines the results of a run: a sample per document, a result per task, and the run that holds them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from operator import attrgetter
from typing import Any

SCHEMA_VERSION = 1
#: The error of a row that an interrupted run had not asked about.
NOT_REACHED = "not asked: interrupted"


@dataclass(frozen=True, slots=True)
class ReadingScore:
    """Holds one reading (named filter pipeline) of a response. `answer` None: the filters found no answer."""

    answer: str | None
    rule: str
    scores: dict[str, float | None]


@dataclass
class Sample:
    """Holds one document with its response and its scores: one line of samples_<task>.jsonl."""

    # not frozen: a row's two samples would take 3 microseconds more to make, and with its dicts none has a hash anyway
    task: str
    doc_id: int
    target: str | list[str] | None
    response: str | list[str] | None
    status: str
    error: str | None
    readings: dict[str, ReadingScore]
    usage: dict[str, Any]
    cached: bool
    prompt_sha256: str | None
    audio: list[dict[str, Any]]
    fields: dict[str, Any] = field(default_factory=dict)
    #: Every text of the judge by kind and call, retries included; empty for tasks without a judge.
    judge: dict[str, Any] = field(default_factory=dict)
    #: Option texts and letters that metrics compare an answer with, and the cluster of the intervals: a later
    #: command needs them to score the sample again.
    choices: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    cluster: str | None = None
    #: Of a dialogue, the hash of each turn that was asked: system text, the turns and answers before it, and its text.
    turns_sha256: list[str] = field(default_factory=list)

    @property
    def not_reached(self) -> bool:
        """Whether the run was interrupted before this row, which therefore did not fail."""
        return NOT_REACHED in (self.error or "")

    def line(self) -> dict[str, Any]:
        """Return the JSON row, without the task, which the file's name says. Its lists and dicts are not copied."""
        # dataclasses.asdict would copy every list and dict, which took half the time of a rescoring run
        row = {"schema_version": SCHEMA_VERSION, **dict(zip(_WRITTEN_FIELDS, _written_of(self), strict=True))}
        row["readings"] = {
            name: {"answer": reading.answer, "rule": reading.rule, "scores": reading.scores}
            for name, reading in self.readings.items()
        }
        if not self.turns_sha256:
            del row["turns_sha256"]
        return row


_WRITTEN_FIELDS = tuple(item.name for item in fields(Sample) if item.name != "task")
_written_of = attrgetter(*_WRITTEN_FIELDS)


@dataclass(frozen=True)
class MetricValue:
    """Holds a metric over one task with its 95 % interval by clip. None where no row can be scored.

    `no_interval` is the reason why a value has no interval.
    """

    value: float | None
    ci95: tuple[float, float] | None = None
    no_interval: str | None = None

    def entry(self) -> dict[str, Any]:
        """Return the value's entry in results.json; a reason stands only where there is one."""
        reason = {} if self.no_interval is None else {"no_interval": self.no_interval}
        return {"value": self.value, "ci95": self.ci95, **reason}


def scaled_interval(ends: Sequence[float] | None, scale: float) -> tuple[float, float] | None:
    """Return the lower and the upper end of an interval times `scale`; one below 0 turns them round."""
    if ends is None:
        return None
    low, high = sorted(end * scale for end in ends)
    return low, high


def full_n(n_meta: int, n_missing: int, n_filtered: int) -> int:
    """Return the number of rows of a task's subset, of which a limit or row numbers may leave some out."""
    return n_meta - n_missing - n_filtered


@dataclass(frozen=True)
class TaskResult:
    """Holds one task's scores, and counts the rows that did and did not enter them."""

    task: str
    readings: dict[str, dict[str, MetricValue]]
    n_meta: int
    n_loaded: int
    n_missing: int
    n_filtered: int
    n_scored: int
    n_unanswered: dict[str, int]
    n_errors: int
    n_unverified: int = 0
    #: Scored rows whose response ended at its token limit.
    n_cut: int = 0
    #: Scored rows that a reading leaves out, by reading; readings that leave out none are absent.
    n_left_out: dict[str, int] = field(default_factory=dict)
    #: Rows that a metric could not score, by reading and metric: no number in the target, say. Zeros are absent.
    n_unscored: dict[str, dict[str, int]] = field(default_factory=dict)
    headline: dict[str, Any] | None = None
    breakdown: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    version: Any = None
    #: The entry of metric_list for each metric of each reading.
    metrics: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    #: The entries of `filter` of each reading; empty in runs of earlier versions, and then not written.
    filters: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    #: The accuracy of guessing, where the rows have options and the task measures accuracy without the metric chance.
    chance_level: float | None = None
    #: Seconds that the model spent on the responses; not written to any file.
    answer_s: float | None = field(default=None, compare=False)

    @property
    def coverage(self) -> float:
        """Return the fraction of the loaded rows with a usable response; 1 for a complete run."""
        return self.n_scored / self.n_loaded if self.n_loaded else 0.0

    def n_in(self, reading: str) -> int:
        """Return the number of rows that the reading's metrics include."""
        return self.n_scored - self.n_left_out.get(reading, 0)

    def coverage_of(self, reading: str) -> float:
        """Return the fraction of the loaded rows that the reading's metrics include."""
        return self.n_in(reading) / self.n_loaded if self.n_loaded else 0.0

    @property
    def headline_reading(self) -> str:
        """The reading of the headline; without one, the first."""
        return str(self.headline["reading"]) if self.headline else next(iter(self.readings), "")

    @property
    def full_n(self) -> int:
        """The rows of the task's subset; more than `n_scored` where a limit left rows out, or rows failed."""
        return full_n(self.n_meta, self.n_missing, self.n_filtered)

    @property
    def headline_name(self) -> str:
        """Reading and metric of the headline, as `strict macro_f1`; empty without one."""
        return "" if self.headline is None else f"{self.headline['reading']} {self.headline['metric']}"

    @property
    def headline_scale(self) -> float:
        """Return the factor from the metric's value to the task's column (100 for per cent)."""
        return float((self.headline or {}).get("scale", 1.0))

    def chance_of(self, reading: str) -> float | None:
        """Return the accuracy of guessing in a reading that measures accuracy; None for open questions."""
        metrics = self.readings.get(reading, {})
        if "chance" in metrics:
            return metrics["chance"].value
        return self.chance_level if {"accuracy", "acc"} & metrics.keys() else None

    def headline_value(self) -> MetricValue | None:
        """Return the number of the task's column in tables, times the headline's scale; None where it has none."""
        if self.headline is None:
            return None
        metric = self.readings.get(self.headline["reading"], {}).get(self.headline["metric"])
        if metric is None or metric.value is None:
            return None
        scale = self.headline_scale
        return MetricValue(metric.value * scale, scaled_interval(metric.ci95, scale), metric.no_interval)

    def summary(self) -> dict[str, Any]:
        """Return the task's entry in results.json."""
        entry: dict[str, Any] = {
            name: {metric: value.entry() for metric, value in metrics.items()}
            for name, metrics in self.readings.items()
        }
        counts = asdict(self)
        del counts["readings"], counts["task"], counts["answer_s"]
        if self.chance_level is None:
            del counts["chance_level"]
        if not self.filters:
            del counts["filters"]
        return {**entry, "readings": list(self.readings), **counts, "coverage": self.coverage}


@dataclass(frozen=True)
class RunResult:
    """Holds a whole run: the content of results.json, and the samples."""

    model: str
    fingerprint: dict[str, Any]
    fingerprint_sha256: str
    tasks: dict[str, TaskResult]
    groups: dict[str, Any]
    samples: Mapping[str, Sequence[Sample]]
    config: dict[str, Any]
    versions: dict[str, Any]
    manifests: dict[str, Any]
    cache: dict[str, int]
    wall_s: float
    started: str
    interrupted: bool = False
    #: Deviations from the task files (audio, prompt, generation), empty if there are none; None: not known.
    condition: Mapping[str, Any] | None = None
    #: Which rows were asked; None: not known.
    selection: Mapping[str, Any] | None = None
    #: What the model's requests took, where a budget or prices were given (evaluator/budget.py).
    spent: Mapping[str, Any] | None = None
    #: The self-test that the run cites (evaluator/selftest/cited.py).
    selftest: Mapping[str, Any] | None = None

    @property
    def whole(self) -> bool:
        """Whether the run finished and every loaded row was scored in every reading."""
        return not self.interrupted and all(
            task.coverage == 1.0 and not task.n_left_out for task in self.tasks.values()
        )

    @property
    def n_not_reached(self) -> int:
        """The rows of an interrupted run that were not asked; they are among each task's `n_errors`."""
        if not self.interrupted:
            return 0
        return sum(sample.not_reached for rows in self.samples.values() for sample in rows)

    def summary(self) -> dict[str, Any]:
        """Return the content of results.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "fingerprint_sha256": self.fingerprint_sha256,
            "tasks": {name: task.summary() for name, task in self.tasks.items()},
            "groups": self.groups,
            "condition": self.condition,
            "selection": self.selection,
            "config": self.config,
            "versions": self.versions,
            "manifests": self.manifests,
            "cache": self.cache,
            "started": self.started,
            "wall_s": self.wall_s,
            "interrupted": self.interrupted,
            **({} if self.spent is None else {"spent": self.spent}),
            **({} if self.selftest is None else {"selftest": self.selftest}),
        }
