"""Tests MMSU and Big Bench Audio on miniatures in their layouts: prompts, whole runs, and their rules on answers."""

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
from marathon_eval.task.task import Task

DATA = Path(__file__).resolve().parents[1] / "data"
MMSU_PROMPT = """\
Choose the most suitable answer from options A, B, C, and D. You must respond with only A, B, C, or D.

Question: Which tone is number 0?

A. tone 0a
B. tone 0b
C. tone 0c
D. tone 0d"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("spoken")
    spoken_layouts.mmsu(root)
    spoken_layouts.big_bench_audio(root)
    return root


@pytest.fixture(autouse=True)
def _here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("HF_DATASETS_CACHE", str(folder / "datasets"))
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(folder / "cache"))


def data_of(task: Task) -> str | None:
    return None if task.name == "mmsu" else task.config.dataset_path


def scored(task: Task, text: str, row: int = 0) -> Sample:
    sample = task.score(task.docs(data_of(task)).docs[row], [Response(text)])
    assert sample.error is None
    return sample


def test_mmsu_asks_as_its_script_does() -> None:
    task = load_shipped("mmsu")
    docs = task.docs().docs
    assert task.requests(docs[0])[0].prompt == MMSU_PROMPT
    assert task.requests(docs[2])[0].prompt.endswith("A. tone 2a\nB. tone 2b\nC. \nD. ")
    assert [len(doc.choices) for doc in docs] == [4, 4, 2]


def test_mmsu_is_scored_as_its_script_scores() -> None:
    """The verdicts come from running mmsu_evaluation.py at 217d1d3 on these answers."""
    cases = json.loads((DATA / "mmsu_verdicts.json").read_text(encoding="utf-8"))
    task = load_shipped("mmsu")
    texts = {"a": "a rising tone", "b": "Beth", "c": "doubt", "d": "anger"}
    first = task.docs().docs[0]
    assert len(cases) > 60
    assert set(Counter(case["verdict"] for case in cases)) == {"right", "wrong", "dropped"}
    for case in cases:
        fields = {**first.fields, **{f"choice_{letter}": text for letter, text in texts.items()}}
        doc = type(first)(
            0,
            {**fields, "answer_gt": case["gold"]},
            first.audio,
            None,
            tuple(texts.values()),
            case["gold"],
        )
        score = task.score(doc, [Response(case["response"])]).readings["paper"].scores["accuracy"]
        assert {None: "dropped", 0.0: "wrong", 1.0: "right"}[score] == case["verdict"], case


def test_mmsu_strict_finds_the_option_that_is_meant() -> None:
    task = load_shipped("mmsu")
    for text, score in (
        ("I think it is tone 0b.", 1),
        ("**B**", 1),
        ("Answer: B", 1),
        ("B or C", 0),
        ("", 0),
    ):
        assert scored(task, text).readings["strict"].scores["accuracy"] == score, text


@pytest.mark.parametrize(
    ("kind", "text", "right"),
    [
        ("formal_fallacies", "valid", True),
        ("formal_fallacies", "The argument is deductively valid.", True),
        ("formal_fallacies", "It is not valid, it is invalid.", False),
        ("formal_fallacies", "Invalid", False),
        ("formal_fallacies", "The premises say that all B are C. So the answer is valid.", True),
        ("formal_fallacies", "valid or invalid", False),
        ("formal_fallacies", "", False),
        ("navigate", "Yes", True),
        ("navigate", "Yes, you return to the starting point.", True),
        ("navigate", "You take ten steps and turn around. The answer is yes.", True),
        ("navigate", "no", False),
        ("navigate", "No, you do not.", False),
        ("navigate", "I can't say.", False),
        ("web_of_lies", "No", True),
        ("web_of_lies", "No, Leda lies.", True),
        ("web_of_lies", "The answer is no.", True),
        ("web_of_lies", "Yes", False),
        ("web_of_lies", "", False),
        ("object_counting", "7", True),
        ("object_counting", "seven", True),
        ("object_counting", "You have 7 fruits.", True),
        ("object_counting", "The answer is seven.", True),
        ("object_counting", "Four oranges and three plums. The answer is 7.", True),
        ("object_counting", "Seven. No one counts more.", True),
        ("object_counting", "twenty-seven", False),
        ("object_counting", "17", False),
        ("object_counting", "6 or 7", False),
        ("object_counting", "many", False),
    ],
)
def test_big_bench_audio_strict(kind: str, text: str, right: bool) -> None:
    (reading,) = {
        name: read
        for name, read in scored(load_shipped(f"big_bench_audio_{kind}"), text).readings.items()
        if name == "strict"
    }.values()
    metric = "number_match" if kind == "object_counting" else "accuracy"
    assert reading.scores[metric] == float(right)


def test_whole_runs() -> None:
    folder = "ArtificialAnalysis/big_bench_audio"
    result = simple_evaluate("dummy", ["big_bench_audio"], {"answer": "No"}, data_dir=folder, no_cache=True)
    tasks = result.tasks
    assert tasks["big_bench_audio_navigate"].readings["strict"]["accuracy"].value == pytest.approx(2 / 3)
    assert [tasks[name].n_scored for name in sorted(tasks)] == [3] * 4
    assert all("judged" not in task.readings for task in tasks.values())
    mmsu = simple_evaluate("dummy", ["mmsu"], {"answer": "The answer is A."}, no_cache=True).tasks["mmsu"]
    assert (mmsu.n_scored, mmsu.readings["paper"]["accuracy"].value) == (3, pytest.approx(1 / 3))
    assert result.groups["big_bench_audio"]["score"] == pytest.approx(100 * (0 + 2 / 3 + 0 + 1 / 3) / 4)
