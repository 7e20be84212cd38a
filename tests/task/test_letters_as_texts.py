"""Tests rows whose option texts are letters themselves, such as musical keys: right and wrong never change places."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import make_task
from marathon_eval.api.doc import Doc
from marathon_eval.api.model import Response
from marathon_eval.evaluator.controls import turn
from marathon_eval.evaluator.scorer_check import split_options
from marathon_eval.task.task import Task

READINGS = """filter_list:
  - {name: letter, filter: [{function: choice}]}
  - {name: text, filter: [{function: choice_text}]}
metric_list:
  - {metric: accuracy}
  - {metric: macro_f1}
  - {metric: exact_match}
  - {metric: exact_match, name: forms, choice_forms: true}
  - {metric: set_f1}
"""
KEYS = 'doc_to_text: "{{q}}\\n{{options}}"\ndoc_to_choice: o\ndoc_to_target: a\n' + READINGS


def task_of(folder: Path, options: Any, gold: Any, more: str = "") -> Task:
    return make_task(folder, KEYS + more, [{"q": "which?", "o": options, "a": gold}])


def scores(mine: Task, doc: Doc, said: str) -> set[float | None]:
    """The scores of all metrics in both readings."""
    sample = mine.score(doc, [Response(said)])
    assert sample.error is None
    return {score for reading in sample.readings.values() for score in reading.scores.values()}


def only(mine: Task) -> Doc:
    (doc,) = mine.docs().docs
    assert doc.error is None, doc.error
    return doc


@pytest.mark.parametrize(
    ("options", "gold", "more"),
    [
        (["C", "G", "D", "A"], "A", "gold_is: text\n"),
        (["C", "G", "D", "A"], " a ", "gold_is: text\n"),
        (["C", "G", "D", "A"], 3, ""),
        (["C", "G", "D", "A"], "3", ""),
        (["c", "g", "d", "a"], "a", "gold_is: text\nchoice_layout: (a)\n"),
        (["X", "G", "B", "A"], ["A"], "gold_is: text\n"),
        (["C", "A", "B", "D"], "D", ""),
    ],
)
def test_the_fourth_option_alone_is_right(tmp_path: Path, options: list[str], gold: Any, more: str) -> None:
    mine = task_of(tmp_path, options, gold, more)
    doc = only(mine)
    letters = mine.context(doc).letters
    for place, (letter, text) in enumerate(zip(letters, options, strict=True)):
        assert scores(mine, doc, f"{letter}. {text}") == {float(place == 3)}, (letter, text)
        if letter not in options:  # else the letter alone is ambiguous, and unanswered
            assert scores(mine, doc, letter) == {float(place == 3)}, letter
    assert split_options(doc, mine.context(doc)).right == [(letters[3], options[3])]


@pytest.mark.parametrize(
    ("options", "gold", "more"),
    [
        (["C", "G", "D", "A"], "A", "gold_is: text\n"),
        (["A", "B", "C"], "A", ""),
        (["A", "B", "C"], "B", "gold_is: text\n"),
        (["A", "B", "C"], 2, ""),
        ({"B": "C", "A": "A", "C": "B"}, 0, ""),
    ],
)
@pytest.mark.parametrize("shift", [1, 2])
def test_in_every_order_the_same_text_is_right(
    tmp_path: Path, options: Any, gold: Any, more: str, shift: int
) -> None:
    mine = task_of(tmp_path, options, gold, more)
    doc = only(mine)
    (right,) = [text for _, text in split_options(doc, mine.context(doc)).right]
    turned = turn(mine, doc, shift)
    for letter, text in zip(mine.context(turned).letters, turned.choices, strict=True):
        assert scores(mine, turned, f"{letter}. {text}") == {float(text == right)}, (letter, text)


def test_an_index_in_the_plain_layout_is_its_own_text(tmp_path: Path) -> None:
    """Options without letters: the text A of the fourth option is not the first option."""
    mine = task_of(tmp_path, ["C", "G", "D", "A"], 3, "choice_layout: plain\n")
    assert only(mine).target == "A"
    assert {scores(mine, only(mine), said) == {1.0} for said in ("C", "G", "D")} == {False}


@pytest.mark.parametrize(
    ("said", "right"), [("D", 1.0), ("D. A", 1.0), ("A", 0.0), ("C", 0.0), ("A. C", 0.0)]
)
def test_an_unread_response_names_the_letter(tmp_path: Path, said: str, right: float) -> None:
    """`choice_forms` without a filter: the prompt asks for the letter, so that a letter alone is that."""
    keys = KEYS.partition("filter_list")[0] + "metric_list: [{metric: exact_match, choice_forms: true}]\n"
    row = {"q": "which?", "o": ["C", "G", "D", "A"], "a": "A"}
    mine = make_task(tmp_path, keys + "gold_is: text\n", [row])
    assert scores(mine, only(mine), said) == {right}


def test_targets_of_any_text_stay_as_they_are(tmp_path: Path) -> None:
    mine = task_of(tmp_path, ["C", "G", "D", "A"], "A", "gold_is: any_text\n")
    doc = only(mine)
    assert doc.target == "A"
    sample = mine.score(doc, [Response("D. A")])
    assert (sample.readings["text"].answer, sample.readings["text"].scores["accuracy"]) == ("A", 1.0)


@pytest.mark.parametrize("gold", ["C", 2, "2"])
def test_options_that_share_a_text(tmp_path: Path, gold: Any) -> None:
    """The text of a letter is right wherever the letter is, also where two options have it."""
    mine = task_of(tmp_path, ["dog", "cat", "dog"], gold)
    doc = only(mine)
    for said, right in (("C", 1.0), ("C. dog", 1.0), ("dog", 1.0), ("B", 0.0), ("cat", 0.0)):
        text = mine.score(doc, [Response(said)]).readings["text"].scores
        assert (text["accuracy"], text["exact_match"]) == (right, right), said
    assert mine.score(doc, [Response("C")]).readings["letter"].scores["accuracy"] == 1.0


SHOWN = {"opt_z": "dog", "opt_m": "cat", "opt_a": "cow"}


@pytest.mark.parametrize(
    "options", [SHOWN, {"C": "cow", "A": "dog", "B": "cat"}, {2: "dog", 10: "cat", 3: "cow"}]
)
@pytest.mark.parametrize("gold", ["dog", "A", 0])
@pytest.mark.parametrize("shift", [0, 1, 2])
def test_options_of_a_mapping_are_scored_in_the_order_that_is_shown(
    tmp_path: Path, options: dict[Any, str], gold: Any, shift: int
) -> None:
    mine = task_of(tmp_path, options, gold)
    doc = turn(mine, only(mine), shift)
    shown = mine.requests(doc)[0].prompt.splitlines()[1:]
    assert shown == [f"{letter}. {text}" for letter, text in zip("ABC", doc.choices, strict=True)]
    for line in shown:
        assert scores(mine, doc, line) == {float(line.endswith("dog"))}, line
        assert scores(mine, doc, line[0]) == {float(line.endswith("dog"))}, line
