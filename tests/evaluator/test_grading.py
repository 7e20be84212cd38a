"""Tests the general judge's keys, schemas and what is read of its replies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.judged_run import JUDGE
from helpers.minimal_task import KEYS, make_task, write_task
from marathon_eval import simple_evaluate
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.grading import Grading
from marathon_eval.evaluator.validate_task import validate_task
from marathon_eval.task.yaml.judge_keys import GradePrompt

ROWS = [
    {"q": "What is heard?", "a": "a dog barks", "theirs": "a cat"},
    {"q": "Who speaks?", "a": "a man", "theirs": "a woman"},
    {"q": "Where is it?", "a": "in a hall", "theirs": "outside"},
]
GRADED = "filter_list:\n  - {name: graded, filter: [{function: judge_grade}]}\n"


def grading(**keys: Any) -> Grading:
    return Grading(GradePrompt.model_validate({"readings": "graded", **keys}))


@pytest.mark.parametrize(
    ("keys", "reply", "expected"),
    [
        ({"scale": [1, 5]}, '{"reason": "good", "grade": 4}', 4),
        ({"scale": [1, 5]}, '```json\n{"grade": 4, "reason": "so {far}"}\n```', 4),
        ({"scale": [1, 5]}, '{"grade": "4"}', 4),
        ({"scale": [1, 5]}, '{"reason": "right,\n\tbut short", "grade": 4}', 4),
        ({"scale": [1, 5]}, "4", 4),
        ({"scale": [1, 5]}, " **4**.\n", 4),
        ({"scale": [1, 5]}, '{"grade": 4.0}', 4),
        ({"scale": [1, 5]}, '{"grade": 4.5}', None),
        ({"scale": [0.0, 1.0]}, '{"grade": 0.25}', 0.25),
        ({"scale": [0, 10]}, ".5", None),
        ({"scale": [1, 5]}, '{"grade": 6}', None),
        ({"scale": [1, 5]}, '{"grade": true}', None),
        ({"scale": [1, 5]}, '{"grade": null}', None),
        ({"scale": [1, 5]}, '{"grade": NaN}', None),
        ({"scale": [1, 5]}, '{"grade": 1e400}', None),
        ({"scale": [1, 5]}, '{"grade": ' + "9" * 5000 + "}", None),
        ({"scale": [1, 5]}, '{"grade": 4} or rather {"grade": 2}', None),
        ({"scale": [1, 5]}, 'Form: {"grade": "<grade>"}. Mine: {"grade": 2}', 2),
        ({"scale": [1, 5]}, "I give it 4 of 5", None),
        ({"scale": [1, 5]}, '{"grades": 4}', None),
        ({"scale": [1, 5]}, "", None),
        ({"scale": [1, 5]}, '{"grade":' * 20_000, None),
        ({"scale": [-2, 2]}, '{"grade": -2}', -2),
        ({"labels": {"right": 1, "partly": 0.5, "wrong": 0}}, '{"grade": "Partly "}', 0.5),
        ({"labels": {"right": 1, "wrong": 0}}, "wrong", 0),
        ({"labels": {"right": 1, "wrong": 0}}, "not right", None),
        ({"labels": {"right": 1, "wrong": 0}}, '{"grade": 1}', None),
    ],
)
def test_one_grade(keys: dict[str, Any], reply: str, expected: float | None) -> None:
    assert grading(**keys).read(reply) == (None if expected is None else {"only": {"grade": expected}})


@pytest.mark.parametrize(
    ("keys", "reply", "said"),
    [
        ({"scale": [1, 5]}, '{"reason": "good", "grade": 7}', "7 is outside 1 to 5"),
        ({"scale": [1, 5]}, '{"grade": "0"}', "0 is outside 1 to 5"),
        ({"scale": [1, 5]}, " **7**.\n", "7 is outside 1 to 5"),
        ({"scale": [1, 5]}, '{"grade": 4.5}', "4.5 is no whole number from 1 to 5"),
        ({"scale": [0.0, 1.0]}, '{"grade": -0.25}', "-0.25 is outside 0 to 1"),
        ({"scale": [1, 5]}, '{"grade": true}', None),
        ({"scale": [1, 5]}, '{"grade": NaN}', None),
        ({"scale": [1, 5]}, '{"grades": 7}', None),
        ({"scale": [1, 5]}, '{"grade": 4} or rather {"grade": 2}', None),
        ({"scale": [1, 5]}, "I give it 7 of 5", None),
        ({"scale": [1, 5], "criteria": ["a", "b"]}, '{"a": 4, "b": 6}', "6 is outside 1 to 5"),
        ({"scale": [1, 5], "criteria": ["a", "b"]}, "7", None),
        ({"scale": [1, 5], "against": "theirs"}, '{"first": 4, "second": 9}', "9 is outside 1 to 5"),
        ({"scale": [1, 5], "against": "theirs"}, '{"first": {"grade": 9}}', "9 is outside 1 to 5"),
        ({"labels": {"right": 1, "wrong": 0}}, '{"grade": "fine"}', "'fine' is none of right, wrong"),
        ({"labels": {"right": 1, "wrong": 0}}, '{"grade": 1}', None),
        ({"labels": {"right": 1, "wrong": 0}}, "not right", None),
    ],
)
def test_a_grade_that_the_task_does_not_have_is_named(
    keys: dict[str, Any], reply: str, said: str | None
) -> None:
    assert grading(**keys).read(reply) is None
    assert grading(**keys).off_scale(reply) == said


@pytest.mark.parametrize(
    ("reply", "expected"),
    [
        ('{"correct": 5, "style": 2}', {"correct": 5, "style": 2}),
        ('{"style": 2, "correct": 5, "more": "words"}', {"correct": 5, "style": 2}),
        ('{"correct": 5}', None),
        ('{"correct": 5, "style": 0}', None),
        ("5", None),
    ],
)
def test_criteria(reply: str, expected: dict[str, float] | None) -> None:
    read = grading(scale=[1, 5], criteria=["correct", {"style": "reads well"}]).read(reply)
    assert read == (None if expected is None else {"only": expected})


def test_pairs_are_read_by_place() -> None:
    plain = grading(scale=[1, 5], against="theirs")
    assert plain.read('{"first": 2, "second": 5}') == {"first": {"grade": 2}, "second": {"grade": 5}}
    assert plain.read('{"first": {"grade": 2}, "second": 5}') == {
        "first": {"grade": 2},
        "second": {"grade": 5},
    }
    assert plain.read('{"first": 2}') is None
    assert plain.read("2 5") is None
    criteria = grading(scale=[1, 5], against="theirs", criteria=["a", "b"])
    read = criteria.read('{"first": {"a": 1, "b": 2}, "second": {"a": 3, "b": 4}}')
    assert read == {"first": {"a": 1, "b": 2}, "second": {"a": 3, "b": 4}}
    assert criteria.read('{"first": {"a": 1}, "second": {"a": 3, "b": 4}}') is None


@pytest.mark.parametrize(
    "keys",
    [
        {"scale": [1, 5]},
        {"scale": [0.0, 1.0], "criteria": ["a", "b"]},
        {"scale": [1, 10], "against": "theirs"},
        {"labels": {"yes": 1, "no": 0}, "against": "theirs", "criteria": ["a"]},
        {"scale": [0, 1000]},
    ],
)
def test_a_reply_by_the_schema_is_read(keys: dict[str, Any]) -> None:
    graded = grading(**keys)
    schema = json.loads(graded.schema())
    assert graded.read(json.dumps(lowest_by(schema))) is not None
    assert set(schema["required"]) == set(schema["properties"])


def lowest_by(schema: dict[str, Any]) -> Any:
    """Return the first value that a schema allows."""
    if schema["type"] == "object":
        return {name: lowest_by(inner) for name, inner in schema["properties"].items()}
    return schema["enum"][0] if "enum" in schema else schema.get("minimum", "")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ("scale: [5, 1]", "worst below best"),
        ("scale: [1, 5, 9]", "at most 2 items"),
        ("scale: [1, .inf]", "worst below best"),
        ("raters: 2", "either scale"),
        ("scale: [1, 5]\n    labels: {a: 1, b: 2}", "either scale"),
        ("labels: {a: 1, A: 2}", "differ in more than case"),
        ("scale: [1, 5]\n    criteria: [a, a]", "same name"),
        ("scale: [1, 5]\n    criteria: [first]", "cannot be named first"),
        ("scale: [1, 5]\n    reference: maybe", "reference"),
        ("scale: [1, 5]\n    referense: none", "Did you mean reference"),
        ("scale: [1, 5]\n    prompt: '{{ respons'", "broken template"),
        ("scale: [1, 5]\n    prompt: '{{ respons }}'", "no row has 'respons'. Did you mean response"),
        ("scale: [1, 5]\n    against: their", "no row has 'their'. Did you mean theirs"),
        ("scale: [1, 5]\n    prompt: '{{ first }}'", "no row has 'first'"),
    ],
)
def test_a_wrong_grade_section_is_told_by_file_and_line(tmp_path: Path, keys: str, said: str) -> None:
    text = f"{KEYS}{GRADED}metric_list: [{{metric: grade}}]\njudge:\n  grade:\n    readings: graded\n    {keys}\n"
    path = write_task(tmp_path, text, ROWS)
    (problem,) = validate_task(path, Registry().task_path)
    assert "own.yaml:" in problem
    assert said in problem


def test_an_unknown_criterion_of_a_metric_is_refused(tmp_path: Path) -> None:
    judge = "judge: {grade: {readings: graded, scale: [1, 5], criteria: [correct]}}\n"
    with pytest.raises(MarathonError, match="no criterion 'corect'. Did you mean correct"):
        make_task(tmp_path, KEYS + GRADED + "metric_list: [{metric: grade, criterion: corect}]\n" + judge)


@pytest.mark.parametrize(
    ("question", "told"),
    [("q", "B. cat"), ("'{{ q }} {{ options }}'", "B"), ("'{{ q }} dog, or what?'", "B. cat")],
)
def test_a_letter_is_told_with_its_option_where_the_question_shows_none(
    tmp_path: Path, question: str, told: str
) -> None:
    script, log = tmp_path / "rules.json", tmp_path / "calls.jsonl"
    script.write_text(json.dumps([{"has": [], "replies": ["3"]}]))
    keys = KEYS.replace("doc_to_text: q", f"doc_to_text: {question}") + GRADED
    keys += "doc_to_choice: [dog, cat]\nchoice_layout: A.\nmetric_list: [{metric: grade}]\n"
    keys += "judge: {grade: {readings: graded, scale: [1, 5]}}\n"
    path = write_task(tmp_path, keys, [{"q": "What is heard?", "a": "B"}])
    judge = {"script": str(script), "log": str(log)}
    simple_evaluate(
        "dummy", [str(path)], {"answer": "a cat"}, judge_model=JUDGE, judge_args=judge, no_cache=True
    )
    assert f"[Right answer]\n{told}\n" in json.loads(log.read_text())[0]
