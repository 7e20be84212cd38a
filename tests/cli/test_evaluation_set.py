"""Tests evaluation sets: which runs a file of lists stands for, and how they go on, fail and end."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import write_task
from marathon_eval.cli.evaluation_set import runs_of_set
from marathon_eval.cli.main import main, verb_parser

#: A model that, for each prompt, raises or fails the first N times that it is asked. State is in files beside it.
SHAKY = """
from pathlib import Path
from marathon_eval.api.model import Model, Response

class Shaky(Model):
    def generate(self, requests):
        for request in requests:
            log = Path(__file__).with_name("asked.txt")
            asked = log.read_text().splitlines() if log.exists() else []
            log.write_text("\\n".join([*asked, request.prompt]))
            if request.prompt not in asked and request.prompt == "two":
                KIND
            yield request, Response("x")
"""
FAILS = 'yield request, Response.failed("server busy"); continue'
STOPS = "raise KeyboardInterrupt"
Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    rows = [{"q": q, "a": "x"} for q in ("one", "two", "three")]
    keys = "doc_to_text: q\ndoc_to_target: a\nmetric_list: [{metric: exact_match}]\n"
    return write_task(tmp_path, keys, rows)


@pytest.fixture
def run(tmp_path: Path, task: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a set on the task of three rows, with results and cache below tmp_path."""

    def typed(text: str, *flags: str) -> tuple[int, str, str]:
        common = f"tasks: [{task}]\noutput_path: {tmp_path / 'out'}\nuse_cache: {tmp_path / 'cache'}\n"
        (tmp_path / "board.yaml").write_text(common + text)
        code = main(["-C", str(tmp_path / "board.yaml"), *flags])
        shown = capsys.readouterr()
        return code, shown.out, shown.err

    return typed


def shaky(tmp_path: Path, kind: str) -> Path:
    path = tmp_path / "shaky.py"
    path.write_text(SHAKY.replace("KIND", kind))
    return path


def found_runs(tmp_path: Path, text: str, *words: str) -> list[tuple[str, Any]]:
    path = tmp_path / "board.yaml"
    path.write_text(text)
    parser = verb_parser("run")
    runs = runs_of_set(parser, ["-C", str(path), *words])
    assert runs is not None
    return [(each.name, parser.parse_args(each.words)) for each in runs]


def test_the_runs_are_all_combinations(tmp_path: Path) -> None:
    text = (
        "tasks: [gtzan, race]\nlimit: 5\n"
        "models:\n"
        "- {model: qwen_omni, model_args: {pretrained: nano}, batch_size: 2}\n"
        "- {model: whisper, model_args: 'identity=4.10', presses: [none], conditions: [none, {limit: 3}]}\n"
        "presses: [none, {press: dart, ratio: [0.3, 0.5], layer: 2}]\n"
        "conditions: [none, {no_audio: true}]\n"
    )
    runs = found_runs(tmp_path, text, "--seed", "7")
    assert [name for name, _ in runs] == [
        "qwen_omni pretrained=nano",
        "qwen_omni pretrained=nano, no_audio",
        "qwen_omni pretrained=nano, press=dart ratio=0.3 layer=2",
        "qwen_omni pretrained=nano, press=dart ratio=0.3 layer=2, no_audio",
        "qwen_omni pretrained=nano, press=dart ratio=0.5 layer=2",
        "qwen_omni pretrained=nano, press=dart ratio=0.5 layer=2, no_audio",
        "whisper identity=4.10",
        "whisper identity=4.10, limit=3",
    ]
    arguments = [found for _, found in runs]
    assert {tuple(found.tasks) for found in arguments} == {("gtzan", "race")}
    assert {found.seed for found in arguments} == {"7"}
    assert [found.limit for found in arguments] == [5] * 7 + [3]
    assert [found.no_audio for found in arguments] == [None, "silence"] * 3 + [None, None]
    assert [found.batch_size for found in arguments] == ["2"] * 6 + [None] * 2
    pressed = {"pretrained": "nano", "press": "dart", "ratio": 0.5, "layer": 2}
    assert json.loads(arguments[4].model_args) == pressed
    assert arguments[6].model_args == "identity=4.10", "a number in text stays text"


def test_a_file_with_one_model_may_have_presses_or_conditions(tmp_path: Path) -> None:
    runs = found_runs(
        tmp_path,
        "model: dummy\nmodel_args: answer=A\ntasks: gtzan\npresses: [none, {press: dart, ratio: 0.5}]",
    )
    assert [found.model_args for _, found in runs] == ["answer=A", "answer=A,press=dart,ratio=0.5"]
    runs = found_runs(
        tmp_path, "model: dummy\ntasks: gtzan\nconditions: [{limit: 1}, {limit: 2}, {limit: 1}]"
    )
    assert [found.limit for _, found in runs] == [1, 2], "what is given twice is run once"


@pytest.mark.parametrize(
    ("text", "words", "parts"),
    [
        ("models: dummy", [], ["board.yaml:4: models: must be a list"]),
        ("models: []", [], ["board.yaml:4: models: must be a list with at least one entry"]),
        ("models:\n- {model_args: {a: 1}}", [], ["board.yaml:5: models: an entry is a model's name"]),
        ("models: [dummy]\npresses: [{ratio: 0.5}]", [], ["board.yaml:5: presses: an entry is none"]),
        ("models: [dummy]\nconditions: [3]", [], ["board.yaml:5: conditions: an entry is none"]),
        ("models: [dummy]\nconditions:\n- {limt: 3}", [], ["board.yaml:6: 'limt' is no flag", "--limit?"]),
        ("models: [dummy]\nconditions:\n- {model: x}", [], ["board.yaml:6: conditions: model belongs to"]),
        ("models:\n- {model: dummy, output_path: x}", [], ["board.yaml:5: output_path is of the whole set"]),
        (
            "models:\n- {model: dummy, model_args: press=dart}\npresses: [{press: dart}]",
            [],
            ["board.yaml:5: model_args: has press=, and `presses` gives one"],
        ),
        ("models: [dummy]", ["--model", "dummy"], ["--model: the runs of", "board.yaml:4 have their own"]),
        ("model: dummy\npresses: [none]", ["-a", "b=1"], ["--model_args: the runs of", "board.yaml:5"]),
    ],
)
def test_a_mistake_is_one_line_with_its_place(
    run: Run, text: str, words: list[str], parts: list[str]
) -> None:
    code, out, error = run(text, *words)
    assert (code, out) == (2, "")
    assert all(part in error for part in parts), error
    assert error.count("\n") == 1


def test_all_wrong_runs_are_named_before_anything_is_asked(run: Run, tmp_path: Path) -> None:
    code, _, error = run("models: [dummy, {model: dummy, model_args: {anser: A}}, dumy]")
    assert code == 2
    assert "anser" in error
    assert "(run: dummy anser=A)" in error
    assert "no model 'dumy'" in error
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").rglob("results.json"))


SET = "models: [{model: dummy, model_args: {answer: x}}, dummy]\nconditions: [none, {limit: 2}]\n"


def test_one_table_one_code_and_a_second_time_nothing_is_asked_or_written(run: Run, tmp_path: Path) -> None:
    code, out, error = run(SET)
    assert code == 0, error
    assert out.split()[:3] == ["run", "own", "exact_match"]
    rows = [
        re.split(r"\s{2,}", line.strip()) for line in out.splitlines() if line.strip().startswith("dummy")
    ]
    assert {name: value for name, value in rows} == {
        "dummy answer=A": "0.0000 [n too small (3 of 6 rows)]",
        "dummy answer=A (limit 2)": "0.0000 [n too small (2 of 6 rows)]",
        "dummy answer=x": "1.0000 [n too small (3 of 6 rows)]",
        "dummy answer=x (limit 2)": "1.0000 [n too small (2 of 6 rows)]",
    }
    assert "4 runs, 4 complete, 6 responses requested." in out
    assert "run 3 of 4: dummy" in error
    written = sorted((tmp_path / "out").rglob("results.json"))
    assert len(written) == 4
    code, again, error = run(SET)
    assert (code, "4 runs, 4 complete, 0 responses requested." in again) == (0, True)
    assert sorted((tmp_path / "out").rglob("results.json")) == written
    code, out, _ = run(SET, "--json")
    found = json.loads(out)
    assert [each["whole"] for each in found["runs"]] == [True] * 4
    assert len(found["leaderboard"]["rows"]) == 4


def test_a_run_that_is_refused_keeps_no_other_from_running(run: Run, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    models = f"models: [{{model: whisper, model_args: {{pretrained: {tmp_path / 'empty'}}}}}, dummy]\n"
    code, out, error = run(models)
    assert code == 2
    assert f"NOT RUN: whisper pretrained={tmp_path / 'empty'}: " in out
    assert "2 runs, 1 complete, 3 responses requested." in out
    assert error.count("marathon-eval: error: ") == 1


def test_an_interrupted_set_goes_on_where_it_stopped(run: Run, tmp_path: Path) -> None:
    models = f"models: [{{model: dummy}}, {{model: {shaky(tmp_path, STOPS)}}}, {{model: dummy, model_args: {{answer: x}}}}]\n"
    code, out, error = run(models)
    assert code == 130
    assert "NOT REACHED: dummy answer=x" in out
    assert "FAILED" not in out
    assert "1 rows of the interrupted run were not asked. INTERRUPTED: the same command goes on where" in out
    assert "not asked" not in error, "no reason of a failure"
    code, out, _ = run(models)
    assert code == 0
    assert "3 runs, 3 complete, 4 responses requested." in out, (
        "one of the model that stopped, three of the last"
    )
    assert (tmp_path / "asked.txt").read_text().split().count("one") == 1


def test_retry_asks_again_what_failed(run: Run, tmp_path: Path) -> None:
    models = f"models: [{shaky(tmp_path, FAILS)}, dummy]\n"
    code, out, error = run(models)
    assert code == 3
    assert "1 rows FAILED; --retry asks them again." in out
    assert "server busy" in error
    (tmp_path / "asked.txt").unlink()
    code, out, _ = run(models, "--retry")
    assert code == 0
    assert "2 runs, 2 complete, 2 responses requested." in out, "the failure alone, once in each round"
    assert (tmp_path / "asked.txt").read_text().split() == ["two", "two"]


def test_retry_of_a_single_run(task: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = [
        "--model",
        str(shaky(tmp_path, FAILS)),
        "-t",
        str(task),
        "-c",
        str(tmp_path / "cache"),
        "--retry",
        "3",
    ]
    assert main(flags) == 0
    assert "what failed is asked again" in capsys.readouterr().err
    assert (tmp_path / "asked.txt").read_text().split() == ["one", "three", "two", "two"]
    assert main([*flags, "--no_cache"]) == 2
    assert "--no_cache would ask everything again" in capsys.readouterr().err
    assert main([*flags, "--max_requests", "2"]) == 2
    assert "--retry: cannot be combined with a budget" in capsys.readouterr().err


def test_a_dry_run_of_a_set_asks_nothing(run: Run, tmp_path: Path) -> None:
    code, out, _ = run(SET, "--dry_run")
    assert code == 0
    assert out.count("requests to run on") == 4
    assert "run: dummy answer=x, limit=2" in out
    assert json.loads(run(SET, "--dry_run", "--json")[1])["runs"]["dummy"]["costs"][0]["misses"] == 3
    assert not list((tmp_path / "out").rglob("results.json"))


def test_other_verbs_refuse_a_set(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "board.yaml").write_text("models: [dummy]\ntasks: gtzan\n")
    assert main(["sweep", "-C", str(tmp_path / "board.yaml"), "--presses", "none"]) == 2
    assert "board.yaml:1: 'models' makes an evaluation set, which `marathon-eval run` takes" in (
        capsys.readouterr().err
    )
