"""Computes listening: how much of a score is lost when the model does not hear the clip.

A run is paired, document by document, with its controls: the same model, press and rows under silence, without audio,
or with another clip of the task (`--no_audio`, `--swap_audio`). A score that stays says that the text was enough.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from marathon_eval.api.results import TaskResult
from marathon_eval.files import canonical_json
from marathon_eval.report.runs import ReportRun
from marathon_eval.results.compare import unlikeness
from marathon_eval.results.compared_rows import compared_rows
from marathon_eval.results.files import read_samples
from marathon_eval.results.label import CONTROLS, SELECTION_NAMES
from marathon_eval.results.paired import TaskRows, paired_metrics
from marathon_eval.scoring.alike import headline_falls


@dataclass(frozen=True)
class ListeningScore:
    """Holds score minus control in points (0-100) with its 95 % interval, over `n` paired documents.

    `value` is None if it cannot be computed; `reason` then says why. `no_interval`: why a value has no interval.
    """

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0
    reason: str | None = None
    no_interval: str | None = None
    #: Whether a lower score is better, as of an error rate, so that hearing the clip lowers it.
    falls: bool = False


@dataclass(frozen=True)
class Listening:
    """Holds the listening of one run by task. `control` says what the model heard instead of the clip."""

    run: str
    control: str
    scores: dict[str, ListeningScore]


def listening(cells: Sequence[ReportRun]) -> list[Listening]:
    """Return one entry per run and control. Reads the samples of such pairs only. Raises MarathonError."""
    found: list[Listening] = []
    for control in cells:
        heard = (control.condition or {}).get("audio")
        if heard is None or control.selection is None:
            continue
        place = _place(control)
        pairs = [
            Listening(cell.label, CONTROLS.get(str(heard), str(heard)), _scores(cell, control))
            for cell in cells
            if _is_heard(cell) and _place(cell) == place and not cell.tasks.keys().isdisjoint(control.tasks)
        ]
        # of runs that asked a task in several ways, the one that asked as the control did says something
        computed = [pair for pair in pairs if any(score.value is not None for score in pair.scores.values())]
        found += computed or pairs[:1]
    return found


def _is_heard(cell: ReportRun) -> bool:
    """Return whether the model is known to have heard the clips themselves."""
    return cell.condition is not None and cell.selection is not None and "audio" not in cell.condition


def _place(cell: ReportRun) -> str:
    """Return a text that a run shares with its controls: model, press, selection, and all else of the condition."""
    condition = {name: value for name, value in (cell.condition or {}).items() if name != "audio"}
    rows = [(cell.selection or {}).get(name) for name in SELECTION_NAMES]
    return canonical_json([cell.fingerprint_sha256, condition, rows])


def _scores(cell: ReportRun, control: ReportRun) -> dict[str, ListeningScore]:
    return {name: _paired(cell, control, name) for name in cell.tasks if name in control.tasks}


def _paired(cell: ReportRun, control: ReportRun, task: str) -> ListeningScore:
    """Return score minus control of one task, on the documents that both runs scored."""
    results, headline = cell.tasks[task], cell.tasks[task].headline
    if headline is None or headline != control.tasks[task].headline:
        return ListeningScore(None, reason="the task has no headline, or another one in the control")
    missing = [
        run.label for run in (cell, control) if not (run.folders[task] / f"samples_{task}.jsonl").is_file()
    ]
    if missing:
        return ListeningScore(None, reason=f"no samples of {missing[0]}")
    rows = [_rows(run, task) for run in (cell, control)]
    unlike = unlikeness(task, [{"manifests": run.manifests} for run in (cell, control)], rows)
    if _generation(cell, task) != _generation(control, task):
        unlike.append(f"{task}: the runs used different generation arguments")
    if unlike:
        return ListeningScore(None, reason=unlike[0])
    difference = paired_metrics(task, rows[0], rows[1])
    reading = difference.readings[headline["reading"]]
    metric = reading.metrics.get(headline["metric"])
    n = reading.n - (metric.n_unscored if metric else 0)
    if metric is None or metric.difference is None:
        reason = None if metric is None else metric.reason
        return ListeningScore(None, n=n, reason=reason or "one of the runs has no value")
    # paired_metrics gives control minus score, with the interval's ends in rising order
    scale = results.headline_scale
    # 0.0 - x, because -x of 0.0 would print as -0.0
    ends = sorted(0.0 - end * scale for end in metric.ci95) if metric.ci95 else (None, None)
    value = 0.0 - metric.difference * scale
    falls = headline_falls(results)
    return ListeningScore(value, ends[0], ends[1], n, no_interval=metric.no_interval, falls=falls)


def _generation(cell: ReportRun, task: str) -> object:
    return (cell.manifests.get(task) or {}).get("generation")


def _rows(cell: ReportRun, task: str) -> TaskRows:
    """Read one task of a run, with its headline metric alone: no other is compared."""
    samples = compared_rows(read_samples(cell.folders[task], task))
    return TaskRows(_headline_alone(cell.tasks[task]).summary(), samples)


def _headline_alone(result: TaskResult) -> TaskResult:
    headline = result.headline or {}
    reading = result.readings.get(headline["reading"], {})
    metrics = {name: value for name, value in reading.items() if name == headline["metric"]}
    return replace(result, readings={headline["reading"]: metrics})
