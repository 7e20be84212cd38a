"""Tests `choice` on the labelled corpus: it never reads a wrong option, and reads nearly all that mean one."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from helpers.extraction_corpus import EVENTS, Said, corpus, read, tally
from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.filters.build import build_pipeline
from marathon_eval.scoring.filters.choice import extract

ROOT = Path(__file__).resolve().parents[2]
CORPUS = corpus()
#: Share of the answerable texts of each kind that must be answered.
ANSWERED = 0.98


def test_the_corpus_is_large_and_has_no_text_twice() -> None:
    assert len(set(CORPUS)) >= 2000
    labels: dict[tuple[object, ...], str | None] = {}
    for said in CORPUS:
        asked = (said.options, said.lettered, said.text)
        assert labels.setdefault(asked, said.right) == said.right, said
        assert said.right is None or said.right in said.options


@pytest.mark.parametrize("kind", dict.fromkeys(said.kind for said in CORPUS))
def test_no_option_is_wrong_and_nearly_all_are_read(kind: str) -> None:
    of_kind = [said for said in CORPUS if said.kind == kind]
    wrong = [(said, read(said)) for said in of_kind if read(said) not in (None, said.right)]
    assert not wrong
    count = tally(of_kind)[kind]
    assert count.hit >= ANSWERED * count.answerable


def test_the_count_sees_wrong_and_missing_answers() -> None:
    texts = [
        Said("x", EVENTS, True, "B", "Cat meowing"),
        Said("x", EVENTS, True, "B", "Dog barking"),
        Said("x", EVENTS, True, "B", None),
        Said("x", EVENTS, True, "hm", "Dog barking"),
    ]
    assert tally(texts)["x"] == (3, 1, 2, 1, 1)


def test_the_table_is_printed() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "dev" / "extraction_table.py")],
        capture_output=True,
        text=True,
        check=True,
    )
    kind, *last = done.stdout.splitlines()[-1].split()
    assert kind == "all"
    assert int(last[0]) == len(CORPUS)
    assert int(last[3]) == 0


@pytest.mark.parametrize("function", ["choice", "choice_text", "transcript", "strip_reasoning"])
def test_a_task_adds_marks_of_thoughts(function: str) -> None:
    step = {"function": function, "marks": [["<<hm>>", "<</hm>>"], ["{{muse", "muse}}"]]}
    pipeline = build_pipeline({"name": "x", "filter": [step]}, "t.yaml:1")
    context = FilterContext(("B", "C"), ()) if function.startswith("choice") else FilterContext()
    read_value = {"choice": "B"}.get(function, "C")
    for text in (
        "<<hm>>B?<</hm>>C",
        "B? muse}}C",
        "{{MUSE B? muse}}C",
        "<think>B</think>C",
        "◁think▷B◁/think▷C",
    ):
        assert pipeline.apply([text], context).value == read_value, text
    assert pipeline.apply(["<<hm>>B? C"], context).value is None


def test_marks_need_two_texts() -> None:
    for marks in ([["", "x"]], [["x"]], "x"):
        with pytest.raises(MarathonError, match=r"t.yaml:1: filter 'choice': marks"):
            build_pipeline({"name": "x", "filter": [{"function": "choice", "marks": marks}]}, "t.yaml:1")


def test_options_beyond_z_have_two_letters() -> None:
    many = FilterContext(tuple(f"event {number}" for number in range(60)))
    assert extract("event 25", many) == Answer("Z", "option_text")
    assert extract("event 26", many).value == "AA"
    assert extract("event 52", many).value == "BA"
