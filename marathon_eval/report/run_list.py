"""Lists the runs below a folder: date, label, and each task with its rows and headline score."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from marathon_eval.api.results import TaskResult
from marathon_eval.report.leaderboard import score_of
from marathon_eval.report.merge import runs_below
from marathon_eval.report.runs import task_from
from marathon_eval.report.tables import one_line
from marathon_eval.results.label import label_aside, recorded_condition, recorded_selection
from marathon_eval.results.run_labels import names_of
from marathon_eval.results.run_name import shown_fingerprint


def run_lines(parent: Path, leave_out: Mapping[Path, str] | None = None) -> list[str]:
    """Return a line per run, the newest first, each followed by a line per task. Raises MarathonError without runs."""
    runs = runs_below(parent, leave_out)
    names = names_of([shown_fingerprint(run) for run in runs])
    return [one_line(line) for run, name in zip(runs, names, strict=True) for line in _lines(run, name)]


def _lines(run: Mapping[str, Any], name: str) -> Iterator[str]:
    """Yield `2026-11-21T05:00:00Z  qwen_omni dart 0.5 (silence)  FOLDER`, then `  gtzan  n=9  accuracy 70.5`."""
    aside = label_aside(recorded_condition(run), recorded_selection(run))
    folder = next(iter(run["folders"].values()), "")
    interrupted = "  interrupted" if run["interrupted"] else ""
    yield f"{run['started']}  {name}{aside}  {folder}{interrupted}"
    width = max(map(len, run["tasks"]), default=0)
    for task, summary in run["tasks"].items():
        result = task_from(task, summary)
        score = score_of(result)
        headline = f"{result.headline_name} {score.value:.1f}" if score else _without_score(result)
        n = result.n_in(result.headline_reading)  # without the rows that the judge gave no grade
        rows = f"n={n}" + (f" of {result.full_n}" if n != result.full_n else "")
        yield f"  {task:<{width}}  {rows}  {headline}"


def _without_score(result: TaskResult) -> str:
    return "the task names no headline" if result.headline is None else "no headline score"
