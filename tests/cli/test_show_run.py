"""Tests what `show` says of a run whose rows have grades or no score, its prompts as data, and one row of a run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.judged_run import JUDGE
from helpers.minimal_task import KEYS, write_task
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE, main

ROWS = [
    {"q": "What is heard?", "a": "a dog barks"},
    {"q": "Who speaks?", "a": "a man"},
    {"q": "Where is it?", "a": "in a hall"},
]
GRADED = (
    "filter_list:\n  - {name: graded, filter: [{function: judge_grade}]}\n"
    "metric_list: [{metric: grade}]\nheadline: {reading: graded, metric: grade}\n"
    "judge: {grade: {readings: graded, scale: [1, 5]}}\n"
)


class Shown:
    """Runs `show` and returns what it printed; `err` is what the last one said on stderr."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys
        self.err = ""

    def __call__(self, *flags: str, code: int = 0) -> str:
        self._capsys.readouterr()
        assert main(["show", *flags]) == code
        printed = self._capsys.readouterr()
        self.err = printed.err
        return printed.err if code else printed.out

    def rows(self, *flags: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self(*flags, "--json").splitlines()]


@pytest.fixture
def shown(capsys: pytest.CaptureFixture[str]) -> Shown:
    return Shown(capsys)


def test_rows_with_grades_and_without_a_score_are_listed(tmp_path: Path, shown: Shown) -> None:
    rules = [
        {"has": ["Who speaks?"], "replies": ["no grade"]},
        {"has": ["What is heard?"], "replies": ['{"grade": 1}']},
        {"has": ["Who sings?"], "replies": ['{"grade": 7}']},
        {"has": [], "replies": ['{"grade": 4}']},
    ]
    (tmp_path / "rules.json").write_text(json.dumps(rules))
    task = write_task(tmp_path, KEYS + GRADED, [*ROWS, {"q": "Who sings?", "a": "a choir"}])
    judge = json.dumps(
        {"script": str(tmp_path / "rules.json"), "log": str(tmp_path / "log"), "identity": "one"}
    )
    run, cache = str(tmp_path / "out"), ["-c", str(tmp_path / "cache")]
    flags = [
        "--model",
        "dummy",
        "--tasks",
        str(task),
        "-o",
        run,
        "--judge_model",
        JUDGE,
        "--judge_args",
        judge,
    ]
    assert main([*flags, *cache]) == EXIT_INCOMPLETE
    text = " ".join(shown(run, "--wrong").split())
    assert "2 not scored, 2 graded" in text
    assert "judge_unparsed" in text
    assert (
        "2 rows are graded by grade[one], from 1.00 to 4.00: not counted as right or wrong; listed from the worst"
        in text
    )
    assert "grade[one] 1.00" in text
    assert "grade 1 " in text
    assert "no row is wrong" not in text
    listed = shown.rows(run, "--wrong", *cache)
    assert [(row["row"], row["outcome"], row["score"]) for row in listed] == [
        (1, "not scored", None),
        (3, "not scored", None),
        (0, "graded", 1.0),
        (2, "graded", 4.0),
    ]
    assert listed[0]["reason"] == "judge_unparsed: no grade can be read from the judge's reply"
    assert listed[1]["reason"] == "judge_off_scale: 7 is outside 1 to 5"
    assert "off the scale: 7 is outside 1 to 5" in shown(run, "3", *cache)
    assert [row["row"] for row in shown.rows(run, "--only", "unscored", *cache)] == [1, 3]
    assert [row["row"] for row in shown.rows(run, "--only", "graded", *cache)] == [0, 2]
    assert "no row is unanswered" in shown(run, "--only", "unanswered")
    one = shown(run, "2", *cache)
    assert "outcome  graded under the reading graded, grade[one] 4" in one
    assert "judge    " in one
    assert "needs the judge; `show RUN ROW` has the grade of a run" in shown(
        "own", "2", *include(tmp_path), *cache
    )


def include(folder: Path) -> list[str]:
    """Put the task where --include_path finds it by name; return the flags that name its folders."""
    (folder / "tasks").mkdir(exist_ok=True)
    (folder / "tasks" / "own.yaml").write_text((folder / "own.yaml").read_text())
    return ["--include_path", str(folder), "--data_dir", str(folder)]


@pytest.fixture
def plain_run(tmp_path: Path) -> str:
    """Run the dummy, which answers each row with `a man`, on an own task with exact_match."""
    write_task(tmp_path, KEYS + "metric_list: [{metric: exact_match}]\n", ROWS)
    where, run = [*include(tmp_path), "-c", str(tmp_path / "cache")], str(tmp_path / "out")
    flags = ["--model", "dummy", "-a", "answer=a man", "--tasks", "own", "-o", run, "--export", "lm_eval"]
    assert main([*flags, *where]) == EXIT_WHOLE
    return run


def test_prompts_come_from_the_cache_or_from_the_tasks_rows(
    tmp_path: Path, plain_run: str, shown: Shown
) -> None:
    empty = ["-c", str(tmp_path / "empty")]
    for where in (["-c", str(tmp_path / "cache")], [*empty, *include(tmp_path)]):
        listed = shown.rows(plain_run, "--wrong", *where)
        assert shown.err == ""
        assert [row["prompt"] for row in listed] == ["What is heard?", "Where is it?"]
        assert not any("prompt_missing" in row for row in listed)
    (row, _) = shown.rows(plain_run, "--wrong", *empty)
    assert row["prompt"] is None
    assert str(tmp_path / "empty") in row["prompt_missing"]
    assert "--data_dir" in row["prompt_missing"]
    assert shown.err.count("\n") == 1
    assert shown.err.startswith('2 of 2 rows have "prompt": null; type --use_cache DIR')
    assert f"to open it, type --include_path {tmp_path} --data_dir {tmp_path}" in shown.err


def test_lm_evals_files_have_the_prompt_where_lm_eval_has_it(plain_run: str) -> None:
    (file,) = Path(plain_run).glob("**/lm_eval/samples_own_*.jsonl")
    first = json.loads(file.read_text().splitlines()[0])
    assert first["arguments"]["gen_args_0"]["arg_0"] == "What is heard?"
    assert first["arguments"]["gen_args_0"]["arg_1"]["do_sample"] is False


def test_one_row_of_a_run_or_of_a_task_is_json_too(tmp_path: Path, plain_run: str, shown: Shown) -> None:
    where = [*include(tmp_path), "-c", str(tmp_path / "cache")]
    (row,) = shown.rows(plain_run, "1", *where)
    assert (row["outcome"], row["answer"], row["prompt"]) == ("right", "a man", "Who speaks?")
    text = shown(plain_run, "0", *where)
    assert "outcome  wrong under the reading" in text
    assert "response 'a man'" in text
    assert "answer   " not in text
    assert "  | What is heard?" in text
    (doc,) = shown.rows("own", "1", *where)
    assert (doc["prompt"], doc["answers"][0]["text"]) == ("Who speaks?", "a man")
    assert doc["prompt_sha256"] == row["prompt_sha256"]
    assert "has no row 9 of own" in shown(plain_run, "9", *where, code=2)


def test_a_folder_that_is_not_there_is_not_taken_for_a_task(tmp_path: Path, shown: Shown) -> None:
    for flags in (["0"], []):
        said = shown(str(tmp_path / "runs" / "de"), *flags, code=2)
        assert f"there is no folder '{tmp_path / 'runs' / 'de'}'" in said
    assert "no task 'gtzam'" in shown("gtzam", "0", code=2)
    assert "there is no folder" not in shown(str(tmp_path / "gone.yaml"), "0", code=2)
