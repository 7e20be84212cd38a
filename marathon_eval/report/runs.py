"""Reads run folders into ReportRuns: one model with one press and ratio, its tasks, and a distinct label."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from marathon_eval.api.results import MetricValue, TaskResult
from marathon_eval.errors import MarathonError
from marathon_eval.results.files import read_results


@dataclass(frozen=True)
class ReportRun:
    """Holds the results of one model with one press and ratio, called a cell in this package.

    `folders` and `configs` give for each task the run folder with its samples, and that run's config.
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

    @property
    def series(self) -> str:
        """The name of the curve that the run belongs to: its label without the ratio."""
        return self.label.removesuffix(f" {self.ratio:g}") if self.press else self.label


def read_cells(paths: Sequence[str | Path]) -> list[ReportRun]:
    """Read the runs of all paths, uncompressed ones first, then by press and ratio. Raises MarathonError.

    The folder of a run gives that run. A folder above several gives one merged run per fingerprint, with each task
    from the newest run that has it.
    """
    runs: list[dict[str, Any]] = []
    for path in map(Path, paths):
        if (path / "results.json").is_file():
            runs.append(_one_run(path))
        else:
            runs += _merged_runs_below(path)
    runs.sort(key=lambda run: (_press_of(run)[0] is not None, run["model"], _press_of(run), run["started"]))
    names = labels([run["fingerprint"] for run in runs], [run["started"] for run in runs])
    return [_cell(run, name) for run, name in zip(runs, names, strict=True)]


def _one_run(folder: Path) -> dict[str, Any]:
    results = read_results(folder)
    config = results.get("config") or {}
    return {
        **results,
        "folders": dict.fromkeys(results["tasks"], folder),
        "configs": dict.fromkeys(results["tasks"], config),
    }


def _merged_runs_below(parent: Path) -> list[dict[str, Any]]:
    """Return one merged run per fingerprint, with the newest of each task. Raises MarathonError without any run."""
    files = sorted(parent.glob("**/results.json"), key=lambda file: file.parent.name, reverse=True)
    if not files:
        raise MarathonError(f"{parent}: no results.json here or below")
    merged: dict[str, dict[str, Any]] = {}
    for file in files:
        run = _one_run(file.parent)
        newest = merged.setdefault(run["fingerprint_sha256"], run)
        for name in run["tasks"]:
            if name not in newest["tasks"]:
                for part in ("tasks", "folders", "configs"):
                    newest[part][name] = run[part][name]
    return list(merged.values())


def _cell(run: Mapping[str, Any], label: str) -> ReportRun:
    press, ratio = _press_of(run)
    facts = {part: run[part] for part in ("model", "fingerprint", "fingerprint_sha256", "folders", "configs")}
    return ReportRun(
        label=label,
        press=press,
        ratio=ratio,
        tasks={name: task_from(name, summary) for name, summary in run["tasks"].items()},
        started=run["started"],
        wall_s=run["wall_s"],
        interrupted=run["interrupted"],
        versions=run["versions"],
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
    return MetricValue(value["value"], None if interval is None else (interval[0], interval[1]))


def _press_of(run: Mapping[str, Any]) -> tuple[str | None, float]:
    """Return the press's name and the fraction removed; of a press with several ratios the last one."""
    press = run["fingerprint"].get("press")
    if not press:
        return None, 0.0
    ratio = press.get("ratio", 0.0)
    return str(press["press"]), float(ratio[-1] if isinstance(ratio, list) else ratio)


def labels(fingerprints: Sequence[Mapping[str, Any]], started: Sequence[str]) -> list[str]:
    """Return a distinct name for each run: model, the settings in which runs of that model differ, press, ratio.

    Runs that are still alike get the time they started, then a number.
    """
    texts = [
        _label(fingerprint, _differing(fingerprint["model"], fingerprints)) for fingerprint in fingerprints
    ]
    texts = _with_endings(texts, [" @ " + moment for moment in started])
    return _with_endings(texts, [f" #{number}" for number in range(1, len(texts) + 1)])


def _differing(model: str, fingerprints: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the settings, press settings included, that are not the same in all fingerprints of a model."""
    seen: dict[str, dict[str, set[str]]] = {}
    for fingerprint in fingerprints:
        if fingerprint["model"] == model:
            # settings of different presses are not compared, even if they have the same name
            for owner, settings in (("", fingerprint), (*_owner(fingerprint),)):
                for key, value in settings.items():
                    seen.setdefault(owner, {}).setdefault(key, set()).add(json.dumps(value, sort_keys=True))
    unnamed = {"model", "press", "ratio", "version"}
    return [
        key
        for keys in seen.values()
        for key, values in keys.items()
        if len(values) > 1 and key not in unnamed
    ]


def _owner(fingerprint: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    press = fingerprint.get("press") or {}
    return f"press {press.get('press')}", press


def _label(fingerprint: Mapping[str, Any], differing: Sequence[str]) -> str:
    press = fingerprint.get("press") or {}
    of_model = [f"{key}={_short(fingerprint[key])}" for key in differing if _readable(fingerprint.get(key))]
    of_press = [f"{key}={_short(press[key])}" for key in differing if key in press]
    words = [str(fingerprint["model"]), *of_model]
    if press:
        ratio = press.get("ratio", 0.0)
        last = ratio[-1] if isinstance(ratio, list) else ratio
        words += [str(press["press"]), *of_press, f"{float(last):g}"]
    return " ".join(words)


def _readable(value: Any) -> bool:
    """Return whether a setting can be part of a name: it is neither nested nor a hash."""
    if not isinstance(value, (str, int, float)) or isinstance(value, bool):
        return isinstance(value, bool)
    text = str(value)
    return not (len(text) >= 40 and all(letter in "0123456789abcdef" for letter in text))


def _short(value: Any) -> str:
    """Return the last part of a path or hub name, cut to 40 characters."""
    text = str(value).rstrip("/").rpartition("/")[2]
    return text if len(text) <= 40 else f"…{text[-39:]}"


def _with_endings(texts: Sequence[str], endings: Sequence[str]) -> list[str]:
    """Add its ending to every text that occurs more than once."""
    counted = Counter(texts)
    return [text + ending if counted[text] > 1 else text for text, ending in zip(texts, endings, strict=True)]
