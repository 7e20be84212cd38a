"""Tests which documents a comparison pairs: those of one right answer, which the reading has in both runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.rescore.score_predictions import score_predictions
from marathon_eval.report.compared_table import comparison_latex
from marathon_eval.results.compare import compare_runs
from marathon_eval.results.comparison import Comparison
from marathon_eval.results.files import write_run
from marathon_eval.results.gate import limits
from marathon_eval.results.paired import other_target

TASK = """dataset_path: json
dataset_kwargs: {data_files: rows.jsonl}
doc_to_text: q
doc_to_target: a
filter_list:
  - {name: strict, filter: [{function: take_first}]}
  - {name: upper, filter: [{function: uppercase}, {function: take_first}]}
metric_list: [{metric: accuracy}]
headline: {reading: strict, metric: accuracy, scale: 100}
"""
GOLD = ["a", "b"] * 6
SAID = ["a"] * 6 + ["b"] * 6
Change = Callable[[dict[str, Any]], object]


@pytest.fixture
def run(tmp_path: Path) -> Callable[..., Path]:
    """`run("a", SAID, GOLD, change)` writes a run with these responses, its samples changed, and returns its folder."""

    def written(name: str, said: list[str], gold: list[str] = GOLD, change: Change = str) -> Path:
        task, file, folder = tmp_path / "own.yaml", tmp_path / f"{name}.jsonl", tmp_path / name
        task.write_text(TASK)
        rows = [{"id": i, "q": f"{i}?", "a": gold[i], "response": said[i]} for i in range(len(gold))]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows))
        folder.mkdir()
        write_run(score_predictions([str(task)], file).result, folder)
        path = folder / "samples_own.jsonl"
        samples = [json.loads(line) for line in path.read_text().splitlines()]
        for sample in samples:
            change(sample)
        path.write_text("".join(json.dumps(sample) + "\n" for sample in samples))
        return folder

    return written


def asked(sample: dict[str, Any]) -> None:
    """Give a row the hash of a prompt, as rows have that a model was asked."""
    sample["prompt_sha256"] = f"prompt {sample['doc_id']}"


def judged_in_part(sample: dict[str, Any]) -> None:
    """Take the first four rows out of a reading, as a judge does that failed."""
    if sample["doc_id"] < 4:
        sample["readings"]["strict"] |= {"answer": None, "rule": "judge_failed"}


def test_rows_whose_right_answers_differ_are_left_out(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """The gold of the last row was corrected between the runs."""
    a, b = run("a", SAID, GOLD, asked), run("b", GOLD, [*GOLD[:-1], "a"], asked)
    with pytest.raises(MarathonError, match="1 of 12 documents have different right answers"):
        compare_runs(a, b)
    found = compare_runs(a, b, True, limits("own>=-1"))
    task = found["tasks"]["own"]
    assert (task["n_paired"], task["n_other_target"], task["n_only_a"]) == (11, 1, 0)
    assert [flip["doc_id"] for flip in task["flips"]] == [1, 3, 5, 6, 8, 10]
    accuracy = task["readings"]["strict"]["metrics"]["accuracy"]
    assert (accuracy["a"], accuracy["b"]) == (pytest.approx(5 / 11), 1.0)
    assert found["gate"][0]["difference"] == pytest.approx(100 * 6 / 11)
    assert main(["compare", str(a), str(b), "--force"]) == 0
    assert "own: left out because their right answers differ: 1 rows\n" in capsys.readouterr().out


def test_a_letter_and_its_option_are_one_right_answer() -> None:
    row = {"target": "B", "letters": ["A", "B"], "choices": ["rain", "snow"]}
    assert not other_target(row, {**row, "target": "A", "choices": ["snow", "rain"]})
    assert other_target(row, {**row, "target": "A"})
    assert other_target({"target": ["a", "b"]}, {"target": ["a"]})


def test_predictions_in_another_order_are_refused_even_by_force(run: Callable[..., Path]) -> None:
    """Rows of predictions files record no prompt: the same answers in reverse order would be changed rows."""
    a, b = run("a", GOLD), run("b", GOLD[::-1], GOLD[::-1])
    with pytest.raises(MarathonError, match=r"own: 12 of 12 rows of the same number.*--data_dir DIR"):
        compare_runs(a, b, force=True)


def test_rows_that_a_judge_left_out_are_not_in_n(
    run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run("a", SAID), run("b", GOLD, GOLD, judged_in_part)
    found = compare_runs(a, b, force=True)
    strict = found["tasks"]["own"]["readings"]["strict"]
    assert (found["tasks"]["own"]["n_paired"], strict["n"], strict["n_left_out"]) == (12, 8, 4)
    assert {row["reading"]: row["n"] for row in Comparison(found).records()} == {"strict": 8, "upper": 12}
    text = comparison_latex(found)
    assert r" & 8 \\" in text
    assert "own: 4 of 12 documents without a judgement in one run are left out" in text
    assert main(["compare", str(a), str(b), "--force"]) == 0
    printed = capsys.readouterr().out
    ends = [
        line.split()[-1] for line in printed.splitlines() if " accuracy" in line and "strict:" not in line
    ]
    assert ends[:2] == ["8", "12"]
    assert "own, strict: 4 of 12 rows are left out, because one of the runs has no answer" in printed
