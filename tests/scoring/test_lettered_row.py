"""Tests that a row's shortcut, for options that hold no lone letter, gives what reading their names gives."""

from __future__ import annotations

import random
import re

import pytest

from marathon_eval.scoring.filters import lettered_row
from marathon_eval.scoring.filters.lettered_row import LetteredRow

PARTS = [
    "A",
    "b",
    "C#",
    "Bb",
    "D flat",
    "a-flat",
    "E sharp",
    "don't",
    "x's",
    "'s",
    "5s",
    "10 dB",
    "Grade C",
    "(A)",
    "A.",
    "cat (B)",
    "I",
    "1/2",
    "b+",
    "c%",
    "plan-b",
    "p_q",
    "_'Bb",
    "x'Bb",
    "é",
    "B-",
    "U.S.",
    "rock & r",
    "T-shirt",
    "Db major",
    "minus x",
    "dog",
    "cat",
    "bird song",
    "rock",
    "blues",
    "man",
    "yes",
    "none",
    "89 entities",
    "1,500 Hz",
    ".5s",
    "5 percent",
    "less than 3",
    "at least 2 m",
    "3 to 5 k",
    "2nd",
    "C4",
    "4's",
    "one",
]
CHARACTERS = "abAB gb#'+%-_./(),5sé0km"


def drawn(draw: random.Random) -> tuple[str, ...]:
    if draw.random() < 0.5:
        return tuple(" ".join(draw.choices(PARTS, k=draw.randint(1, 3))) for _ in range(draw.randint(1, 5)))
    return tuple("".join(draw.choices(CHARACTERS, k=draw.randint(0, 7))) for _ in range(draw.randint(1, 4)))


def row(choices: tuple[str, ...], letters: int) -> LetteredRow:
    return lettered_row.lettered_row.__wrapped__(choices, letters)


def test_the_shortcut_changes_no_row(monkeypatch: pytest.MonkeyPatch) -> None:
    draw = random.Random(0)
    cases = [
        (choices, letters) for choices in (drawn(draw) for _ in range(3000)) for letters in (0, len(choices))
    ]
    short = [row(*case) for case in cases]
    monkeypatch.setattr(lettered_row, "_MAY_NAME_A_LETTER", re.compile(""))
    assert short == [row(*case) for case in cases]


def test_most_options_take_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lettered_row, "option_texts", None)
    assert row(("dogs bark", "someone sings"), 2).spans is None
    assert row(("3 dogs", "12 entities"), 2).spans is None
    with pytest.raises(TypeError):
        row(("grade C", "grade D"), 2)
