"""Tests that a task with options and accuracy tells the accuracy of guessing, also where its YAML does not ask for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from helpers import make_audiomarathon_data
from helpers.minimal_task import write_task
from marathon_eval.cli.main import main
from marathon_eval.report.runs import task_from
from marathon_eval.results.files import newest_run, read_results

OPTIONS = "doc_to_text: q\ndoc_to_target: a\ndoc_to_choice: c\nfilter_list: [{name: s, filter: [{function: choice}]}]\n"
ROWS = [{"q": "?", "a": "A", "c": ["dog", "cat"]}, {"q": "?", "a": "B", "c": ["dog", "cat", "owl", "hen"]}]


def run(path: Path | str, folder: Path, *flags: str) -> dict[str, object]:
    assert (
        main(["--model", "dummy", "--tasks", str(path), "--no_cache", "--output_path", str(folder), *flags])
        == 0
    )
    (task,) = read_results(newest_run(folder))["tasks"].values()
    return dict(task)


def test_a_task_that_does_not_ask_for_it_shows_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(
        write_task(tmp_path, OPTIONS + "metric_list: [{metric: accuracy}]\n", ROWS), tmp_path / "runs"
    )
    assert found["chance_level"] == 0.375
    assert "chance" not in found["s"]  # type: ignore[operator]  # the metrics of a reading
    assert " 0.375 " in capsys.readouterr().out
    assert task_from("own", found).chance_of("s") == 0.375


@pytest.mark.parametrize("metrics", ["{metric: accuracy}", "{metric: accuracy}, {metric: chance}"])
def test_each_of_several_right_answers_can_be_guessed(tmp_path: Path, metrics: str) -> None:
    rows = [
        {"q": "?", "a": [gold, "hen"], "c": ["dog", "cat", "owl", "hen"]} for gold in ("dog", "cat", "hen")
    ]
    found = run(write_task(tmp_path, OPTIONS + f"metric_list: [{metrics}]\n", rows), tmp_path / "runs")
    assert task_from("own", found).chance_of("s") == pytest.approx((0.5 + 0.5 + 0.25) / 3)


def test_tasks_with_the_metric_and_open_questions_record_nothing_more(tmp_path: Path) -> None:
    data = make_audiomarathon_data.build(tmp_path / "data", 4, seconds=0.5)
    assert "chance_level" not in run("gtzan", tmp_path / "gtzan", "--data_dir", str(data))
    own = OPTIONS + "metric_list: [{metric: accuracy}, {metric: chance}]\n"
    found = run(write_task(tmp_path, own, ROWS), tmp_path / "own")
    assert "chance_level" not in found
    assert task_from("own", found).chance_of("s") == 0.375
    open_question = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: accuracy}]\n"
    rows = [{"q": "?", "a": "x"}, {"q": "?", "a": "y"}]
    assert "chance_level" not in run(write_task(tmp_path, open_question, rows), tmp_path / "open")


@pytest.mark.parametrize("n", [2, 40])
def test_baselines_have_no_interval_because_no_answer_enters_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], n: int
) -> None:
    keys = OPTIONS + "metric_list: [{metric: accuracy}, {metric: chance}, {metric: majority}]\n"
    path = write_task(tmp_path, keys, ROWS * (n // 2))
    found = run(path, tmp_path / "a", "--readings", "all")
    reading: dict[str, dict[str, object]] = found["s"]  # type: ignore[assignment]
    assert reading["chance"] == {"value": 0.375, "ci95": None, "no_interval": "no answer enters it"}
    assert reading["majority"] == {"value": 0.5, "ci95": None, "no_interval": "no answer enters it"}
    assert (reading["accuracy"]["ci95"] is None) == (n == 2)
    assert capsys.readouterr().out.count("no answer enters it") == 2
    run(path, tmp_path / "b", "--model_args", "answer=A")
    capsys.readouterr()
    assert main(["compare", str(tmp_path / "a"), str(tmp_path / "b"), "--json"]) == 0
    (task,) = json.loads(capsys.readouterr().out)["tasks"].values()
    for name in ("chance", "majority"):
        difference = task["readings"]["s"]["metrics"][name]
        assert (difference["difference"], difference["ci95"]) == (0.0, None)
        assert difference["no_interval"] == "no answer enters it"


def test_an_archive_of_an_earlier_version_lacks_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tasks").mkdir()
    write_task(tmp_path / "tasks", OPTIONS + "metric_list: [{metric: accuracy}, {metric: majority}]\n", ROWS)
    where = ["--include_path", str(tmp_path), "--use_cache", str(tmp_path / "cache")]
    assert main(["--model", "dummy", "--tasks", "own", "--output_path", str(tmp_path / "runs"), *where]) == 0
    folder = newest_run(tmp_path / "runs")
    results = read_results(folder)
    del results["tasks"]["own"]["chance_level"]
    # it gave baselines an interval, or another reason
    results["tasks"]["own"]["s"]["majority"] = {"value": 0.5, "ci95": [0.3, 0.7]}
    (folder / "results.json").write_text(json.dumps(results))
    packed = str(tmp_path / "packed.tar.gz")
    capsys.readouterr()
    assert main(["pack", str(folder), "--output", packed, *where]) == 0, capsys.readouterr().err
    assert main(["unpack_verify", packed]) == 0, capsys.readouterr().out
