"""Tests what is said of judges that differ between two runs of a task."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from marathon_eval.results.judges import (
    TaskJudge,
    judge_difference_text,
    judge_differences,
    judge_in,
    judge_words,
)

JUDGE = TaskJudge("Qwen3-8B", "text_lm", "a" * 64, {"temperature": 0}, {}, {"grade": "b" * 64})


def said(other: TaskJudge | None) -> str:
    return judge_difference_text(judge_differences(JUDGE, other))


def test_each_difference_is_named() -> None:
    other = replace(JUDGE, fingerprint_sha256="c" * 64)
    assert said(replace(other, arguments={"temperature": 0.7})) == "argument temperature 0 and 0.7"
    assert said(replace(other, arguments={})) == "argument temperature 0 and not given"
    assert said(replace(other, name="gemma-3")) == "model Qwen3-8B and gemma-3"
    assert said(replace(other, model="openai")) == "model text_lm and openai"
    assert said(other) == "fingerprint aaaaaaaa and cccccccc"
    assert said(replace(JUDGE, prompts={"grade": "d" * 64})) == "prompt grade bbbbbbbb and dddddddd"
    longer = replace(JUDGE, generation={"max_new_tokens": 9})
    assert said(longer) == "generation argument max_new_tokens not given and 9"


def test_judges_that_are_alike_differ_in_nothing() -> None:
    """Arguments that do not change the fingerprint, such as an address, are no difference."""
    assert said(JUDGE) == ""
    assert said(None) == ""
    assert said(replace(JUDGE, arguments={"temperature": 0, "base_url": "http://elsewhere"})) == ""


def test_runs_that_recorded_no_hashes_are_told_apart_by_their_config() -> None:
    def old(temperature: float, metric: str = "grade[text_lm]") -> TaskJudge | None:
        config = {"judge_model": "text_lm", "judge_args": {"temperature": temperature}}
        summary: dict[str, Any] = {"readings": ["graded"], "graded": {metric: {"value": 1.0}}}
        return judge_in({"tasks": {"own": summary}, "manifests": {}}, config, "own")

    assert judge_difference_text(judge_differences(old(0), old(1))) == "argument temperature 0 and 1"
    assert judge_differences(old(0), old(0)) == []
    assert said(replace(JUDGE, fingerprint_sha256=None, prompts={})) == ""
    assert old(0, "accuracy") is None, "the run had a judge, and the task none"


def test_words_for_labels_tell_runs_apart_by_their_judges() -> None:
    hot = replace(JUDGE, fingerprint_sha256="c" * 64, arguments={"temperature": 0.7})
    asked = replace(JUDGE, prompts={"grade": "d" * 64})
    assert judge_words([{"own": JUDGE}, {"own": JUDGE}, {}]) == [[], [], []]
    assert judge_words([{"own": JUDGE}, {"own": hot}, {"other": hot}]) == [
        ["judge temperature=0"],
        ["judge temperature=0.7"],
        [],
    ]
    first, second = judge_words([{"own": JUDGE}, {"own": asked}])
    assert first[0].startswith("judge prompt ")
    assert first != second
    (without,) = judge_words([{"own": replace(hot, arguments={})}, {"own": JUDGE}])[:1]
    assert without == ["judge temperature not given"]
