"""Tests budgets and arguments of presses: what `ratio` means, what is refused, and the error messages."""

from __future__ import annotations

import re
from dataclasses import FrozenInstanceError, dataclass
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.api.press import Press, budget, press_from_args
from marathon_eval.api.press_ranking import highest_scores
from marathon_eval.api.registry import Registry
from marathon_eval.backends.press_args import split_press_args
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.presses.dart import Dart
from marathon_eval.presses.jitter import Jitter
from marathon_eval.presses.random import Random


@pytest.mark.parametrize(
    ("length", "ratio", "kept"),
    [
        (7500, 0.0, 7500),
        (7500, 0.5, 3750),
        (2250, 0.1, 2025),
        (2250, 0.9, 225),
        (10, 0.9, 1),  # 10 * (1 - 0.9) is 0.9999999999999998
        (1000, 0.3, 700),
        (3, 0.99, 1),
        (1, 0.5, 1),
        (0, 0.5, 0),
    ],
)
def test_budget(length: int, ratio: float, kept: int) -> None:
    assert budget(length, ratio) == kept


@given(st.integers(1, 100_000), st.integers(0, 99))
def test_budget_of_whole_percents_is_what_arithmetic_says(length: int, percent: int) -> None:
    assert budget(length, percent / 100) == max(1, length * (100 - percent) // 100)


@given(st.integers(1, 10_000), st.floats(0, 1, exclude_max=True), st.floats(0, 1, exclude_max=True))
def test_a_larger_ratio_never_keeps_more(length: int, one: float, other: float) -> None:
    low, high = sorted((one, other))
    assert 1 <= budget(length, high) <= budget(length, low) <= length


@pytest.mark.parametrize("ratio", [-0.1, 1.0, 1.2, float("nan")])
def test_budget_refuses_what_is_no_fraction(ratio: float) -> None:
    with pytest.raises(ValueError, match="at least 0 and below 1"):
        budget(10, ratio)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({}, "press=dart needs ratio="),
        ({"ratio": 1.2}, "ratio=1.2: must be at least 0 and below 1"),
        ({"ratio": 1}, "ratio=1.0: must be at least 0 and below 1"),
        ({"ratio": -0.5}, "ratio=-0.5: must be at least 0 and below 1"),
        ({"ratio": "half"}, "ratio=half: must be a number"),
        ({"ratio": "nan"}, "ratio=nan: must be a number"),
        ({"ratio": True}, "ratio=True: must be a number"),
        ({"ratio": None}, "ratio=None: must be a number"),
        ({"ratio": 0.5, "layer": -1}, "layer=-1: must be at least 0"),
        ({"ratio": 0.5, "layer": 2.5}, "layer=2.5: must be a whole number"),
        ({"ratio": "0.3+0.7", "layer": 2}, "1 layers for 2 ratios"),
        ({"ratio": "0.3+0.3", "layer": "2+8"}, "ratios must rise"),
        ({"ratio": "0.3+0.7", "layer": "8+2"}, "layers must rise"),
        ({"ratio": "0.3+1.0", "layer": "2+8"}, "ratio=1.0: must be at least 0 and below 1"),
        ({"ratio": "-0.3+0.5", "layer": "2+8"}, "ratios must be at least 0"),
        ({"ratio": "0.3+many", "layer": "2+8"}, "stages are numbers joined by +"),
        ({"ratio": 0.5, "stages": 3}, "takes no 'stages'"),
        ({"ratio": 0.5, "compat": "kvpress"}, "compat=kvpress: must be audiomarathon"),
        ({"ratio": "0.3+0.5", "layer": "2+8", "compat": "audiomarathon"}, "the released code cuts once"),
        ({"ratio": 0.5, "layre": 2}, "takes no 'layre'. Did you mean layer?"),
        ({"ratio": 0.5, "audio_pivots": 0}, "press=dart: audio_pivots=0: must be at least 1"),
    ],
)
def test_wrong_arguments_are_named(args: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=re.escape(message)):
        press_from_args(Dart, args)


def test_fingerprint_holds_every_setting() -> None:
    press = press_from_args(Dart, {"ratio": 0, "audio_pivots": 2})
    assert press.fingerprint == {
        "press": "dart",
        "version": 3,  # the rule's 2 and the cuts' 1
        "ratio": 0.0,
        "seed": 0,
        "layer": 2,
        "compat": "",
        "audio_pivots": 2,
        "text_pivots": 4,
    }
    assert isinstance(press.ratio, float), "0 and 0.0 are one key"
    assert press.fingerprint != press_from_args(Dart, {"ratio": 0, "audio_pivots": 3}).fingerprint


def test_stages_are_in_the_fingerprint_and_the_last_ratio_is_the_ratio() -> None:
    press = press_from_args(Random, {"ratio": "0.3+0.7", "layer": "2+8"})
    assert press.cuts == ((2, 0.3), (8, 0.7))
    assert (press.ratio, press.layer) == (0.7, 2)
    assert press.fingerprint["stages"] == [[2, 0.3], [8, 0.7]]
    assert "stages" not in press_from_args(Random, {"ratio": 0.7}).fingerprint


def test_a_rule_that_was_not_released_has_no_compat() -> None:
    with pytest.raises(
        MarathonError, match="press=jitter: compat=audiomarathon: the released code has no such"
    ):
        press_from_args(Jitter, {"ratio": 0.5, "compat": "audiomarathon"})


@pytest.mark.parametrize(
    ("length", "ratio", "kept"),
    [
        (7500, 0.5, 3748),
        (7500, 0.9, 748),
        (2250, 0.1, 2028),
        (2250, 0.5, 1124),
        (2250, 0.9, 228),
        (2250, 0, 2250),
    ],
)
def test_dart_keeps_as_many_as_released(length: int, ratio: float, kept: int) -> None:
    assert Dart(ratio=ratio, compat="audiomarathon").kept(length, ratio) == kept


def test_a_press_is_frozen() -> None:
    with pytest.raises(FrozenInstanceError):
        Random(ratio=0.5).ratio = 0.7  # type: ignore[misc]  # the point of the test


def test_arguments_are_split_between_model_and_press() -> None:
    args = {"press": "dart", "ratio": 0.5, "dtype": "bfloat16", "layer": 3}
    rest, press = split_press_args(args, {"dtype", "pretrained"}, Registry().press_class)
    assert rest == {"dtype": "bfloat16"}
    assert press == Dart(ratio=0.5, layer=3)


def test_without_a_press_all_is_the_models() -> None:
    assert split_press_args({"dtype": "x"}, {"dtype"}, Registry().press_class) == ({"dtype": "x"}, None)


@dataclass(frozen=True)
class Clash(Press):
    """Takes an argument that the model takes too."""

    dtype: str = "any"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"ratio": 0.5}, "ratio=0.5 without press=NAME"),
        ({"press": "drat", "ratio": 0.5}, "no press 'drat'. Did you mean dart?"),
        (
            {"press": "dart", "rato": 0.5},
            "neither the model nor press dart takes 'rato'. Did you mean ratio?",
        ),
        ({"press": "dart", "ratio": 0.5, "pretrainde": "x"}, "Did you mean pretrained?"),
    ],
)
def test_names_that_no_one_takes(args: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=re.escape(message)):
        split_press_args(args, {"dtype", "pretrained"}, Registry().press_class)


def test_a_name_that_both_take_is_refused() -> None:
    with pytest.raises(MarathonError, match="'dtype' is an argument of both the model and the press"):
        split_press_args({"press": "clash", "ratio": 0.5, "dtype": "x"}, {"dtype"}, lambda name: Clash)


def test_a_score_that_is_no_number_is_an_error_and_no_choice() -> None:
    scores = torch.tensor([[3.0, float("nan"), 1.0], [1.0, 2.0, 3.0]])
    with pytest.raises(RowError, match="NaN as a score"):
        highest_scores(scores, 2)
    assert highest_scores(torch.tensor([1.0, float("-inf"), 2.0]), 2).tolist() == [2, 0]


def test_a_ratio_that_the_press_computes_itself_cannot_be_typed() -> None:
    @dataclass(frozen=True)
    class Every(Dart):
        n: int = 3

        @classmethod
        def completed(cls, args: dict[str, Any]) -> dict[str, Any]:
            return {**args, "ratio": 1 - 1 / int(args.get("n", cls.n))}

    assert (
        press_from_args(Every, {"n": 2}).ratio == press_from_args(Every, {"n": 2, "ratio": 0.5}).ratio == 0.5
    )
    with pytest.raises(MarathonError, match=r"computes its ratio .* \(0.666667\) and takes no ratio=0.5"):
        press_from_args(Every, {"ratio": 0.5})
