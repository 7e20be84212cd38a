"""Tests that judged readings without their judge, and judges without their readings, are refused when a task loads."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.minimal_task import KEYS, make_task, write_task
from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_MISTAKE, EXIT_WHOLE, main
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.judge_prompts import check_judge_columns
from marathon_eval.evaluator.validate_task import validate_task

PAIR = "judge: {pair: {readings: graded, prompt: '{{ first }} or {{ second }}'}}\n"
GRADED = "filter_list:\n  - {name: graded, filter: [{function: judge_pair}]}\n"
PLAIN = "filter_list:\n  - {name: plain, filter: [{function: take_first}]}\n"
BOTH = PLAIN + "  - {name: graded, filter: [{function: judge_pair}]}\n"
SCORE = "metric_list: [{metric: judge_score, filter_list: graded}]\n"


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            "metric_list: [{metric: judge_score}]\n",
            r":5: metric_list: 'judge_score' .*'none' has no filter judge_pair",
        ),
        (GRADED + SCORE, r":6: filter_list: .*'graded' uses judge_pair.*add judge: {pair:"),
        (GRADED.replace("pair", "align"), r":6: filter_list: .*add judge: {align:"),
        (
            BOTH + PAIR + "metric_list: [{metric: win_rate}]\n",
            r"'plain' has no filter judge_pair; .*graded \(name them",
        ),
        (
            BOTH + PAIR + "metric_list: [{metric: rubric_score, filter_list: graded}]\n",
            "no filter judge_rubric",
        ),
        (
            BOTH.replace("graded", "rated")
            + PAIR
            + "metric_list: [{metric: judge_score, filter_list: rated}]\n",
            "not list",
        ),
        (PLAIN + PAIR.replace("graded", "plain"), "the filter of 'plain' is not judge_pair"),
    ],
)
def test_what_does_not_fit_is_refused_by_line(tmp_path: Path, keys: str, said: str) -> None:
    with pytest.raises(MarathonError, match=rf"own\.yaml{said}" if said.startswith(":") else said):
        make_task(tmp_path, KEYS + keys)


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("{reading: plan, metric: exact_match}", r"no reading without a judge 'plan'. Did you mean plain"),
        ("{reading: rated, metric: exact_match}", r"no reading without a judge 'rated'"),
        (
            "{reading: plain, metric: exactmatch}",
            r"no metric of 'plain' 'exactmatch'. Did you mean exact_match",
        ),
        ("plain", "judge"),
    ],
)
def test_a_gate_names_a_plain_reading_and_its_metric(tmp_path: Path, gate: str, said: str) -> None:
    keys = PLAIN + "  - {name: rated, filter: [{function: judge_rubric}]}\n"
    keys += "metric_list: [{metric: exact_match, filter_list: plain}, {metric: rubric_score, filter_list: rated}]\n"
    keys += f"judge:\n  rubric:\n    readings: rated\n    prompt: x\n    gate: {gate}\n"
    with pytest.raises(MarathonError, match=said) as caught:
        make_task(tmp_path, KEYS + keys)
    assert "own.yaml:1" in str(caught.value)


def test_a_gate_of_a_kind_without_a_lowest_grade_is_refused(tmp_path: Path) -> None:
    keys = BOTH + PAIR.replace("}}\n", ", gate: {reading: plain, metric: exact_match}}}\n")
    keys += "metric_list: [{metric: exact_match, filter_list: plain}, {metric: judge_score, filter_list: graded}]\n"
    with pytest.raises(MarathonError, match="no lowest grade"):
        make_task(tmp_path, KEYS + keys.replace("'{{ first }} or {{ second }}'", "x"))


def judged_file(folder: Path, prompt: str) -> Path:
    rows = [{"q": "What is heard?", "a": "a dog", "hint": "bark"}]
    judge = f"judge: {{pair: {{readings: graded, prompt: '{prompt}'}}}}\n"
    return write_task(folder, KEYS + GRADED + SCORE + judge, rows)


@pytest.mark.parametrize(
    ("name", "nearest"), [("respons", "response"), ("hin", "hint"), ("secnd", "second"), ("target", "")]
)
def test_validate_and_a_run_name_what_no_row_has(tmp_path: Path, name: str, nearest: str) -> None:
    path = judged_file(tmp_path, f"{{{{ first }}}} {{{{ {name} }}}}")
    (problem,) = validate_task(path, Registry().task_path)
    assert "own.yaml" in problem
    assert f"no row has '{name}'" in problem
    assert not nearest or f"Did you mean {nearest}" in problem


def test_names_that_rows_and_judging_have_are_accepted(tmp_path: Path) -> None:
    path = judged_file(tmp_path, "{{ q }} {{ hint }} {{ first }} {{ second }} {{ response }} {{ reasoning }}")
    assert validate_task(path, Registry().task_path) == []


def test_a_run_refuses_the_name_before_anything_is_asked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = judged_file(tmp_path, "{{ first }} {{ secnd }}")
    flags = ["--model", "dummy", "--tasks", str(path), "--no_cache", "--judge_model", "dummy"]
    assert main(flags) == EXIT_MISTAKE
    assert "no row has 'secnd'. Did you mean second" in capsys.readouterr().err


def test_columns_of_any_row_count(tmp_path: Path) -> None:
    task = make_task(
        tmp_path, KEYS + GRADED + SCORE + "judge: {pair: {readings: graded, prompt: '{{ hint }}'}}\n"
    )
    with pytest.raises(MarathonError, match="no row has 'hint'"):
        check_judge_columns(task, [])


def test_a_stored_run_that_is_judged_later_refuses_it_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = "filter_list:\n  - {name: plain, filter: [{function: take_first}]}\n"
    rows = [{"q": "What is heard?", "a": "a dog"}]
    path, out = write_task(tmp_path, KEYS + plain, rows), str(tmp_path / "out")
    assert main(["--model", "dummy", "--tasks", str(path), "--no_cache", "-o", out]) == EXIT_WHOLE
    judged_file(tmp_path, "{{ first }} {{ secnd }}")
    capsys.readouterr()
    again = ["score", out, "--judge_model", "dummy", "--output_path", str(tmp_path / "again"), "--no_cache"]
    assert main([*again, "--include_path", str(tmp_path)]) == EXIT_MISTAKE
    assert "no row has 'secnd'. Did you mean second" in capsys.readouterr().err
