"""Tests which scores groups and the leaderboard average: those of one direction and one unit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from marathon_eval import simple_evaluate
from marathon_eval.api.doc import DocSet
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import MetricValue, RunResult, TaskResult
from marathon_eval.cli.main import main
from marathon_eval.evaluator.evaluator import load_tasks
from marathon_eval.evaluator.rescore.verify_archive import _numbers
from marathon_eval.report.curves import mean_score
from marathon_eval.report.runs import ReportRun
from marathon_eval.scoring.alike import TaskScore, headline_score, unlike

TASK = """dataset_path: json
dataset_kwargs: {{data_files: rows.json}}
doc_to_text: q
doc_to_target: a
filter_list:
  - {{name: said, filter: [{{function: {filter}}}]}}
metric_list: [{{metric: {metric}}}]
headline: {{reading: said, metric: {metric}{scale}}}
"""
GRADE = "judge:\n  grade: {readings: said, scale: [1, 5]}\n"


def run(folder: Path, tasks: dict[str, str], keys: str = "", **settings: Any) -> RunResult:
    """Run a group of tasks with the answer `x`, right in 6 of 8 rows."""
    tasks_folder = folder / "tasks"
    tasks_folder.mkdir()
    rows = [{"q": f"q{i}", "a": "x" if i < 6 else "y"} for i in range(8)]
    (tasks_folder / "rows.json").write_text(json.dumps(rows))
    for name, text in tasks.items():
        (tasks_folder / f"{name}.yaml").write_text(text)
    (tasks_folder / "mix.yaml").write_text(f"group: mix\ntask: [{', '.join(tasks)}]\n{keys}")
    return simple_evaluate(
        "dummy", ["mix"], {"answer": "x"}, include_path=str(folder), no_cache=True, **settings
    )


def run_again(folder: Path, *flags: str) -> int:
    own = ["--tasks", "mix", "--include_path", str(folder), "--no_cache"]
    return main(["--model", "dummy", "--model_args", "answer=x", *own, *flags])


def task(metric: str, scale: str = ", scale: 100", filter: str = "take_first", more: str = "") -> str:
    return TASK.format(metric=metric, scale=scale, filter=filter) + more


WER = task("wer", filter="transcript", more="language: en\n")
PERCENT, FRACTION = task("exact_match"), task("exact_match", "")


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (WER, "less is better in b, more in a"),
        (FRACTION, "100 % is 100 in a, 100 % is 1 in b"),
        (task("grade", "", "judge_grade", GRADE), "100 % is 100 in a, b is in units of grade"),
        (
            task("wer", ", scale: -100", "transcript", "language: en\n"),
            "100 % is 100 in a, 100 % is -100 in b",
        ),
    ],
)
def test_unlike_scores_have_no_mean(
    tmp_path: Path, other: str, reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    judge = {"judge_model": "dummy", "judge_args": {"answer": "4"}} if "judge" in other else {}
    result = run(tmp_path, {"a": PERCENT, "b": other}, **judge)
    assert (result.groups["mix"]["score"], result.groups["mix"]["unlike"]) == (None, reason)
    asked = ["--judge_model", "dummy", "--judge_args", "answer=4"] if judge else []
    assert run_again(tmp_path, "--output_path", str(tmp_path / "again"), *asked) == 0
    assert f"mix has no mean, because the scores are unlike: {reason}." in capsys.readouterr().out
    assert main(["leaderboard", str(tmp_path / "again")]) == 0
    printed = capsys.readouterr()
    assert "Avg" not in printed.out
    assert f"note: no average, because the scores are unlike: {reason}" in printed.err


@pytest.mark.parametrize(
    ("other", "mean"),
    [
        (task("accuracy"), 75.0),
        (task("grade", ", scale: 20", "judge_grade", GRADE), 77.5),
    ],
)
def test_scores_of_one_direction_and_unit_have_a_mean(tmp_path: Path, other: str, mean: float) -> None:
    judge = {"judge_model": "dummy", "judge_args": {"answer": "4"}} if "judge" in other else {}
    group = run(tmp_path, {"a": PERCENT, "b": other}, **judge).groups["mix"]
    assert (group["score"], group["averaged"], "unlike" in group) == (mean, "mean of headlines", False)


@pytest.mark.parametrize(
    ("keys", "averaged"),
    [
        ("{metric: exact_match, weight_by_size: true}", "mean of exact_match, weighted by rows"),
        ("{metric: exact_match, weight_by_size: false, filter_list: said}", "mean of exact_match (said)"),
        ("{metric: headline, weight_by_size: true}", "mean of headlines, weighted by rows"),
        ("{metric: headline, weight_by_size: true, over: members}", "mean of headlines over members"),
    ],
)
def test_a_groups_row_names_what_was_averaged(
    tmp_path: Path, keys: str, averaged: str, capsys: pytest.CaptureFixture[str]
) -> None:
    run(tmp_path, {"a": PERCENT, "b": PERCENT}, f"aggregate_metric_list: [{keys}]\n")
    assert run_again(tmp_path) == 0
    (row,) = [line for line in capsys.readouterr().out.splitlines() if line.strip().startswith("mix ")]
    assert averaged in row


SHIPPED = (
    "audiomarathon",
    "air_bench_foundation",
    "air_bench_chat",
    "voicebench",
    "mmau_pro",
    "big_bench_audio",
    "lat_bench_tag",
)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_group_keeps_its_mean(name: str) -> None:
    tasks, _ = load_tasks(Registry(), [name])
    results = [one.aggregate([], DocSet([], 0, 0, 0, "none")) for one in tasks.values()]
    assert len(results) > 1
    assert unlike([headline_score(result) for result in results]) is None
    falling = run_metric("wer")
    assert unlike([*map(headline_score, results), falling]) is not None


def run_metric(name: str) -> TaskScore:
    """Return the score of a task whose headline is this metric."""
    entry = {"said": {name: {"metric": name}}}
    return TaskScore(TaskResult("own", {}, 0, 0, 0, 0, 0, {}, 0, metrics=entry), "said", name, 100)


def test_an_archives_group_is_compared_by_its_numbers(tmp_path: Path) -> None:
    """Archives of earlier versions do not name what a group averages."""
    inner = {"score": 1.0, "averaged": "mean of headlines", "groups": {}}
    new = {"score": 2.0, "averaged": "mean of headlines", "groups": {"in": inner}}
    old = {"score": 2.0, "groups": {"in": {"score": 1.0, "groups": {}}}}
    assert _numbers(new) == _numbers(old)
    assert _numbers({**new, "score": 3.0}) != _numbers(old)


def test_curves_have_no_mean_of_unlike_scores() -> None:
    def cell(**metrics: str) -> ReportRun:
        entries = {name: {"said": {metric: {"metric": metric}}} for name, metric in metrics.items()}
        tasks = {
            name: TaskResult(
                name,
                {"said": {metric: MetricValue(0.5)}},
                *(9, 9, 0, 0, 9, {}, 0),
                headline={"reading": "said", "metric": metric, "scale": 100},
                metrics=entries[name],
            )
            for name, metric in metrics.items()
        }
        found: ReportRun = SimpleNamespace(tasks=tasks)  # type: ignore[assignment]
        return found

    alike = mean_score(cell(a="accuracy", b="macro_f1"), ["a", "b"])
    assert alike is not None
    assert alike.value == 50
    assert mean_score(cell(a="accuracy", b="wer"), ["a", "b"]) is None
    assert mean_score(cell(a="accuracy", b="wer"), ["b"]) is not None
