"""Logs a finished run to an experiment tracker (wandb, mlflow, trackio), through the tracker's own library.

Each run of ours becomes one run there: every metric with the ends of its interval, and the settings. wandb and mlflow
also get the run's files. Where and as whom is up to the library's own environment variables and login
(WANDB_MODE, MLFLOW_TRACKING_URI, TRACKIO_DIR, ...).
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import redirect_stdout
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.api.secrets import without_all_secrets
from marathon_eval.errors import MarathonError, did_you_mean, install_hint
from marathon_eval.results.label import folder_name, recorded_condition, recorded_selection
from marathon_eval.results.run_name import run_name_of

DEFAULT_PROJECT = "marathon_eval"
#: The longest value of a parameter in mlflow: https://mlflow.org/docs/latest/api_reference/python_api/mlflow.html
_LONGEST_PARAMETER = 6000
#: What mlflow allows in the names of metrics and parameters, and wandb in those of artifacts.
_NOT_MLFLOW, _NOT_WANDB = re.compile(r"[^\w/. :-]"), re.compile(r"[^\w.-]")
_LONGEST_ARTIFACT = 128


class Tracker(NamedTuple):
    """Names a tracker and the project (in mlflow: experiment) there, as `wandb:PROJECT` says it."""

    name: str
    project: str


class TrackedRun(NamedTuple):
    """Holds what a tracker gets of a run. `files` is the run's folder, or None for one that was not written."""

    name: str
    config: dict[str, Any]
    metrics: dict[str, float]
    files: Path | None


def parse_tracker(text: str, flag: str) -> Tracker:
    """Parse `wandb` or `wandb:PROJECT`. Raises MarathonError, also if the tracker's library is not installed."""
    name, colon, project = text.partition(":")
    if name not in TRACKERS:
        raise MarathonError(
            f"{flag}: no tracker '{name}'.{did_you_mean(name, TRACKERS)} Trackers: {', '.join(TRACKERS)}"
        )
    if colon and not project:
        raise MarathonError(f"{flag}: '{text}' names no project; write {name}:PROJECT or {name}")
    if find_spec(name) is None:
        raise MarathonError(f"{flag}: {name} is not installed: {install_hint(name)}")
    return Tracker(name, project or DEFAULT_PROJECT)


def log_run(tracker: Tracker, results: Mapping[str, Any], folder: Path | None, flag: str) -> None:
    """Log one run; `results` is the content of its results.json.

    What the library prints goes to standard error. Raises MarathonError for whatever keeps it from logging.
    """
    run = tracked_run(results, folder)
    try:
        with redirect_stdout(sys.stderr):
            TRACKERS[tracker.name](tracker.project, run)
    except Exception as error:  # noqa: BLE001 - the libraries raise errors of many kinds, none of which may lose the results
        reason = without_all_secrets(" ".join(str(error).split())) or type(error).__name__
        kept = "" if folder is None else f"; the results are in {folder}: marathon-eval push logs them again"
        raise MarathonError(f"{flag}: {tracker.name}: {reason}{kept}") from None


def tracked_run(results: Mapping[str, Any], folder: Path | None) -> TrackedRun:
    """Return what a tracker gets of a run's results.json."""
    name = folder_name(
        results["model"],
        results["fingerprint"],
        results["fingerprint_sha256"],
        recorded_condition(results),
        recorded_selection(results),
        run_name_of(results),
    )
    config = {
        "model": results["model"],
        "fingerprint_sha256": results["fingerprint_sha256"],
        **{f"fingerprint.{key}": value for key, value in results["fingerprint"].items()},
        **{f"config.{key}": value for key, value in results["config"].items() if value is not None},
        "condition": results.get("condition"),
        "versions": results.get("versions"),
        "started": results.get("started"),
        "interrupted": results.get("interrupted"),
    }
    return TrackedRun(name, config, dict(logged_metrics(results)), folder)


def logged_metrics(results: Mapping[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield `gtzan/strict/accuracy`, its `.low` and `.high`, `gtzan/headline` (on the table's scale), counts and groups."""
    for task, entry in results["tasks"].items():
        for reading in entry["readings"]:
            for metric, value in entry[reading].items():
                name = f"{task}/{reading}/{metric}"
                ends = value.get("ci95") or (None, None)
                for key, number in (
                    (name, value["value"]),
                    (f"{name}.low", ends[0]),
                    (f"{name}.high", ends[1]),
                ):
                    if number is not None:
                        yield key, float(number)
        headline = entry.get("headline") or {}
        value = entry.get(headline.get("reading"), {}).get(headline.get("metric"), {}).get("value")
        if value is not None:
            yield f"{task}/headline", float(value) * float(headline.get("scale", 1.0))
        for count in ("coverage", "n_scored", "n_errors"):
            yield f"{task}/{count}", float(entry[count])
    yield from _group_scores(results.get("groups") or {}, "")


def _group_scores(groups: Mapping[str, Any], above: str) -> Iterator[tuple[str, float]]:
    for name, group in groups.items():
        if group.get("score") is not None:
            yield f"{above}{name}/score", float(group["score"])
        yield from _group_scores(group.get("groups") or {}, f"{above}{name}/")


def _to_wandb(project: str, run: TrackedRun) -> None:
    """Log to Weights & Biases: https://docs.wandb.ai; `project` may be ENTITY/PROJECT."""
    import wandb

    entity, _, name = project.rpartition("/")
    started = wandb.init(
        project=name, entity=entity or None, name=run.name, config=run.config, job_type="evaluation"
    )
    try:
        started.log(run.metrics)
        if run.files is not None:
            artifact = wandb.Artifact(_NOT_WANDB.sub("-", run.name)[:_LONGEST_ARTIFACT], type="evaluation")
            for file in result_files(run.files):
                artifact.add_file(str(file), name=str(file.relative_to(run.files)))
            started.log_artifact(artifact)
    finally:
        started.finish()


def _to_mlflow(project: str, run: TrackedRun) -> None:
    """Log to MLflow: https://mlflow.org/docs/latest/ml/tracking."""
    import mlflow

    mlflow.set_experiment(project)
    texts = {key: _text(value) for key, value in run.config.items()}
    with mlflow.start_run(run_name=run.name):
        mlflow.log_params(
            {
                _NOT_MLFLOW.sub("_", key): text if len(text) <= _LONGEST_PARAMETER else "see results.json"
                for key, text in texts.items()
            }
        )
        mlflow.log_metrics({_NOT_MLFLOW.sub("_", key): value for key, value in run.metrics.items()})
        if run.files is not None:
            for file in result_files(run.files):
                below = file.parent.relative_to(run.files)
                mlflow.log_artifact(str(file), None if below == Path() else str(below))


def _to_trackio(project: str, run: TrackedRun) -> None:
    """Log to Trackio: https://huggingface.co/docs/trackio. It stores metrics and settings, no files."""
    import trackio

    trackio.init(project=project, name=run.name, config=run.config)
    try:
        trackio.log(run.metrics)
    finally:
        trackio.finish()


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def result_files(folder: Path) -> list[Path]:
    """Return the files of a finished run: results, samples, and lm-eval's copy of both if there is one."""
    files = [folder / "results.json", *sorted(folder.glob("samples_*.jsonl"))]
    return [*files, *sorted(file for file in folder.glob("lm_eval/**/*") if file.is_file())]


TRACKERS: Mapping[str, Callable[[str, TrackedRun], None]] = {
    "wandb": _to_wandb,
    "mlflow": _to_mlflow,
    "trackio": _to_trackio,
}
