"""Tests that YAMLs of lm-evaluation-harness 0.4.13 run unchanged, and unsupported keys are refused by line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from helpers.minimal_task import make_task
from marathon_eval import simple_evaluate
from marathon_eval.api.model import Response
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.task.task import Task, load_task

FOLDER = Path(__file__).resolve().parents[1] / "lm_eval_yaml"
FILES = sorted(FOLDER.glob("*.yaml"))


def load(path: Path) -> Task:
    task = load_task(path, Registry().task_path)
    assert isinstance(task, Task)
    return task


def scores(task: Task, row: int, *texts: str) -> dict[str, float | None]:
    """The first metric of every reading."""
    sample = task.score(task.docs().docs[row], [Response(text) for text in texts])
    assert sample.status == "ok", sample.error
    return {name: next(iter(reading.scores.values())) for name, reading in sample.readings.items()}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_they_are_valid_and_run(path: Path) -> None:
    assert validate_task(path, Registry().task_path) == []
    result = simple_evaluate("dummy", [str(path)], {"answer": "none"}, no_cache=True)
    assert result.tasks[path.stem].coverage == 1.0
    assert result.tasks[path.stem].n_meta == len(load(path).docs().docs)


def test_there_are_enough_of_them() -> None:
    assert len(FILES) >= 5


def test_solved_examples_are_put_together_as_lm_eval_does() -> None:
    task = load(FOLDER / "regex_first.yaml")
    request = task.requests(task.docs().docs[1])[0]
    assert request.prompt == (
        "Question: One and one?\nAnswer: That is 2. #### 2\n\n"
        "Question: Two and two?\nAnswer: That is 4. #### 4\n\n"
        "Question: Ten eggs, two broke. How many are whole?\nAnswer:"
    )
    assert request.generation.stop == ("Question:", "</s>")
    assert request.generation.max_new_tokens == 256
    assert (request.generation.temperature, request.generation.seed) == (0.0, None)


def test_regex_readings_and_the_options_of_exact_match() -> None:
    task = load(FOLDER / "regex_first.yaml")
    assert scores(task, 2, "2 * 1500\n#### 3000") == {"strict-match": 1.0, "flexible-extract": 1.0}
    assert scores(task, 2, "It is $3,000.") == {"strict-match": 0.0, "flexible-extract": 1.0}
    assert scores(task, 0, "13 jars") == {"strict-match": 0.0, "flexible-extract": 0.0}


def test_multi_choice_regex_reads_the_rows_own_choices() -> None:
    task = load(FOLDER / "multiple_choice_regex.yaml")
    request = task.requests(task.docs().docs[0])[0]
    assert request.prompt.startswith("Answer with the letter in brackets.\n\nQ: Rain is wet.")
    assert "(A) wet (B) dry (C) loud" in request.prompt
    assert scores(task, 1, "Stone is soft? No. So (B)") == {"flexible-extract": 1.0}
    assert scores(task, 1, "It must be hard") == {"flexible-extract": 1.0}
    assert scores(task, 1, "(A)") == {"flexible-extract": 0.0}


def test_repeats_are_seeded_apart_and_voted_on() -> None:
    task = load(FOLDER / "self_consistency.yaml")
    requests = task.requests(task.docs().docs[0], seed=7)
    assert [request.generation.seed for request in requests] == [7, 8, 9, 10, 11]
    assert len({request.prompt for request in requests}) == 1
    texts = [f"The answer is {number}" for number in (5, 12, 5, 12, 12)]
    assert scores(task, 0, *texts) == {"score-first": 0.0, "maj@5": 1.0, "maj@3": 0.0}


def test_any_of_several_references_is_right() -> None:
    task = load(FOLDER / "several_references.yaml")
    assert task.docs().docs[1].target == ("mercury", "quicksilver")
    assert scores(task, 1, " Quicksilver!") == {"remove_whitespace": 1.0}
    assert scores(task, 1, "lead") == {"remove_whitespace": 0.0}


def test_given_examples_prefix_and_delimiters() -> None:
    task = load(FOLDER / "given_examples.yaml")
    assert task.requests(task.docs().docs[0])[0].prompt == (
        "Q: Which gas do we breathe?\nA: oxygen\n--\nQ: Which planet is red?\nA:"
    )


def test_drawn_examples_leave_the_document_out_and_do_not_move_with_the_limit() -> None:
    task = load(FOLDER / "drawn_examples.yaml")
    whole, one = task.docs().docs, task.docs(samples=[2]).docs
    prompts = [task.requests(doc)[0].prompt for doc in whole]
    assert task.requests(one[0])[0].prompt == prompts[2]
    for doc, prompt in zip(whole, prompts, strict=True):
        assert prompt.count(doc.fields["question"]) == 1
        assert prompt.count("####") == 2


def test_drawn_examples_are_the_same_in_every_run_and_not_the_same_for_every_document(tmp_path: Path) -> None:
    rows = [{"q": f"question {number}", "a": f"answer {number}"} for number in range(40)]
    keys = "doc_to_text: q\ndoc_to_target: a\nnum_fewshot: 3\n"
    drawn = [[row["q"] for row in doc.examples] for doc in make_task(tmp_path, keys, rows).docs().docs]
    assert drawn == [
        [row["q"] for row in doc.examples] for doc in make_task(tmp_path, keys, rows).docs().docs
    ]
    assert all(doc["q"] not in examples for doc, examples in zip(rows, drawn, strict=True))
    assert len({tuple(examples) for examples in drawn}) > 30
    with pytest.raises(MarathonError, match="num_fewshot: 3, but there are only 2 other rows"):
        make_task(tmp_path, keys, rows[:3]).docs()


BASE: Sequence[str] = (
    "dataset_path: json",
    "dataset_kwargs: {data_files: x.jsonl}",
    'doc_to_text: "{{ q }}"',
    "doc_to_target: a",
)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("output_type: loglikelihood", "'loglikelihood' is not supported here: answers are generated"),
        ("output_type: multiple_choice", "'multiple_choice' is not supported here: .* use generate_until"),
        ("output_type: loglikelihood_rolling", "'loglikelihood_rolling' is not supported here"),
        ("process_docs: !function utils.process_docs", "the tag '!function' is not supported here"),
        ("process_results: utils.f", "'process_results' is not supported here"),
        ("class: my.Task", "'class' is not supported here"),
        ("custom_dataset: my.f", "'custom_dataset' is not supported here"),
        ("use_prompt: promptsource:x", "'use_prompt' is not supported here"),
        ("doc_to_image: picture", "'doc_to_image' is not supported here"),
        ("full_docs: true", "'full_docs: true' is not supported here"),
        ("reasoning_tags: ['<think>', '</think>']", "'reasoning_tags' is not supported here"),
        ("unsafe_code: true", "'unsafe_code: true' is not supported here"),
        ("task_list: [{task: a}]", "'task_list' is not supported here"),
        ("process_docs: utils_process", "process_docs: no built-in row step 'utils_process'"),
        ("generation_kwargs: {num_beams: 4}", "num_beams: decode greedily or sample"),
        ("generation_kwargs: {do_sample: false, temperature: 0.7}", "contradict each other"),
        ("metric_list: [{metric: acc_norm}]", "'acc_norm' is not supported here"),
        ("filter_list: [{name: x, filter: [{function: custom}]}]", "'custom' is not supported here"),
        ("repeats: 3", "3 greedy responses to one request are all the same"),
    ],
)
def test_what_cannot_work_is_refused_by_name_and_line(tmp_path: Path, line: str, said: str) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("\n".join([*BASE, line]) + "\n")
    with pytest.raises(MarathonError, match=rf"task\.yaml:5: .*{said}|task\.yaml:5: {said}"):
        load(path)


def test_switched_off_keys_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "task.yaml"
    path.write_text(
        "\n".join(
            [
                *BASE,
                "should_decontaminate: false",
                "unsafe_code: false",
                "use_prompt: null",
                "dataset_name: null",
                "description: null",
            ]
        )
    )
    assert load(path).name == "task"


def test_keys_without_effect_are_accepted_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "task.yaml"
    path.write_text("\n".join([*BASE, "should_decontaminate: true", "doc_to_decontamination_query: q"]))
    assert load(path).name == "task"
    said = capsys.readouterr().err
    for line, key in ((5, "should_decontaminate"), (6, "doc_to_decontamination_query")):
        assert f"task.yaml:{line}: {key} has no effect here" in said
