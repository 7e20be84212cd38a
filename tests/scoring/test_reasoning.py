"""Tests that the tags separate what a reasoning model thought from what it answered, in every reading."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers import make_air_bench_mmar_data
from marathon_eval import simple_evaluate
from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.filters.build import build_pipeline
from marathon_eval.scoring.reasoning import Parted, parted


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("C", Parted("", "C")),
        ("", Parted("", "")),
        ("<think>It rattles.</think>C", Parted("It rattles.", "C")),
        ("<think>\nIt rattles.\n</think>\n\nC.\n", Parted("It rattles.", "C.")),
        ("<THINK>loud</Think> C", Parted("loud", "C")),
        ("< think >spaced< / think >C", Parted("spaced", "C")),
        ("<thinking>one</thinking>C", Parted("one", "C")),
        ("<reasoning>one</reasoning>C", Parted("one", "C")),
        ("<think>one</think>B<think>two</think>C", Parted("one\ntwo", "BC")),
        ("It rattles.</think>C", Parted("It rattles.", "C")),
        ("It rattles.</think>C<think>more</think>", Parted("It rattles.\nmore", "C")),
        ("<think>one</think>or two</think>C", Parted("one\nor two", "C")),
        ("<think>one <think>two</think> three</think>C", Parted("one <think>two\nthree", "C")),
        ("<think></think>C", Parted("", "C")),
        ("<think>It rattles", Parted("It rattles", None)),
        ("B <think>or is it", Parted("or is it", None)),
        ("<think>one</think>C<think>two", Parted("one\ntwo", None)),
        ("first</think>C<think>open", Parted("first\nopen", None)),
        ("<think>a <b>bold</b> move</think>C", Parted("a <b>bold</b> move", "C")),
        ("<think>one</reasoning>C", Parted("one</reasoning>C", None)),
        ("I think C", Parted("", "I think C")),
        ("<answer>C</answer>", Parted("", "<answer>C</answer>")),
        ("2 < think > 1", Parted("1", None)),
    ],
)
def test_parted(text: str, expected: Parted) -> None:
    assert parted(text) == expected


def test_tags_are_the_users_choice() -> None:
    assert parted("[hm]x[/hm]<mull>why</mull>C", ["mull"]) == Parted("why", "[hm]x[/hm]C")
    assert parted("<think>x</think>C", ["mull"]) == Parted("", "<think>x</think>C")
    assert parted("<a.b>x</a.b>C<aXb>", ["a.b"]) == Parted("x", "C<aXb>")


def read(text: str, **options: object) -> Answer:
    pipeline = build_pipeline({"name": "x", "filter": [{"function": "strip_reasoning", **options}]}, "here")
    return pipeline.apply([text], FilterContext())


def test_an_unclosed_thought_is_no_answer() -> None:
    assert read("<think>A or B? It is C") == Answer(None, "unclosed_reasoning")
    assert read("<think>hm</think>") == Answer(None, "empty")
    assert read("<think>hm</think> C ") == Answer("C", "response")
    assert read("<mull>hm</mull>C", tags=["mull"]) == Answer("C", "response")


def test_a_wrong_option_is_told() -> None:
    with pytest.raises(MarathonError, match="strip_reasoning' takes no 'tag'.*Did you mean tags"):
        read("x", tag="think")
    with pytest.raises(MarathonError, match="strip_reasoning"):
        read("x", tags=3)


@pytest.mark.parametrize(
    ("answer", "paper", "stripped", "strict"),
    [
        ("<think>not the zip</think>kettle", 0.0, 1.0, 1.0),
        ("<think>a kettle</think>zip", 0.0, 0.0, 0.0),
        ("<think>kettle", 1.0, 0.0, 0.0),
        ("kettle", 1.0, 1.0, 1.0),
    ],
)
def test_readings_of_a_reasoning_model(
    tmp_path: Path, answer: str, paper: float, stripped: float, strict: float
) -> None:
    rows = make_air_bench_mmar_data.mmau(tmp_path, rows=1)
    rows[0] |= {"choices": ["zip", "kettle"], "answer": "kettle"}
    make_air_bench_mmar_data.write(tmp_path / "mmau-test-mini.json", rows)
    found = simple_evaluate("dummy", ["mmau"], {"answer": answer}, data_dir=str(tmp_path), no_cache=True)
    scores = found.samples["mmau"][0].readings
    got = tuple(scores[name].scores["accuracy"] for name in ("paper", "stripped", "strict"))
    assert got == (paper, stripped, strict)
