"""Tests AIR-Bench's released chat rule: which replies of a judge are scores, and what the script prints."""

from __future__ import annotations

import pytest

from marathon_eval.scoring.released.air_bench import chat_printout, two_scores

#: a judge's reply -> what cal_score.py reads in it
REPLIES: list[tuple[str, tuple[int, int] | None]] = [
    ("8 7", (8, 7)),
    ("10 10", (10, 10)),
    (" 8 7 ", (8, 7)),
    ("8 7\n", (8, 7)),
    ("8 \n7", (8, 7)),
    ("8\n 7", (8, 7)),
    ("+8 7", (8, 7)),
    ("08 07", (8, 7)),
    ("0 0", (0, 0)),
    ("-1 3", (-1, 3)),
    ("\uff18 \uff17", (8, 7)),
    ("1_0 9", (10, 9)),
    ("8\n7", None),
    ("8  7", None),
    ("8\t7", None),
    ("8\u00a07", None),
    ("8, 7", None),
    ("8,7", None),
    ("8.5 7", None),
    ("8/10 7/10", None),
    ("8 7.", None),
    ("8 7 because", None),
    ("11 5", None),
    ("5 11", None),
    ("eight seven", None),
    ("Assistant 1: 8", None),
    ("8", None),
    ("", None),
    ("8 7 6", None),
    ("The scores are 8 7", None),
    ("9" * 5000 + " 1", None),
]


@pytest.mark.parametrize(("reply", "expected"), REPLIES)
def test_two_scores(reply: str, expected: tuple[int, int] | None) -> None:
    assert two_scores(reply) == expected


def test_the_chat_scripts_printout() -> None:
    replies = [
        ("speech_QA", "8 6"),
        ("speech_dialogue_QA", "5 9\n"),
        ("sound_QA", "8 x"),
        ("sound_generation_QA", "7 7"),
        ("music_QA", "10 8 7"),
        ("speech_and_sound_QA", "12 3"),
    ]
    assert chat_printout(replies, swapped=False) == [
        "speech: Sum=2, Win_Rate=0.5, gpt4_avg_score=6.5, llm_avg_score=7.5",
        "sound: Sum=1, Win_Rate=0.0, gpt4_avg_score=7.0, llm_avg_score=7.0",
        "music: no row with two scores",
        "speech_and_sound: no row with two scores",
        "speech_and_music: no row with two scores",
        "fail_num: 3, success_num: 5, percentage: 0.625",
    ]
    assert chat_printout(replies, swapped=True)[0].startswith(
        "speech: Sum=2, Win_Rate=0.5, gpt4_avg_score=6.5"
    )
