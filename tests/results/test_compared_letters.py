"""Tests the comparison of rows whose options are texts such as "B", which are also letters of options."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.minimal_task import write_task
from marathon_eval.cli.main import main
from marathon_eval.results.compare import compare_runs
from marathon_eval.results.files import newest_run

KEYS = """doc_to_text: q
doc_to_target: a
doc_to_choice: options
gold_is: {gold_is}
filter_list: [{{name: strict, filter: [{{function: take_first}}]}}]
metric_list: [{{metric: exact_match, choice_forms: true}}]
"""


@pytest.mark.parametrize(("gold_is", "options"), [("any_text", "DCBA"), ("option", "ABCD")])
def test_targets_that_are_letters_are_read_as_the_run_read_them(
    tmp_path: Path, gold_is: str, options: str
) -> None:
    golds = ["A", "B", "C", "D"] * 2 + ["B", "B"]
    rows = [{"q": f"{place}?", "a": gold, "options": list(options)} for place, gold in enumerate(golds)]
    task = str(write_task(tmp_path, KEYS.format(gold_is=gold_is), rows))
    for answer in "AB":
        model = ["--model", "dummy", "--model_args", f"answer={answer}", "--no_cache"]
        assert main([*model, "--tasks", task, "--output_path", str(tmp_path / answer)]) == 0
    both = compare_runs(*(newest_run(tmp_path / answer) for answer in "AB"))
    exact = both["tasks"]["own"]["readings"]["strict"]["metrics"]["exact_match"]
    assert exact["reason"] is None
    assert exact["difference"] == pytest.approx(exact["b"] - exact["a"])
    assert exact["ci95"] is not None
