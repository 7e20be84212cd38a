"""Tests the flags of lm-eval, the YAML of --config, and what is said of flags that only other harnesses have."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from helpers import make_audiomarathon_data
from marathon_eval.cli.main import main
from marathon_eval.cli.other_harnesses import FLAGS_ELSEWHERE, VERBS_ELSEWHERE
from marathon_eval.cli.verbs._lm_eval_flags import seed_of

TEXT_TASK = (
    "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: 'Q: {{ q }}'\n"
    "doc_to_target: a\ntag: [own_tag, second_tag]\nmetric_list: [{metric: exact_match}]\n"
)
Run = Callable[..., tuple[int, Any, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released layout with four rows a task, and two tasks of text beside it."""
    folder = tmp_path_factory.mktemp("lm_eval")
    make_audiomarathon_data.build(folder / "data", 4)
    rows = [{"q": f"question {n}", "a": f"answer {n}"} for n in range(3)]
    (folder / "tasks").mkdir()
    (folder / "tasks" / "rows.json").write_text(json.dumps(rows))
    (folder / "tasks" / "own_a.yaml").write_text(TEXT_TASK)
    (folder / "tasks" / "own_b.yaml").write_text("include: own_a.yaml\ntag: other_tag\n")
    return folder


@pytest.fixture
def run(folder: Path, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the dummy on flags; return exit code, results.json (or the text that is no JSON), and standard error."""

    def typed(*flags: str, model: bool = True) -> tuple[int, Any, str]:
        first = ["--model", "dummy"] if model else []
        code = main([*first, *flags, "--include_path", str(folder), "--no_cache", "--json"])
        captured = capsys.readouterr()
        try:
            return code, json.loads(captured.out), captured.err
        except ValueError:
            return code, captured.out, captured.err

    return typed


@pytest.mark.parametrize(
    ("names", "tasks"),
    [
        (["own_*"], ["own_a", "own_b"]),
        (["own_[ac]"], ["own_a"]),
        (["second_tag"], ["own_a"]),
        (["other_tag,own_a"], ["own_b", "own_a"]),
        (["own_tag", "own_?"], ["own_a", "own_b"]),
        (["FOLDER/tasks/own_b.yaml"], ["own_b"]),
        (["FOLDER/tasks"], ["own_a", "own_b"]),
    ],
)
def test_tasks_by_pattern_tag_and_path(run: Run, folder: Path, names: list[str], tasks: list[str]) -> None:
    code, results, _ = run("--tasks", *(name.replace("FOLDER", str(folder)) for name in names))
    assert code == 0
    assert list(results["tasks"]) == tasks


@pytest.mark.parametrize(
    ("names", "parts"),
    [
        ("vax_*", ["no task that matches 'vax_*'", "Did you mean vox_age?"]),
        ("own_tug", ["no task 'own_tug'", "Did you mean own_"]),
        ("FOLDER", ["the folder holds no .yaml file"]),
    ],
)
def test_a_name_that_stands_for_nothing(run: Run, folder: Path, names: str, parts: list[str]) -> None:
    code, _, error = run("--tasks", names.replace("FOLDER", str(folder / "data")))
    assert code == 2
    assert all(part in error for part in parts), error


def test_a_shipped_tag_is_a_group_of_its_tasks(run: Run, folder: Path) -> None:
    _, results, _ = run("--tasks", "vo[x]_*", "--data_dir", str(folder / "data"), "--limit", "1")
    assert list(results["tasks"]) == ["vox_age", "vox_gender"]
    assert results["config"]["tasks"] == ["vox_age", "vox_gender"]


def test_examples_system_prompt_and_label(run: Run, folder: Path, tmp_path: Path) -> None:
    flags = ("--tasks", "own_a", "--num_fewshot", "2", "--system_instruction", "Be brief")
    code, results, error = run(*flags, "--apply_chat_template", "--write_out", "-o", str(tmp_path))
    assert code == 0
    assert results["condition"] == {"num_fewshot": 2, "system_instruction": "Be brief"}
    first = error.split("first request: row 0 of own_a")[1].split("right answer")[0]
    assert first.count("Q: question") == 3
    assert "system: Be brief" in first
    (sample_file,) = tmp_path.rglob("samples_own_a.jsonl")
    assert "system-prompt" in sample_file.parent.parent.name
    assert "2-examples" in sample_file.parent.parent.name
    # scoring again asks for the same prompts
    assert main(["score", str(tmp_path), "--include_path", str(folder)]) == 0


def test_examples_with_audio_need_a_place_for_the_clip(run: Run, folder: Path) -> None:
    code, _, error = run("--tasks", "gtzan", "--num_fewshot", "1", "--data_dir", str(folder / "data"))
    assert (code, "num_fewshot: examples with audio need <audio> in doc_to_text" in error) == (2, True)
    assert run("--tasks", "own_a", "--num_fewshot", "-1")[0] == 2


def test_show_config_prints_the_merged_task(run: Run) -> None:
    code, _, error = run("--tasks", "own_b", "--show_config")
    assert code == 0
    assert "own_b:\n" in error
    assert "  tag: other_tag\n" in error
    assert "  doc_to_target: a\n" in error


def test_model_arguments_by_flag(run: Run) -> None:
    code, _, error = run("--tasks", "own_a", "--trust_remote_code", "--max_batch_size", "4")
    assert code == 2
    assert "trust_remote_code" in error
    assert "max_batch_size" in error
    code, _, error = run("--tasks", "own_a", "--max_batch_size", "4", "--model_args", "max_batch_size=8")
    assert "--max_batch_size: --model_args has max_batch_size=8" in error


@pytest.mark.parametrize(
    ("text", "seed"),
    [
        ("3", 3),
        ("-1", -1),
        ("0,1,2,3", 2),
        ("0,1234,1234,1234", 1234),
        ("7,7", 7),
        ("None,0,None,0", 0),
        ("1,2", 1),
    ],
)
def test_seeds(text: str, seed: int) -> None:
    assert seed_of(text) == seed


@pytest.mark.parametrize("text", ["", "a", "1,2,3,4,5", "1.5", "1,,2"])
def test_a_seed_that_is_none(run: Run, text: str) -> None:
    code, _, error = run("--tasks", "own_a", f"--seed={text}")
    assert code == 2
    assert "up to four" in error


@pytest.fixture
def log_level() -> Iterator[None]:
    level, handlers = logging.root.level, list(logging.root.handlers)
    yield
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers
    os.environ.pop("TRANSFORMERS_VERBOSITY", None)


@pytest.mark.usefixtures("log_level")
def test_verbosity_error_hides_the_progress(run: Run) -> None:
    assert "running 3 requests" in run("--tasks", "own_a")[2]
    assert "running" not in run("--tasks", "own_a", "--verbosity", "error")[2]
    assert logging.root.level == logging.ERROR
    assert "running 3 requests" in run("--tasks", "own_a", "--verbosity", "DEBUG")[2]


def config(folder: Path, text: str) -> str:
    path = folder / "flags.yaml"
    path.write_text(text)
    return str(path)


def test_a_config_file_holds_flags_and_typed_ones_override(run: Run, tmp_path: Path) -> None:
    text = (
        "model: dummy\nmodel_args: {answer: 'answer 1'}\ntasks: [own_a]\nlimit: 1\nseed: [0, 5, 5, 5]\n"
        "samples:\ngen_kwargs: {max_new_tokens: 9}\nretry_errors: true\nno_log_samples: false\n"
    )
    flags = ("-C", config(tmp_path, text))
    code, results, _ = run(*flags, model=False)
    assert code == 0
    found = results["config"]
    assert (found["limit"], found["seed"], found["retry_errors"], found["log_samples"]) == (1, 5, True, True)
    assert (found["model_args"], found["gen_kwargs"]) == ({"answer": "answer 1"}, {"max_new_tokens": 9})
    _, results, _ = run(*flags, "--limit", "2", "--tasks", "own_b", "--model_args", "answer=x", model=False)
    assert results["config"]["limit"] == 2
    assert list(results["tasks"]) == ["own_b"]
    assert results["config"]["model_args"] == {"answer": "x"}


def test_a_config_file_may_include_another(run: Run, tmp_path: Path) -> None:
    (tmp_path / "base.yaml").write_text("model: dummy\ntasks: own_a\nlimit: 1\n")
    path = config(tmp_path, "include: base.yaml")
    for flag in (f"--config={path}", f"-C{path}"):
        _, results, _ = run(flag, "--limit", "2", model=False)
        assert results["config"]["limit"] == 2


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("tasks: own_a\nmodle: dummy\n", ["flags.yaml:2: 'modle' is no flag", "Did you mean --model?"]),
        ("tasks: own_a\njson: 3\n", ["flags.yaml:2: json: must be true or false, got 3"]),
        ("tasks: own_a\nlimit: {a: 1}\n", ["flags.yaml:2: limit: takes no mapping", "model_args"]),
        ("limit: 1\nlimit: 2\n", ["flags.yaml:2", "limit"]),
        ("- a\n", ["flags.yaml"]),
        ("limit: many\n", ["--limit", "many"]),
    ],
)
def test_a_mistake_in_a_config_file_is_one_line(
    run: Run, tmp_path: Path, text: str, parts: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code, _, error = run("--tasks", "own_a", "-C", config(tmp_path, text))
    except SystemExit as refused:
        code, error = refused.code, capsys.readouterr().err
    assert code == 2
    assert all(part in error for part in parts), error
    assert error.count("\n") == 1


def test_a_config_file_that_is_not_there_or_twice(run: Run, tmp_path: Path) -> None:
    assert "nothing.yaml: no such file" in run("-C", "nothing.yaml")[2]
    path = config(tmp_path, "limit: 1")
    assert "one file" in run("-C", path, "--config", path)[2]


@pytest.mark.parametrize("flag", FLAGS_ELSEWHERE)
def test_a_flag_of_another_harness_says_what_to_write(flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["--model", "dummy", "--tasks", "gtzan", flag, "x"])
    assert refused.value.code == 2
    error = capsys.readouterr().err
    assert f"{flag} is {FLAGS_ELSEWHERE[flag].harness}'s. Write here: {FLAGS_ELSEWHERE[flag].here}" in error


@pytest.mark.parametrize("verb", VERBS_ELSEWHERE)
def test_a_verb_of_another_harness_says_what_to_write(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "x"]) == 2
    assert VERBS_ELSEWHERE[verb].here in capsys.readouterr().err


def test_the_page_of_other_harnesses_lists_each_hint() -> None:
    page = (Path(__file__).parents[2] / "docs" / "other_harnesses.md").read_text(encoding="utf-8")
    for flag, elsewhere in FLAGS_ELSEWHERE.items():
        assert f"| `{flag}` | {elsewhere.here} |" in page
    for verb, elsewhere in VERBS_ELSEWHERE.items():
        assert f"| `inspect {verb}` | {elsewhere.here} |" in page
