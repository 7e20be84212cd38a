"""Reads run folders into ReportRuns: one model, press, condition and selection, its tasks, and a distinct label."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from marathon_eval.api.results import MetricValue, TaskResult
from marathon_eval.files import canonical_json, sha256_of
from marathon_eval.report.merge import merged_runs_below, one_run
from marathon_eval.results.judges import judge_words, judges_in
from marathon_eval.results.label import (
    SELECTION_NAMES,
    in_brackets,
    is_plain,
    label_words,
    press_of,
    recorded_condition,
    recorded_selection,
)
from marathon_eval.results.run_labels import labels
from marathon_eval.results.run_name import shown_fingerprint, shown_model


@dataclass(frozen=True)
class ReportRun:
    """Holds the results of one model with one press, condition and selection, called a cell in this package.

    `folders`, `configs` and `manifests` give for each task the run folder with its samples, that run's config, and
    where the rows came from. `aside` is the part of the label that names condition and selection, empty for the
    tasks as they are on all their rows.
    """

    label: str
    model: str
    press: str | None
    ratio: float
    fingerprint: dict[str, Any]
    fingerprint_sha256: str
    tasks: dict[str, TaskResult]
    folders: dict[str, Path]
    configs: dict[str, dict[str, Any]]
    started: str
    wall_s: float
    interrupted: bool
    versions: dict[str, Any] = field(default_factory=dict)
    manifests: dict[str, Any] = field(default_factory=dict)
    condition: dict[str, Any] | None = None
    selection: dict[str, Any] | None = None
    #: The self-test that the run cites.
    selftest: dict[str, Any] | None = None
    aside: str = ""
    #: By task the headlines of the runs in whose place this one stands, where they have another headline.
    displaced: dict[str, list[dict[str, Any] | None]] = field(default_factory=dict)

    @property
    def plain(self) -> bool:
        """Whether the tasks were asked as they are, on all their rows, as far as the runs at hand tell."""
        return is_plain(self.condition, self.selection)

    @property
    def series(self) -> str:
        """The name of the curve that the run belongs to: its label without the ratio."""
        if not self.press or not self.label.endswith(self.aside):
            return self.label
        name = self.label[: len(self.label) - len(self.aside)]
        return name.removesuffix(f" {self.ratio:g}") + self.aside


def read_cells(paths: Sequence[str | Path], leave_out: Mapping[Path, str] | None = None) -> list[ReportRun]:
    """Read the runs of all paths but those in the folders `leave_out`, uncompressed ones first, then by press and ratio. Raises MarathonError.

    The folder of a run gives that run. A folder above several gives one merged run for each model, press, condition and
    selection (`merge.merged_runs_below`).
    """
    runs: list[dict[str, Any]] = []
    for path in map(Path, paths):
        if (path / "results.json").is_file():
            runs.append(one_run(path))
        else:
            runs += merged_runs_below(path, leave_out)
    return labelled_runs(runs)


def labelled_runs(runs: list[dict[str, Any]]) -> list[ReportRun]:
    """Return these runs with distinct labels, uncompressed ones first, then by press and ratio.

    A run is the content of its results.json with `folders` and `configs` by task, as `merge.one_run` reads it.
    """
    data = _data_words(runs)
    judges = judge_words([judges_in(run, run["configs"]) for run in runs])
    for run, word, of_judge in zip(runs, data, judges, strict=True):
        # what differs says more than the hash that merged runs of one place carry
        variant = [each for each in run.get("variant", ()) if not (of_judge and each.startswith("judge "))]
        words = [*label_words(recorded_condition(run), recorded_selection(run)), *variant, *of_judge]
        words += ["interrupted"] if run["interrupted"] else []
        # runs of one place that were merged may say already that their data differ
        told = any(other.startswith("data ") for other in words)
        run["aside"] = in_brackets(words if word is None or told else [*words, word])
    runs.sort(key=_place)
    started, asides = ([run[key] for run in runs] for key in ("started", "aside"))
    names = labels([shown_fingerprint(run) for run in runs], started, asides)
    return [_cell(run, name) for run, name in zip(runs, names, strict=True)]


def _data_words(runs: Sequence[Mapping[str, Any]]) -> list[str | None]:
    """Return the word `data 3fa81c02` for each run that asked other rows of a task than another run here did.

    Only runs with one selection are compared: fewer rows have a label of their own. None for all other runs.
    """
    hashes: dict[tuple[str, str], set[str]] = {}
    of_runs = [_data_of(run) for run in runs]
    for of_run in of_runs:
        for place, sha256 in of_run.items():
            hashes.setdefault(place, set()).add(sha256)
    unlike = [
        {place: sha256 for place, sha256 in of_run.items() if len(hashes[place]) > 1} for of_run in of_runs
    ]
    return [f"data {sha256_of(sorted(found.items()))[:8]}" if found else None for found in unlike]


def _data_of(run: Mapping[str, Any]) -> dict[tuple[str, str], str]:
    """Return the hash of a run's rows by task and selection; none for what a run did not record."""
    selection = recorded_selection(run)
    if selection is None:
        return {}
    rows = canonical_json([selection.get(name) for name in SELECTION_NAMES])
    found = {(task, rows): (run["manifests"].get(task) or {}).get("manifest_sha256") for task in run["tasks"]}
    return {place: sha256 for place, sha256 in found.items() if isinstance(sha256, str)}


def _place(run: Mapping[str, Any]) -> tuple[Any, ...]:
    press, ratio = press_of(run["fingerprint"])
    return press is not None, shown_model(run), press or "", ratio, run["aside"], run["started"]


def _cell(run: Mapping[str, Any], label: str) -> ReportRun:
    press, ratio = press_of(run["fingerprint"])
    parts = ("model", "fingerprint", "fingerprint_sha256", "folders", "configs", "aside")
    facts = {part: run[part] for part in parts}
    return ReportRun(
        label=label,
        press=press,
        ratio=ratio,
        condition=recorded_condition(run),
        selection=recorded_selection(run),
        manifests=run["manifests"],
        tasks={name: task_from(name, summary) for name, summary in run["tasks"].items()},
        started=run["started"],
        wall_s=run["wall_s"],
        interrupted=run["interrupted"],
        versions=run["versions"],
        selftest=run.get("selftest"),
        displaced=run.get("displaced", {}),
        **facts,
    )


def task_from(name: str, summary: Mapping[str, Any]) -> TaskResult:
    """Rebuild the TaskResult whose `summary` stands in results.json."""
    names = {f.name for f in fields(TaskResult)} - {"task", "readings"}
    counts = {key: value for key, value in summary.items() if key in names}
    readings = {
        reading: {metric: _metric(value) for metric, value in summary[reading].items()}
        for reading in summary["readings"]
    }
    return TaskResult(task=name, readings=readings, **counts)


def _metric(value: Mapping[str, Any]) -> MetricValue:
    interval = value.get("ci95")
    ends = None if interval is None else (interval[0], interval[1])
    return MetricValue(value["value"], ends, value.get("no_interval"))
