"""Tests how `show` and the report order and word graded rows: by the metric's direction, with the judges' own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.judged_run import JUDGE
from helpers.minimal_task import KEYS, write_task
from helpers.report_page_parser import parsed
from marathon_eval import simple_evaluate
from marathon_eval.cli.main import EXIT_WHOLE, main

MISSES = """
def misses(row):
    return float(len(row.answer.value or "") - len(row.target))
"""
LETTERS = KEYS + "metric_list: [{metric: misses, higher_is_better: false}]\n"
WORDS = KEYS + "metric_list: [{metric: wer, normalizer: none}]\nheadline: {reading: none, metric: wer}\n"
JUDGED = (
    "filter_list:\n  - {name: graded, filter: [{function: judge_grade}]}\n"
    "metric_list: [{metric: grade}]\nheadline: {reading: graded, metric: grade}\n"
    "judge: {grade: {readings: graded, scale: [1, 5], system: You are strict.}}\n"
)


class Graded:
    """Runs a task of one's own and shows the run."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.folder, self._capsys = folder, capsys
        self.places = ["--include_path", str(folder), "--data_dir", str(folder), "-c", str(folder / "cache")]

    def run(self, keys: str, rows: list[dict[str, str]], answer: str, *flags: str) -> None:
        (self.folder / "tasks").mkdir(exist_ok=True)
        file = write_task(self.folder, keys, rows)
        file.rename(self.folder / "tasks" / file.name)
        asked = ["--model", "dummy", "-a", json.dumps({"answer": answer}), "--tasks", "own"]
        assert main([*asked, *self.places, "-o", str(self.folder / "out"), *flags]) == EXIT_WHOLE

    def judged(self, rows: list[dict[str, str]], *replies: dict[str, Any]) -> None:
        (self.folder / "rules.json").write_text(json.dumps(replies))
        judge = {
            "script": str(self.folder / "rules.json"),
            "log": str(self.folder / "log"),
            "identity": "one",
        }
        self.run(KEYS + JUDGED, rows, "barking", "--judge_model", JUDGE, "--judge_args", json.dumps(judge))

    def show(self, *flags: str) -> str:
        self._capsys.readouterr()
        assert main(["show", str(self.folder / "out"), *flags, *self.places]) == EXIT_WHOLE
        return self._capsys.readouterr().out

    def listed(self, *flags: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.show(*flags, "--json").splitlines()]


@pytest.fixture
def graded(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Graded:
    return Graded(tmp_path, capsys)


def test_the_worst_rows_have_the_highest_score_where_lower_is_better(graded: Graded) -> None:
    (graded.folder / "metrics").mkdir()
    (graded.folder / "metrics" / "misses.py").write_text(MISSES)
    rows = [{"q": "?", "a": "x" * number} for number in range(1, 13)]
    graded.run(LETTERS, rows, "x" * 20)
    assert [row["row"] for row in graded.listed("--wrong")] == list(range(10))
    assert [row["row"] for row in graded.listed("--only", "graded")] == list(range(12))
    assert graded.listed("--wrong")[0]["higher_is_better"] is False
    text = graded.show("--wrong")
    assert "misses ↓ 19.00" in text
    assert (
        "own: 12 rows are graded by misses ↓ (↓: lower is better), from 19.00 to 8.00: not counted as right or "
        "wrong; the 10 worst are listed (--only graded lists all)" in " ".join(text.split())
    )
    written = str(graded.folder / "page.html")
    assert main(["report", str(graded.folder / "out"), "-o", written]) == EXIT_WHOLE
    page = parsed(graded.folder / "out")
    assert page.data()["tasks"][0]["low"] is True


def test_a_transcript_of_wrong_words_is_not_told_as_free_of_wrong_rows(graded: Graded) -> None:
    graded.run(WORDS, [{"q": "?", "a": "a dog"}, {"q": "?", "a": "no one"}], "two birds")
    text = graded.show("--wrong")
    assert "no row is wrong" not in text
    assert text.count("wer ↓ 1.00") == 2
    assert "graded by wer ↓ (↓: lower is better), all 1.00: not counted as right or wrong" in text


def test_a_judged_row_shows_each_judge_s_grade_reason_and_prompt(graded: Graded) -> None:
    rows = [{"q": "What is heard?", "a": "a dog"}, {"q": "Who?", "a": "a man"}]
    reply = json.dumps({"reason": "It names no dog.", "grade": 2})
    graded.judged(
        rows, {"has": ["What is heard?"], "replies": ["well", reply]}, {"has": [], "replies": ["4"]}
    )
    text = graded.show("0")
    assert "judge    one: grade 2\n  | asked again after: well\n  | reason: It names no dog.\n" in text
    assert "reading  graded: 'grade 2' by graded: grade[one] 2" in text
    assert "[{" not in text
    asked = [json.loads(line) for line in (graded.folder / "log").read_text().splitlines()]
    prompt = next(prompt for prompt, *_ in asked if "What is heard?" in prompt)
    assert "\n".join(["  system You are strict.", *(f"  | {line}" for line in prompt.splitlines())]) in text
    (row,) = graded.listed("0")
    assert row["judge_prompts"]["grade"]["prompt"] == prompt
    assert row["readings"]["graded"]["answer"].startswith("[{")
    assert "judge    one: grade 4\n  | 4\n" in graded.show("1")
    assert [row["answer"] for row in graded.listed("--wrong")] == ["grade 2", "grade 4"]


def test_a_judge_s_prompt_that_cannot_be_filled_says_what_to_type(graded: Graded) -> None:
    graded.judged([{"q": "What is heard?", "a": "a dog"}], {"has": [], "replies": ["3"]})
    graded.places = ["-c", str(graded.folder / "cache")]
    text = graded.show("0")
    assert "judge    prompts: no prompt: " in text
    assert "type --include_path and --data_dir as the run had them" in text


def test_pandas_has_the_grade_in_words(graded: Graded) -> None:
    rules = graded.folder / "rules.json"
    rules.write_text(json.dumps([{"has": [], "replies": ["3"]}]))
    task = write_task(graded.folder, KEYS + JUDGED, [{"q": "What is heard?", "a": "a dog"}])
    judge = {"script": str(rules), "log": str(graded.folder / "log"), "identity": "one"}
    run = simple_evaluate(
        "dummy", [str(task)], {"answer": "x"}, judge_model=JUDGE, judge_args=judge, no_cache=True
    )
    assert list(run.to_pandas()["graded"]) == ["grade 3"]


def test_rows_as_json_have_their_clips_and_the_right_option_s_text(graded: Graded) -> None:
    keys = (
        "doc_to_text: q\ndoc_to_target: a\nchoice_columns: [one, two]\n"
        "filter_list: [{name: told, filter: [{function: choice}]}]\n"
        "metric_list: [{metric: accuracy}, {metric: macro_f1}, {metric: majority}]\n"
        "headline: {reading: told, metric: accuracy}\n"
    )
    rows = [{"q": "?", "a": letter, "one": "a dog", "two": "a cat"} for letter in "AB"]
    graded.run(keys, rows, "A")
    (row,) = graded.listed("--wrong")
    assert (row["outcome"], row["target"], row["target_text"]) == ("wrong", "B", "a cat")
    assert row["choices"] == ["a dog", "a cat"]
    sample = next((graded.folder / "out").glob("**/samples_own.jsonl")).read_text().splitlines()[1]
    assert row["audio"] == json.loads(sample)["audio"]
    text = graded.show("1")
    assert "target   B: a cat\n" in text
    assert "reading  told: 'A' by " in text
    assert "accuracy 0.0\n" in text
    assert "macro_f1" not in text
    assert "majority" not in text
    assert "fields   none in the samples: `sample_fields` of the task keeps columns there" in text
