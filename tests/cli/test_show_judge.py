"""Tests that `show TASK ROW` prints the prompts that the judge gets, with a placeholder for the answer."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_air_bench_mmar_data
from helpers.judged_run import JUDGE
from helpers.minimal_task import KEYS, write_task
from marathon_eval.cli.main import EXIT_WHOLE, main

GRADED = (
    "filter_list:\n  - {name: graded, filter: [{function: judge_grade}]}\n"
    "metric_list: [{metric: grade}]\nheadline: {reading: graded, metric: grade}\n"
)
ROWS = [{"q": "What is heard?", "a": "a dog barks", "theirs": "a cat"}, {"q": "Who speaks?", "a": "a man"}]


class Own:
    """Shows rows of a task `own` with the given judge section."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.places = ["--include_path", str(folder), "--data_dir", str(folder), "-c", str(folder / "cache")]

    def write(self, judge: str) -> None:
        (self.folder / "tasks").mkdir(exist_ok=True)
        file = write_task(
            self.folder, f"{KEYS}{GRADED}judge: {{grade: {{readings: graded, {judge}}}}}\n", ROWS
        )
        file.rename(self.folder / "tasks" / file.name)

    def show(self, *flags: str, task: str = "own") -> str:
        self._capsys.readouterr()
        assert main(["show", task, *flags, *self.places]) == EXIT_WHOLE
        return self._capsys.readouterr().out

    def prompts(self, *flags: str, task: str = "own") -> dict[str, Any]:
        shown: dict[str, Any] = json.loads(self.show(*flags, "--json", task=task))["judge_prompts"]
        return shown


@pytest.fixture
def own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Own:
    return Own(tmp_path, capsys)


def test_the_prompt_is_the_one_that_the_judge_gets(own: Own) -> None:
    own.write("scale: [1, 5], system: You are strict., raters: 2, against: theirs")
    rules, log = own.folder / "rules.json", own.folder / "log"
    rules.write_text(json.dumps([{"has": [], "replies": ['{"first": 1, "second": 2}']}]))
    judge = json.dumps({"script": str(rules), "log": str(log), "identity": "one"})
    asked = ["--model", "dummy", "-a", "answer=barking", "--tasks", "own", "--limit", "1"]
    assert main([*asked, *own.places, "--judge_model", JUDGE, "--judge_args", judge]) == EXIT_WHOLE
    prompt, system, _ = json.loads(log.read_text().splitlines()[0])
    first = own.prompts("0")["grade"]
    assert first["prompt"].count("(the answer)") == 1
    assert first["prompt"].replace("(the answer)", "barking") == prompt
    assert (first["system"], first["calls"]) == (system, 4)
    assert system == "You are strict."
    text = own.show("0")
    assert "judge    grade, the first of 4 prompts\n  system You are strict.\n  | [Question" in text
    assert "\n  | (the answer)\n" in text


def test_a_row_that_cannot_be_judged_says_why(own: Own) -> None:
    own.write("scale: [1, 5], against: theirs")
    assert "'theirs'" in own.prompts("1")["grade"]["error"]
    assert "judge    grade: no prompt: " in own.show("1")
    assert "prompt" in own.prompts("0")["grade"]


def test_every_kind_of_a_shipped_task_is_shown(own: Own) -> None:
    make_air_bench_mmar_data.mmar(own.folder, rows=1)
    shown = own.prompts("0", task="mmar")
    assert list(shown) == ["align", "rubric"]
    assert "(the answer)" in shown["align"]["prompt"]
    assert "(the reasoning before the answer)" in shown["rubric"]["prompt"]
    assert shown["rubric"]["calls"] == 5


def test_a_task_without_a_judge_has_no_prompts_of_one(own: Own) -> None:
    (own.folder / "tasks").mkdir()
    file = write_task(own.folder, KEYS + "metric_list: [{metric: exact_match}]\n", ROWS)
    file.rename(own.folder / "tasks" / file.name)
    assert own.prompts("0") == {}
    assert "judge" not in own.show("0")
