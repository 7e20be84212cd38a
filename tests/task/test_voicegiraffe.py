"""Tests VoiceGiraffe on its miniature: prompts and options of both languages, a whole run, and the rule of its script."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from demo import spoken_layouts
from helpers.audiomarathon_prompts import load_shipped
from marathon_eval import simple_evaluate
from marathon_eval.api.model import Response
from marathon_eval.api.results import Sample

CASES = Path(__file__).resolve().parents[1] / "data" / "voicegiraffe_letters.json"
ENGLISH = """\
Listen to the whole recording, then answer the question below with the letter of the right option only.

How often does the bell ring before the speaker stops?
A: twice (1)  
B: twice  
C: twice (2)  
D: twice (3)"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    root = tmp_path_factory.mktemp("giraffe")
    spoken_layouts.voicegiraffe(root)
    return str(root)


def scored(folder: str, text: str, row: int = 0) -> Sample:
    task = load_shipped("voicegiraffe")
    return task.score(task.docs(folder).docs[row], [Response(text)])


def test_each_language_is_asked_in_its_own_and_options_are_read_from_the_question(folder: str) -> None:
    task = load_shipped("voicegiraffe")
    docs = task.docs(folder).docs
    assert task.requests(docs[0])[0].prompt == ENGLISH
    assert task.requests(docs[2])[0].prompt.startswith("请先听完录音，然后回答下面的选择题")
    assert [doc.choices[0] for doc in docs] == ["twice (1)", "the low voice", "一直很低 (1)"]
    assert [doc.choices["ABCD".index(str(task.target(doc)))] for doc in docs] == [
        "twice",
        "the low voice",
        "一直很低",
    ]


def test_paper_reads_letters_as_the_released_script(folder: str) -> None:
    """The letters come from running parse_letter of audio_bench/utils/parsing.py at 2e3e208 on these answers."""
    cases = json.loads(CASES.read_text(encoding="utf-8"))
    assert len(cases) > 60
    assert set(Counter(case["letter"] for case in cases)) == {"A", "B", "C", "D", None}
    for case in cases:
        reading = scored(folder, case["response"]).readings["paper"]
        assert reading.answer == case["letter"], case
        assert reading.scores["accuracy"] == (case["letter"] == "B"), case


@pytest.mark.parametrize(
    ("text", "score"),
    [("B", 1), ("B: twice", 1), ("twice", 1), ("It is B.", 1), ("A or B", 0), ("", 0), ("A dog barks.", 0)],
)
def test_strict_reads_the_option_that_is_meant(folder: str, text: str, score: int) -> None:
    assert scored(folder, text).readings["strict"].scores["accuracy"] == score


def test_a_whole_run(folder: str) -> None:
    found = simple_evaluate("dummy", ["voicegiraffe"], {"answer": "答案：D"}, data_dir=folder, no_cache=True)
    result = found.tasks["voicegiraffe"]
    assert result.n_errors == 0
    assert result.readings["paper"]["accuracy"].value == pytest.approx(1 / 3)
    assert result.readings["strict"]["accuracy"].value == pytest.approx(1 / 3)
    assert [sample.fields["language_type"] for sample in found.samples["voicegiraffe"]] == [
        "英文",
        "英文",
        "中文",
    ]
