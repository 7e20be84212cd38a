"""What a run says: samples, task results, the run; and the files they are kept in."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.results.shape import fault_of_results, fault_of_sample, whole_number

SCHEMA_VERSION = 1
#: What JSON has no form for, as a date of a breakdown column, is written as its label is: as text.
_LINE = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str)


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


def run_folder(output_path: Path, model: str, fingerprint_sha256: str) -> Path:
    """`<output_path>/<model>__<fingerprint[:8]>/<UTC time>`, made now so that a wrong path stops before weights load."""
    stamp = time.strftime("%Y-%m-%dT%H-%M-%S", time.gmtime())
    parent = output_path / f"{model}__{fingerprint_sha256[:8]}"
    folder = parent / stamp
    try:
        attempt = 1
        while folder.exists():
            attempt += 1
            folder = parent / f"{stamp}-{attempt}"
        folder.mkdir(parents=True)
    except OSError as error:
        raise MarathonError(f"--output_path: cannot write to {output_path} ({error.strerror})") from None
    return folder


def write_run(result: RunResult, folder: Path, log_samples: bool = True) -> None:
    """Write samples first and results.json last, each by rename: a results.json always has its samples."""
    from marathon_eval.results.compressed_samples import texts_of

    if log_samples:
        for task, samples in result.samples.items():
            write_atomically(folder / f"samples_{task}.jsonl", texts_of(samples))
    write_atomically(folder / "results.json", [json.dumps(result.summary(), indent=1, sort_keys=False), "\n"])


def write_atomically(path: Path, parts: Iterable[str]) -> None:
    """Write to a neighbour and rename; raises MarathonError when the disk or the folder refuses."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with temporary.open("w", encoding="utf-8") as file:
            file.writelines(parts)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise MarathonError(f"{path}: cannot write ({error.strerror})") from None


def json_line(row: Mapping[str, Any]) -> str:
    text = _LINE.encode(row)
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, from the data or a model, is no UTF-8; its escape is JSON
        text = json.dumps(row, separators=(",", ":"), default=str)
    return text + "\n"


def newest_run(path: Path) -> Path:
    """A run's folder, or the newest run below a parent. Raises MarathonError."""
    if (path / "results.json").is_file():
        return path
    runs = sorted(path.glob("**/results.json"), key=lambda file: (file.parent.name, file.stat().st_mtime_ns))
    if not runs:
        raise MarathonError(f"{path}: no results.json here or below")
    return runs[-1].parent


def read_results(path: Path) -> dict[str, Any]:
    """results.json of a run's folder; raises MarathonError when it is damaged or of another schema."""
    file = newest_run(path) / "results.json"
    try:
        loaded = json.loads(file.read_text(encoding="utf-8"), parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise MarathonError(f"{file}: not readable as JSON ({error})") from None
    if not isinstance(loaded, dict) or loaded.get("schema_version") != SCHEMA_VERSION:
        raise MarathonError(f"{file}: schema_version is not {SCHEMA_VERSION}")
    fault = fault_of_results(loaded)
    if fault is not None:
        raise MarathonError(f"{file}: {fault}: is not as a run writes it")
    return loaded


def read_samples(folder: Path, task: str) -> Iterator[dict[str, Any]]:
    """The lines of samples_<task>.jsonl. Raises MarathonError naming file and line."""
    file = newest_run(folder) / f"samples_{task}.jsonl"
    if not file.is_file():
        raise MarathonError(f"{file}: no such file (was the run made with --no_log_samples?)")
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                row = json.loads(line.decode())
            except (ValueError, RecursionError) as error:
                raise MarathonError(f"{file}:{number}: not readable as JSON ({error})") from None
            fault = fault_of_sample(row)
            if fault is not None:
                raise MarathonError(f"{file}:{number}: {fault}: is not as a run writes it")
            yield row
