"""Tests `marathon_eval.score`: it gives what the verb `score` gives, and refuses what that refuses."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import marathon_eval
from conftest import ROOT
from helpers.minimal_task import write_task
from marathon_eval import MarathonError, score, simple_evaluate
from marathon_eval.cli.main import main
from marathon_eval.cli.verbs.score import typed_settings
from marathon_eval.evaluator.rescore import from_python
from marathon_eval.results.files import newest_run, read_results

KEYS = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\nmetadata: {version: 1}\n"
ROWS = [{"q": f"{place}?", "a": "AB"[place % 2]} for place in range(8)]


@pytest.fixture
def ran(tmp_path: Path) -> Path:
    """Run `dummy`, which answers A, and correct the gold afterwards: A is right in every row."""
    task = write_task(tmp_path, KEYS, ROWS)
    runs = tmp_path / "runs"
    first = simple_evaluate("dummy", [str(task)], no_cache=True, output_path=runs, run_name="mine")
    assert first["results"]["own"]["exact_match,none"] == 0.5
    write_task(tmp_path, KEYS, [{**row, "a": "A"} for row in ROWS])
    return tmp_path


def test_a_run_is_scored_by_the_task_file_of_today(ran: Path) -> None:
    run = score(ran / "runs", include_path=ran)
    assert run["results"]["own"]["exact_match,none"] == 1.0
    assert (run.cache["misses"], run.config["run_name"]) == (0, "mine")
    assert str(run).startswith("mine\n")
    assert len({*ran.glob("**/results.json")}) == 1, "nothing is written without output_path"


def test_it_writes_what_the_verb_writes(ran: Path) -> None:
    folder = newest_run(ran / "runs")
    score(str(folder), include_path=[str(ran)], output_path=ran / "python")
    assert main(["score", str(folder), "--include_path", str(ran), "-o", str(ran / "verb")]) == 0
    of_python, of_verb = (newest_run(ran / name) for name in ("python", "verb"))
    one, other = read_results(of_python), read_results(of_verb)
    assert {key for key in one if one[key] != other[key]} <= {"wall_s"}
    samples = [(each / "samples_own.jsonl").read_text() for each in (of_python, of_verb)]
    assert samples[0] == samples[1]
    assert of_python.parent.name == of_verb.parent.name


def test_a_predictions_file_is_scored(ran: Path) -> None:
    path = ran / "predictions.json"
    path.write_text(json.dumps([{**row, "prediction": row["a"]} for row in ROWS]))
    found = score(tasks=["own"], predictions=path, include_path=ran)
    assert found["results"]["own"]["exact_match,none"] == 1.0
    renamed = ran / "renamed.json"
    renamed.write_text(json.dumps([{**row, "said": row["a"]} for row in ROWS]))
    assert (
        score(tasks=["own"], predictions=renamed, prediction_key="said", include_path=ran)
        .to_pandas()["outcome"]
        .tolist()
        == ["right"] * 8
    )


def test_trusted_task_code_scores_predictions(ran: Path) -> None:
    (ran / "own_code.py").write_text("def ask(row):\n    return row['q']\n")
    write_task(ran, KEYS.replace("doc_to_text: q", "doc_to_text: !function own_code.ask"), ROWS)
    path = ran / "predictions.json"
    path.write_text(json.dumps([{**row, "prediction": row["a"]} for row in ROWS]))
    with pytest.raises(MarathonError, match="--trust_task_code"):
        score(tasks=["own"], predictions=path, include_path=ran)
    run = score(tasks=["own"], predictions=path, include_path=ran, trust_task_code=True)
    assert run["results"]["own"]["exact_match,none"] == 1.0
    verb = ["score", "--tasks", "own", "--predictions", str(path), "--include_path", str(ran)]
    assert main(verb) == 2
    assert main([*verb, "--trust_task_code"]) == 0


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({}, "give either the folder of a run, or predictions= and tasks="),
        ({"predictions": "y"}, "give either the folder of a run, or predictions= and tasks="),
        ({"tasks": ["own"]}, "give either the folder of a run, or predictions= and tasks="),
        ({"run": "x", "predictions": "y"}, "belong together"),
        ({"run": "x", "tasks": ["own"]}, "belong together"),
        ({"run": "x", "subset": "full"}, "belong together"),
        ({"run": "x", "prediction_key": "said"}, "belong together"),
        ({"run": 7}, "run: must be a path, got 7"),
        ({"tasks": ["own"], "predictions": 7}, "predictions: must be a path, got 7"),
        ({"run": "no/such"}, "no/such: no results.json here or below"),
        ({"run": "x", "limit": 5}, "score: no argument 'limit'"),
        ({"run": "x", "judge_modell": "dummy"}, "Did you mean judge_model"),
        ({"tasks": "own", "predictions": "y"}, "tasks: must be a list of names"),
        ({"run": "x", "no_cache": "yes"}, "no_cache: input should be a valid boolean"),
    ],
)
def test_a_mistake_is_one_line(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(MarathonError, match=fault) as told:
        score(**given)
    assert "\n" not in str(told.value)


def test_the_verb_refuses_what_is_for_predictions_alone(ran: Path, capsys: Any) -> None:
    for flag in ("--subset", "--prediction_key"):
        capsys.readouterr()
        assert main(["score", str(ran / "runs"), "--include_path", str(ran), flag, "x"]) == 2
        assert "are for --predictions" in capsys.readouterr().err


def test_a_stored_path_is_not_opened_and_what_is_not_used_is_said(
    ran: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(MarathonError, match="to open it, type --include_path"):
        score(ran / "runs")
    file = newest_run(ran / "runs") / "results.json"
    results = json.loads(file.read_text())
    results["config"]["judge_model"] = "evil\x1b[2J"
    file.write_text(json.dumps(results))
    capsys.readouterr()
    score(ran / "runs", include_path=ran)
    said = capsys.readouterr().err
    assert "type --judge_model" in said
    assert "\x1b" not in said


def test_its_arguments_are_the_verb_s_flags() -> None:
    arguments = set(inspect.signature(score).parameters)
    assert set(from_python._TYPED) | {"subset", "tasks", "output_path"} <= arguments
    flags = set(inspect.getsource(typed_settings).split('"')) & arguments
    assert flags == set(from_python._TYPED)


def test_the_page_s_example_runs(ran: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
    (block,) = (part for part in page.split("```python\n")[1:] if "score(" in part.partition("```")[0])
    (ran / "mine").mkdir()
    for name in ("own.yaml", "rows.json"):
        (ran / name).rename(ran / "mine" / name)
    monkeypatch.chdir(ran)
    names: dict[str, Any] = {}
    exec(compile(block.partition("```")[0], "python.md", "exec"), names)  # noqa: S102 - the page's own words
    assert names["again"]["results"]["own"]["exact_match,none"] == 1.0
    assert (ran / "runs" / "again").is_dir()


def test_the_name_is_imported_when_it_is_used() -> None:
    assert "score" in marathon_eval.__all__
    code = (
        "import sys, marathon_eval\n"
        "assert not [name for name in sys.modules if name.startswith('marathon_eval.')], 'imported at once'\n"
        "marathon_eval.score\n"
        "assert 'torch' not in sys.modules and 'pandas' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
