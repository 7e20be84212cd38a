"""Tests AIR-Bench's released foundation rule, case by case: the shared parity cases, and a table written for this project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.scoring.released.air_bench import (
    air_bench_letter,
    air_bench_printout,
    air_bench_verdict,
    gold_letter,
)

CASES = json.loads(
    (Path(__file__).resolve().parents[1] / "parity" / "airbench.json").read_text(encoding="utf-8")
)["items"]

#: response -> the letter that the script reads; None: it reads none and drops the row
TABLE: dict[str, list[tuple[str, str | None]]] = {
    "first character": [
        *((name, name) for name in "ABCD"),
        *((f"{name}. text", name) for name in "ABCD"),
        *((f"{name}) text", name) for name in "ABCD"),
        ("B: heron", "B"),
        ("B, heron", "B"),
        ("B heron", "B"),
        ("Bheron", "B"),
        ("B\nheron", "B"),
        ("  B", "B"),
        ("\tB\t", "B"),
        ("\n\nB.", "B"),
        ("B\r\n", "B"),
        ("B🎧", "B"),
        ("BCD", "B"),
        ("D or A", "D"),
        ("A/B", "A"),
        ("C" * 500, "C"),
    ],
    "a sentence that begins with A to D": [
        ("Answer: C", "A"),
        ("Answer is D.", "A"),
        ("A heron calls, so D.", "A"),
        ("An owl. B", "A"),
        ("As a language model I cannot hear.", "A"),
        ("All of them", "A"),
        ("Based on what is heard, D.", "B"),
        ("Both A and C", "B"),
        ("Because of the bell: A.", "B"),
        ("Certainly! It is A.", "C"),
        ("Correct: B", "C"),
        ("Choice A", "C"),
        ("Could be B.", "C"),
        ("Definitely C.", "D"),
        ("Dog", "D"),
        ("Do you mean A?", "D"),
        ("Assistant: B", "A"),
        ("Audio shows C.", "A"),
        ("Birds: D", "B"),
        ("Clearly A", "C"),
        ("Dear user, B.", "D"),
        ("A, B and C", "A"),
    ],
    "last but one": [
        ("the answer is C.", "C"),
        ("the answer is C!", "C"),
        ("It is B.", "B"),
        ("I pick (D)", "D"),
        ("option A;", "A"),
        ("(B)", "B"),
        ("[B]", "B"),
        ('"B"', "B"),
        ("'B'", "B"),
        ("*B*", "B"),
        ("`B`", "B"),
        ("\\boxed{B}", "B"),
        ("{B}", "B"),
        ("<B>", "B"),
        ("it is\nB.", "B"),
        ("x\nB.", "B"),
        ("x\nB\n.", "B"),
        ("答案是B。", "B"),
        ("heron (B)  ", "B"),
        ("</think>B.", "B"),
        ("the answer is B\u200b", "B"),
        ("the answer is B\ufeff", "B"),
        ("it is Bx", "B"),
        ("1B.", "B"),
        ("eBe", "B"),
        (".B.", "B"),
        ("None of these: D.", "D"),
    ],
    "accidents of the last but one": [
        ("heard on the BBC", "B"),
        ("plays from a CD", "C"),
        ("in Bb", "B"),
        ("in Ab", "A"),
        ("the key of Db", "D"),
        ("in Cm", "C"),
        ("made in the USA!", "A"),
        ("PhD.", "D"),
        ("it comes on DVD.", "D"),
        ("4 dB,", "B"),
        ("no IDs", "D"),
        ("NBA.", "A"),
    ],
    "dropped: lower case": [
        (text, None) for text in ("a", "b", "c.", "d)", "(b)", "the answer is c.", "option d.")
    ],
    "dropped: no letter in place": [
        (text, None)
        for text in (
            "the answer is B",
            "it is B..",
            "(B).",
            "(B) heron",
            "**B**",
            "**B.**",
            "- B",
            "#B",
            "1. B",
            ": B",
            "<answer>B</answer>",
            "<think>x</think>B",
            "heron",
            "It is a heron.",
            "HERON",
            "E",
            "E.",
            "F",
            "Z.",
            "I cannot tell.",
            "No.",
            "Yes",
            "1",
            "2.",
            "option B is right",
            "it is B, I think",
            "it is B )",
            '"B".',
            "['B']",
            "the answer is: B\n",
            "$B$$",
            "x B xx",
        )
    ],
    "dropped: other alphabets": [
        (text, None)
        for text in (
            "\uff22",
            "\uff22.",
            "\u0412",
            "\u0412.",
            "\u0391",
            "\u03a1.",
            "\U0001d401",
            "\u24b7",
            "\ufeffB",
            "\u200bB",
            "Ä",
            "Á.",
        )
    ],
    "dropped: nothing said": [
        (text, None)
        for text in (
            "",
            " ",
            "\n",
            "\t \n",
            "None",
            " None ",
            "No\nne",
            "\nNone\n",
            ".",
            "..",
            "?",
            "-",
            "null",
            "none",
        )
    ],
}
ROWS = [
    pytest.param(response, expected, id=f"{name}-{number}")
    for name, rows in TABLE.items()
    for number, (response, expected) in enumerate(rows)
]


def row(response: Any = "B", **changes: Any) -> dict[str, Any]:
    base = {
        "choice_a": "otter",
        "choice_b": "heron",
        "choice_c": "wolf",
        "choice_d": "owl",
        "answer_gt": "heron",
    }
    return {**base, "task_name": "Sound_AQA", "dataset_name": "avqa", "response": response, **changes}


def two(response: Any, gold: str = "female") -> dict[str, Any]:
    """A two-choice row as the inference script writes it: the absent options are null."""
    absent = {"choice_c": None, "choice_d": None}
    return row(response, choice_a="male", choice_b="female", answer_gt=gold, **absent)


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 150
    assert {row.values[1] for row in ROWS} == {"A", "B", "C", "D", None}


@pytest.mark.parametrize(("response", "expected"), ROWS)
def test_table(response: str, expected: str | None) -> None:
    assert air_bench_letter(response).value == expected
    for gold, name in zip(("otter", "heron", "wolf", "owl"), "ABCD", strict=True):
        wanted = "dropped" if expected is None else "correct" if name == expected else "wrong"
        assert air_bench_verdict(row(response, answer_gt=gold)) == wanted


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case['tag']}-{case['uniq_id']}")
def test_shared_cases(case: dict[str, Any]) -> None:
    assert air_bench_verdict(case) == case["verdict"]


def test_each_answer_says_which_rule_read_it() -> None:
    rules = [air_bench_letter(text).rule for text in ("B", "it is B.", "heron", " ")]
    assert rules == ["first_character", "last_but_one", "unparsed", "empty"]


@pytest.mark.parametrize(
    ("response", "expected"),
    [
        ("B", "correct"),
        ("A", "wrong"),
        ("C", "wrong"),
        ("D. None", "wrong"),
        ("None", "dropped"),
        ("female", "dropped"),
    ],
)
def test_two_choices(response: str, expected: str) -> None:
    assert air_bench_verdict(two(response)) == expected


def test_gold_is_the_first_option_with_the_text() -> None:
    assert gold_letter(row(choice_a="heron", choice_b="heron")) == "A"
    assert gold_letter(row(answer_gt="Heron")) is None
    assert gold_letter(row(answer_gt="B")) is None
    absent = {key: value for key, value in row(answer_gt=None).items() if key not in ("choice_c", "choice_d")}
    assert gold_letter(absent) == "C"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"answer_gt": "Heron"}, "abort"),
        ({"answer_gt": "Heron", "response": "heron"}, "dropped"),
        ({"response": None}, "crash"),
        ({"response": 2}, "crash"),
        ({"response": ["B"]}, "crash"),
        ({"task_name": None}, "dropped"),
        ({"dataset_name": None}, "crash"),
        ({"task_name": 3}, "crash"),
    ],
)
def test_where_the_script_stops(changes: dict[str, Any], expected: str) -> None:
    assert air_bench_verdict(row(**changes)) == expected


@pytest.mark.parametrize("key", ["response", "task_name", "dataset_name", "answer_gt", "choice_a"])
def test_a_row_without_a_needed_key_crashes_the_script(key: str) -> None:
    assert air_bench_verdict({name: value for name, value in row().items() if name != key}) == "crash"


def test_printout_is_the_scripts_own() -> None:
    rows = [
        row("B"),
        row("heron"),
        row("A"),
        row("B", dataset_name="clothoaqa"),
        two("C"),
        row("B", task_name=None),
        row("", dataset_name="silent"),
    ]
    rows[4]["task_name"] = "Speaker_Gender_Recognition"
    assert air_bench_printout(rows, [air_bench_verdict(entry) for entry in rows]) == [
        "Sound_AQA_avqa: Sum=2, correct=1, acc=0.5",
        "Sound_AQA_clothoaqa: Sum=1, correct=1, acc=1.0",
        "Speaker_Gender_Recognition_avqa: Sum=1, correct=0, acc=0.0",
        "Sound_AQA_silent: no row with a letter",
        "total_sum: 4",
        "fail_num: 2",
    ]
