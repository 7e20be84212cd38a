"""What a run found: a sample per document, a result per task, and the run with all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True)
class ReadingScore:
    """One reading (named filter pipeline) of one answer. `answer` None: no answer was found."""

    answer: str | None
    rule: str
    scores: dict[str, float | None]


@dataclass(frozen=True)
class Sample:
    """One document asked and scored: one line of samples_<task>.jsonl."""

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
    #: Every text of the judge by kind and call, retries included; empty for tasks that no judge sees.
    judge: dict[str, Any] = field(default_factory=dict)
    #: What metrics compare an answer with, and what intervals resample: with these a later command can redo both.
    choices: list[str] = field(default_factory=list)
    letters: list[str] = field(default_factory=list)
    cluster: str | None = None

    def line(self) -> dict[str, Any]:
        """The JSON line; the task is in the file's name. Its lists and dicts are the sample's own."""
        # dataclasses.asdict copies every list and dict that is about to be written: half the time of a rescoring run
        row = {"schema_version": SCHEMA_VERSION, **{name: getattr(self, name) for name in _KEPT}}
        row["readings"] = {
            name: {"answer": one.answer, "rule": one.rule, "scores": one.scores}
            for name, one in self.readings.items()
        }
        return row


_KEPT = tuple(one.name for one in fields(Sample) if one.name != "task")


@dataclass(frozen=True)
class MetricValue:
    """A metric over one task; `ci95` resamples clips. None where no row can be scored."""

    value: float | None
    ci95: tuple[float, float] | None = None


@dataclass(frozen=True)
class TaskResult:
    """One task's scores and the count of every row that did or did not enter them."""

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
    headline: dict[str, Any] | None = None
    breakdown: dict[str, Any] = field(default_factory=dict)
    usage: dict[str, Any] = field(default_factory=dict)
    version: Any = None
    #: The entry of metric_list behind each metric of each reading.
    metrics: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)
    #: What the model spent on these answers, which no file keeps.
    answer_s: float | None = field(default=None, compare=False)

    @property
    def coverage(self) -> float:
        """Fraction of the loaded rows that were scored; 1 for a whole run."""
        return self.n_scored / self.n_loaded if self.n_loaded else 0.0

    def headline_value(self) -> MetricValue | None:
        """The one number of the task's column, on its 0-100 scale."""
        if self.headline is None:
            return None
        metric = self.readings.get(self.headline["reading"], {}).get(self.headline["metric"])
        if metric is None or metric.value is None:
            return None
        scale = self.headline.get("scale", 1.0)
        interval = None if metric.ci95 is None else (metric.ci95[0] * scale, metric.ci95[1] * scale)
        return MetricValue(metric.value * scale, interval)

    def summary(self) -> dict[str, Any]:
        """The task's entry in results.json."""
        entry: dict[str, Any] = {
            name: {metric: asdict(value) for metric, value in metrics.items()}
            for name, metrics in self.readings.items()
        }
        counts = asdict(self)
        del counts["readings"], counts["task"], counts["answer_s"]
        return {**entry, "readings": list(self.readings), **counts, "coverage": self.coverage}


@dataclass(frozen=True)
class RunResult:
    """A whole run: what `results.json` holds, with the samples beside it."""

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

    @property
    def whole(self) -> bool:
        """Every loaded row was scored."""
        return not self.interrupted and all(task.coverage == 1.0 for task in self.tasks.values())

    def summary(self) -> dict[str, Any]:
        """The content of results.json."""
        return {
            "schema_version": SCHEMA_VERSION,
            "model": self.model,
            "fingerprint": self.fingerprint,
            "fingerprint_sha256": self.fingerprint_sha256,
            "tasks": {name: task.summary() for name, task in self.tasks.items()},
            "groups": self.groups,
            "config": self.config,
            "versions": self.versions,
            "manifests": self.manifests,
            "cache": self.cache,
            "started": self.started,
            "wall_s": self.wall_s,
            "interrupted": self.interrupted,
        }
