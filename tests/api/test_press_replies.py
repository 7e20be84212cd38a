"""Tests what is said of an own press that returns something else than what is wanted."""

from __future__ import annotations

from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
import torch

from marathon_eval.api.press import EvictionPress, PruningPress
from marathon_eval.api.press_replies import checked_key_positions, checked_positions, press_reply
from marathon_eval.errors import RowError

AUDIO = torch.arange(10, 20)
VIEW: Any = SimpleNamespace(audio=AUDIO, keep=4, keys=torch.rand(2, 24, 8))


@dataclass(frozen=True)
class Chooser(PruningPress):
    """Returns what it is told to."""

    reply: ClassVar[Any] = None

    def select(self, view: Any) -> Any:
        return type(self).reply(view)


@dataclass(frozen=True)
class Scorer(EvictionPress):
    """Scores as it is told to."""

    reply: ClassVar[Any] = None

    def score(self, view: Any) -> Any:
        return type(self).reply(view)


def refusal(rule: Any, press: Any, check: Any) -> str:
    type(press).reply = staticmethod(rule)
    with pytest.raises(RowError) as told:
        check(press)
    text = str(told.value)
    assert text.startswith(f"press test_press_replies (class {type(press).__name__} in {__file__}): ")
    return text


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (
            lambda view: torch.arange(view.keep),
            "got numbers from 0 to 3, and the audio's positions are 10 to 19: places in",
        ),
        (lambda view: view.audio[:4].tolist(), "got list of length 4"),
        (lambda view: view.audio[:4].float(), "got a float32 tensor of shape [4]"),
        (lambda view: view.audio[None, :4], "got a int64 tensor of shape [1, 4]"),
        (lambda view: view.audio[:3], "got a int64 tensor of shape [3]"),
        (lambda view: view.audio[[0, 0, 1, 2]], "got 3 different ones, some twice"),
        (
            lambda view: view.audio[:4] + 14,
            "got numbers from 24 to 27, and the audio's positions are 10 to 19",
        ),
        (lambda view: None, "got NoneType"),
    ],
)
def test_a_wrong_choice_is_told_with_what_is_wanted(rule: Any, said: str) -> None:
    def check(press: Any) -> None:
        checked_positions(press, VIEW, press.select(VIEW))

    text = refusal(rule, Chooser(ratio=0.5), check)
    assert "select must return a LongTensor [4] of different entries of view.audio [10]" in text
    assert said in text


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (lambda view: view.keys.norm(dim=-1).tolist(), "got list of length 2"),
        (lambda view: view.keys, "got a float32 tensor of shape [2, 24, 8]"),
        (lambda view: view.keys.norm(), "got a float32 tensor of shape []"),
        (lambda view: torch.rand(3, 24), "got a float32 tensor of shape [3, 24]"),
        (
            lambda view: torch.rand(2, 10),
            "shape [2, 10]: a score is wanted for each of view.keys, text included",
        ),
        (
            lambda view: view.audio[:4],
            "shape [4]: a score is wanted for each of view.keys, not the positions",
        ),
    ],
)
def test_scores_of_a_wrong_shape_are_told_with_what_is_wanted(rule: Any, said: str) -> None:
    text = refusal(rule, Scorer(ratio=0.5), lambda press: press.select(VIEW))
    assert "score must return a Tensor of scores [2 key heads, 24 keys] or [24 keys], got " in text
    assert said in text


@pytest.mark.parametrize("shape", [(2, 24), (1, 24), (24,)])
def test_scores_of_every_allowed_shape_choose(shape: tuple[int, ...]) -> None:
    scores = torch.arange(24).expand(shape)
    Scorer.reply = staticmethod(lambda view: scores)
    press = Scorer(ratio=0.5)
    chosen = checked_key_positions(press, VIEW, press.select(VIEW))
    assert sorted(chosen[0].tolist()) == [16, 17, 18, 19]


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (torch.arange(4).expand(2, 4), "places in view.audio; return view.audio[places]"),
        (AUDIO[:4], "got a int64 tensor of shape [4]"),
        (AUDIO[[0, 0, 1, 2]].expand(2, 4), "got a row with a position twice"),
    ],
)
def test_keys_that_an_own_select_names_wrongly(chosen: Any, said: str) -> None:
    with pytest.raises(RowError) as told:
        checked_key_positions(Scorer(ratio=0.5), VIEW, chosen)
    assert "select must return a LongTensor [2 key heads, 4] of different entries" in str(told.value)
    assert said in str(told.value)


def test_what_a_press_raises_has_its_file_and_line_and_want_of_memory_passes() -> None:
    def wrong(view: Any) -> Any:
        return view.audio[99]

    text = refusal(wrong, Chooser(ratio=0.5), lambda press: press_reply(press, VIEW, press.select))
    line = wrong.__code__.co_firstlineno + 1
    assert f"{__file__}:{line}: IndexError: index 99 is out of bounds" in text

    def hungry(view: Any) -> Any:
        raise torch.OutOfMemoryError("CUDA out of memory")

    Chooser.reply = staticmethod(hungry)
    with pytest.raises(torch.OutOfMemoryError):
        press_reply(Chooser(ratio=0.5), VIEW, Chooser(ratio=0.5).select)
