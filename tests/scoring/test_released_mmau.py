"""Tests MMAU's released rule: the same words as MMAR's, with its own keys and tables; cases written for this project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.scoring.released.mmau import mmau_printout, mmau_verdict

CASES = json.loads(
    (Path(__file__).resolve().parents[1] / "parity" / "mmau.json").read_text(encoding="utf-8")
)["items"]

#: templates around a gold text X and another option Y: what the rule says whatever the texts are
RIGHT = [
    "{X}",
    "{x}",
    "{X}.",
    " {X} ",
    "**{X}**",
    "({X})",
    '"{X}"',
    "{X}!?",
    "- {X}",
    "{X}\n",
    "\\boxed{{{X}}}",
    "<answer>{X}</answer>",
    "It must be {X}",
    "I hear {X} {X}",
    "certainly not {X}",
    "B) {X}",
    "2. {X}",
    "{X} 🎵",
]
WRONG = [
    "{Y}",
    "{X} or {Y}",
    "{Y}, no: {X}",
    "not {Y} but {X}",
    "{X}x",
    "_{X}_",
    "B",
    "(B)",
    "",
    " ",
    "...",
    "none of them",
]
QUESTIONS = {
    "one_word": ("Cello", ["Cello", "Tuba", "Organ", "Zither"]),
    "two_words": ("Fire truck", ["Fire truck", "Ice cream van", "Police car", "Hearse"]),
    "number": ("42", ["42", "24", "420", "4"]),
    "accent": ("Crème", ["Crème", "Pâté", "Gâteau", "Sorbet"]),
    "two_options": ("Female", ["Female", "Male"]),
    "eight_options": (
        "Lydian",
        ["Lydian", "Dorian", "Ionian", "Aeolian", "Locrian", "Phrygian", "Myxo", "Blues"],
    ),
}
ROWS = [
    pytest.param(
        answer, choices, form.format(X=answer, x=answer.lower(), Y=choices[1]), expected, id=f"{name}-{form}"
    )
    for name, (answer, choices) in QUESTIONS.items()
    for expected, forms in (("right", RIGHT), ("wrong", WRONG))
    for form in forms
]


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 150


@pytest.mark.parametrize(("answer", "choices", "prediction", "expected"), ROWS)
def test_table(answer: str, choices: list[str], prediction: str, expected: str) -> None:
    assert mmau_verdict({"answer": answer, "choices": choices, "model_output": prediction}) == expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_shared_cases(case: dict[str, Any]) -> None:
    assert (mmau_verdict(case) == "right") is case["verdict"]


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("model_output", "right"),
        ("model_prediction", "right"),
        ("answer_prediction", "skipped"),
        ("output", "skipped"),
    ],
)
def test_prediction_keys(key: str, expected: str) -> None:
    assert mmau_verdict({"answer": "Tuba", "choices": ["Tuba", "Cello"], key: "tuba"}) == expected


@pytest.mark.parametrize("prediction", [None, 1, ["Tuba"]])
def test_what_crashes_the_script_is_invalid(prediction: Any) -> None:
    assert (
        mmau_verdict({"answer": "Tuba", "choices": ["Tuba", "Cello"], "model_output": prediction})
        == "invalid"
    )


def test_printout_is_the_scripts_own() -> None:
    base = {"answer": "Tuba", "choices": ["Tuba", "Cello"], "task": "music", "difficulty": "hard"}
    rows: list[dict[str, Any]] = [
        {
            **base,
            "sub-category": "Instrumentation",
            "category": ["Reasoning", "Music"],
            "model_output": "tuba",
        },
        {**base, "sub-category": "Instrumentation", "difficulty": "easy", "model_output": "cello"},
        {**base, "sub-category": "Timbre"},
    ]
    stars = "*" * 30
    assert mmau_printout(rows, [mmau_verdict(row) for row in rows]) == [
        stars,
        "Task-wise Accuracy:",
        "sound : 0.00% over 0 samples",
        "music : 50.00% over 2 samples",
        "speech : 0.00% over 0 samples",
        stars,
        "Difficulty-wise Accuracy:",
        "easy : 0.00% over 1 samples",
        "hard : 100.00% over 1 samples",
        "medium : 0.00% over 0 samples",
        stars,
        "Sub-category-wise Accuracy:",
        "Instrumentation : 50.00% over 2 samples",
        stars,
        "Total Accuracy: 50.00% over 2 samples",
        stars,
        "No prediction count: 0",
    ]
