"""Tests MMAR's released rule, case by case: the shared parity cases, and a table written for this project."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from marathon_eval.scoring.released.mmar import MMAR_TABLES, included, mmar_printout, mmar_verdict, words

CASES = json.loads(
    (Path(__file__).resolve().parents[1] / "parity" / "mmar.json").read_text(encoding="utf-8")
)["items"]


class Item(NamedTuple):
    """One question with predictions that the rule must accept and refuse."""

    answer: str
    choices: list[str]
    right: list[str]
    wrong: list[str]


ANIMALS = ["Otter", "Heron", "Grey wolf", "Barn owl"]
TABLE = {
    "plain": Item(
        "Heron",
        ANIMALS,
        [
            "Heron",
            "heron",
            "HERON",
            " Heron\n",
            "Heron.",
            "It is a heron",
            "heron heron",
            "Heron!?",
            "the Heron",
        ],
        ["Herons", "hero", "Otter", "bird", "", " ", "\n", "...", "Grey", "a barn"],
    ),
    "letters": Item(
        "Heron",
        ANIMALS,
        ["B. Heron", "(B) Heron", "b) heron", "2. Heron", "Option B: Heron", "A. Heron", "D heron"],
        ["B", "(B)", "B.", "b", "Answer: B", "The answer is B.", "2"],
    ),
    "letter_that_is_a_word_of_an_option": Item(
        "The drum",
        ["A flute", "The drum", "C major", "I and II"],
        ["B. The drum", "the drum", "(D) the drum", "drum the"],
        [
            "A. The drum",
            "C. the drum",
            "It is the drum I heard",
            "a the drum",
            "The drum and nothing",
            "drum",
        ],
    ),
    "negation_and_others_named": Item(
        "Heron",
        ANIMALS,
        ["Not a heron", "no heron at all", "Certainly never the heron", "heron? I cannot tell"],
        [
            "Heron, not the otter",
            "otter or heron",
            "grey heron",
            "The barn had a heron",
            "Otter Heron Wolf Owl",
            "1. otter 2. heron",
        ],
    ),
    "markup": Item(
        "Barn owl",
        ANIMALS,
        [
            "**Barn owl**",
            "<answer>Barn owl</answer>",
            "\\boxed{Barn owl}",
            "`barn owl`",
            '"Barn owl"',
            "Barn-owl",
            "barn/owl",
            "barn\tOWL",
            "owl barn",
            "Barn\u00adowl owl",
        ],
        [
            "_Barn owl_",
            "__Barn owl__",
            "barn_owl",
            "barnowl",
            "Barn",
            "owl",
            "Ba\u00adrn owl",
            "B\u200barn owl",
        ],
    ),
    "markup_words_among_the_options": Item(
        "Yes",
        ["Yes", "No answer", "boxed in"],
        ["yes", "YES!", "**Yes**", "yes indeed"],
        ["<answer>Yes</answer>", "\\boxed{Yes}", "Answer: yes", "No, yes", "Yes in part"],
    ),
    "same_words": Item(
        "From left to right",
        ["From right to left", "From left to right", "Stays left", "To and fro"],
        [
            "From left to right",
            "from right to left",
            "right left from to",
            "left-to-right, from",
            "It moves from left to right",
        ],
        [
            "left to right",
            "from left",
            "from left to right and back",
            "It stays from left to right",
            "fro from left to right",
        ],
    ),
    "repetition_lost": Item(
        "Tap tap tap",
        ["Tap tap tap", "Tap", "Knock", "Knock tap"],
        ["tap", "tap tap", "Tap tap tap", "three taps: tap"],
        ["taps", "knock tap", "Knock"],
    ),
    "numbers": Item(
        "7",
        ["7", "17", "70", "7.5"],
        ["7", "7!", "There are 7", "7 or 8", "No. 7"],
        ["17", "77", "7.5", "7th", "seven", "0.7 or 5", "7 or 17", "70"],
    ),
    "signs_lost": Item(
        "+3 dB",
        ["+3 dB", "-3 dB", "3 kHz", "30 dB"],
        ["+3 dB", "-3 dB", "3 dB", "db 3", "± 3 DB"],
        ["+3dB", "3", "3 dB at 3 kHz", "30 dB", "dB"],
    ),
    "decimals_swap": Item(
        "1.5 s",
        ["1.5 s", "5.1 s", "2 s", "15 s"],
        ["1.5 s", "5.1 s", "1 5 s", "s 5,1"],
        ["1.5s", "1.5", "1.5 s, not 2", "15 s"],
    ),
    "sharp_and_percent_lost": Item(
        "F#",
        ["F#", "F", "G", "50%"],
        ["F#", "F", "f", "F sharp", "F%", "f##", "F#m7b"],
        ["Fm7b", "G", "F or G", "F# 50", ""],
    ),
    "contractions": Item(
        "Doesn't stop",
        ["Doesn't stop", "Does stop", "Stops"],
        ["Doesn't stop", "doesn t stop", "stop, doesn’t", "T: doesn't stop"],
        ["doesnt stop", "does not stop", "Does stop", "doesn't does stop", "doesn't stop, stops"],
    ),
    "part_of_another_option": Item(
        "Blue",
        ["Blue", "Dark blue", "Dark blue car", "Red"],
        ["blue", "light blue", "blue sky"],
        ["dark blue", "blue car", "red and blue"],
    ),
    "whole_of_another_option": Item(
        "Dark blue car",
        ["Blue", "Dark blue", "Dark blue car", "Red"],
        ["dark blue car", "car, dark blue", "a blue car in the dark"],
        ["blue car", "dark blue", "dark red blue car"],
    ),
    "chinese": Item(
        "小提琴",
        ["小提琴", "钢琴", "鼓声"],
        ["小提琴", "答案：小提琴", "小提琴。", "「小提琴」", "小提琴 很美"],
        ["答案是小提琴", "小提 琴", "钢琴", "小提琴和", "小提琴，钢琴"],
    ),
    "case_in_other_scripts": Item(
        "Grüße",
        ["Grüße", "GRÜSSE", "Gruß"],
        ["grüße", "GRÜẞE", "Grüße!"],
        ["grüsse", "GRÜSSE", "Gru\u0308ße", "grusse", "Grüße, Gruß"],
    ),
    "dotted_capital_i": Item(
        "İpek",
        ["İpek", "Pamuk"],
        ["İpek", "i\u0307pek"],
        ["ipek", "Ipek", "IPEK"],
    ),
    "no_word_in_the_answer": Item(
        "♪",
        ["♪", "♫", "silence"],
        ["♪ note", "anything", "0"],
        ["♪", "♫", "", "silence", "no silence"],
    ),
    "options_all_the_same": Item(
        "Rain",
        ["Rain", "rain", "RAIN!", "rain rain"],
        ["rain", "snow, then rain"],
        ["snow", "rainy"],
    ),
    "answer_not_listed": Item(
        "Harp",
        ["Lute", "Lyre"],
        ["harp", "a harp", "old harp"],
        ["lute", "harp and lute", "harpist"],
    ),
    "one_option": Item("Fog horn", ["Fog horn"], ["fog horn", "horn in fog"], ["fog", "foghorn", "horn"]),
    "no_option": Item("Fog horn", [], ["fog horn", "anything with fog and a horn"], ["a foghorn"]),
    "empty_option": Item("Bell", ["Bell", "", " "], ["bell", "a bell"], ["", "ring"]),
    "underscore_is_a_word": Item(
        "snare_drum",
        ["snare_drum", "snare", "drum"],
        ["snare_drum", "Snare_Drum!"],
        ["snare drum", "snare", "snare_drum drum"],
    ),
    "six_options": Item(
        "Sunday",
        ["Monday", "Tuesday", "Friday", "Saturday", "Sunday", "None of these"],
        ["Sunday", "F. Sunday", "sunday evening"],
        ["None", "Sunday of course", "these Sundays", "Sunday, none other", "not Monday but Sunday"],
    ),
    "long": Item("gong", ["gong", "bell"], ["hum " * 400 + "gong"], ["hum " * 400 + "gong bell"]),
    "newlines": Item(
        "Heron", ANIMALS, ["\u2028Heron", "I think:\nHeron\n", "Heron\r\n"], ["Her\non", "Heron\nOtter"]
    ),
}
ROWS = [
    pytest.param(item.answer, item.choices, prediction, expected, id=f"{name}-{expected}-{number}")
    for name, item in TABLE.items()
    for expected, predictions in ((True, item.right), (False, item.wrong))
    for number, prediction in enumerate(predictions)
]


def test_the_table_is_large_enough() -> None:
    assert len(ROWS) >= 150
    assert sum(row.values[3] is True for row in ROWS) >= 60


@pytest.mark.parametrize(("answer", "choices", "prediction", "expected"), ROWS)
def test_table(answer: str, choices: list[str], prediction: str, expected: bool) -> None:
    assert included(answer, prediction, choices) is expected


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_shared_cases(case: dict[str, Any]) -> None:
    assert (mmar_verdict(case) == "right") is case["verdict"]


def test_words_are_a_set_of_lower_case_runs() -> None:
    assert words("The_A the; 3.5") == {"the_a", "the", "3", "5"}


def row(**changes: Any) -> dict[str, Any]:
    base = {
        "answer": "Heron",
        "choices": ANIMALS,
        "modality": "sound",
        "category": "Signal Layer",
        "sub-category": "Anomaly Detection",
    }
    return {**base, "answer_prediction": "heron", **changes}


@pytest.mark.parametrize("prediction", [None, 3, 2.5, ["Heron"], {"text": "Heron"}, True])
def test_what_crashes_the_script_is_invalid(prediction: Any) -> None:
    assert mmar_verdict(row(answer_prediction=prediction)) == "invalid"


@pytest.mark.parametrize("choices", [None, "Heron", {"A": "Heron"}, ["Heron", 3]])
def test_choices_that_are_no_list_of_texts_are_invalid(choices: Any) -> None:
    assert mmar_verdict(row(choices=choices)) == "invalid"


def test_the_older_key_is_read_and_a_row_without_any_is_skipped() -> None:
    old = row(model_prediction="heron")
    del old["answer_prediction"]
    assert mmar_verdict(old) == "right"
    del old["model_prediction"]
    assert mmar_verdict(old) == "skipped"


def test_an_empty_prediction_is_wrong_and_counted() -> None:
    assert mmar_verdict(row(answer_prediction="")) == "wrong"


def test_printout_is_the_scripts_own() -> None:
    rows = [
        row(),
        row(
            answer_prediction="otter",
            modality="speech",
            category="Semantic Layer",
            **{"sub-category": "Content Analysis"},
        ),
        row(answer_prediction="Barn", **{"sub-category": None}),
        row(answer_prediction=None, modality="speech"),
    ]
    rows.append({key: value for key, value in row().items() if key != "answer_prediction"})
    lines = mmar_printout(rows, [mmar_verdict(entry) for entry in rows])
    stars = "*" * 30
    assert lines == [
        stars,
        "Modality-wise Accuracy:",
        "sound : 50.00% over 2 samples",
        "music : 0.00% over 0 samples",
        "speech : 0.00% over 2 samples",
        "mix-sound-music : 0.00% over 0 samples",
        "mix-sound-speech : 0.00% over 0 samples",
        "mix-music-speech : 0.00% over 0 samples",
        "mix-sound-music-speech : 0.00% over 0 samples",
        stars,
        "Category-wise Accuracy:",
        "Signal Layer : 33.33% over 3 samples",
        "Perception Layer : 0.00% over 0 samples",
        "Semantic Layer : 0.00% over 1 samples",
        "Cultural Layer : 0.00% over 0 samples",
        stars,
        "Sub-category-wise Accuracy:",
        "Anomaly Detection : 50.00% over 2 samples",
        "Content Analysis : 0.00% over 1 samples",
        stars,
        "Total Accuracy: 25.00% over 4 samples",
        stars,
        "No prediction count: 0",
    ]


def test_the_tables_are_the_leaderboards_columns() -> None:
    assert [table.field for table in MMAR_TABLES] == ["modality", "category", "sub-category"]
