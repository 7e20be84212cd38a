"""Tests the garbage collector's threshold: raised while rows are built, restored after, never forced."""

from __future__ import annotations

import argparse
import gc
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from marathon_eval.cli import main
from marathon_eval.evaluator.gc_pause import SELDOM, seldom_collected


@pytest.fixture(autouse=True)
def usual() -> Iterator[tuple[int, int, int]]:
    before = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield gc.get_threshold()
    gc.set_threshold(*before)


def test_the_pace_is_slow_within_and_back_after(usual: tuple[int, int, int]) -> None:
    with seldom_collected():
        assert gc.get_threshold() == (SELDOM, *usual[1:])
    assert gc.get_threshold() == usual


def test_an_error_does_not_leave_it_slow(usual: tuple[int, int, int]) -> None:
    with pytest.raises(KeyError), seldom_collected():
        raise KeyError
    assert gc.get_threshold() == usual


def test_a_model_works_at_the_usual_pace(usual: tuple[int, int, int]) -> None:
    with seldom_collected() as as_usual:
        as_usual()
        assert gc.get_threshold() == usual


def test_a_model_works_at_the_usual_pace_within_several_blocks(usual: tuple[int, int, int]) -> None:
    with seldom_collected():
        with seldom_collected() as as_usual:
            as_usual()
            assert gc.get_threshold() == usual
        assert gc.get_threshold() == (SELDOM, *usual[1:])
    assert gc.get_threshold() == usual


def test_a_process_of_one_run_ends_without_a_search(
    usual: tuple[int, int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    frozen_at: list[int] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen_at.append(gc.get_threshold()[0]))
    monkeypatch.setattr(main, "_module", lambda verb: SimpleNamespace(run=lambda flags: 3))
    monkeypatch.setattr(main, "verb_parser", lambda verb: argparse.ArgumentParser())
    assert main.dispatch(["run"], alone=True) == 3
    assert (frozen_at, gc.get_threshold()) == ([SELDOM], usual)
    assert main.dispatch(["run"]) == main.dispatch(["compare"], alone=True) == 3
    assert frozen_at == [SELDOM], "other verbs, and runs of a program's own, leave its objects alone"


@pytest.mark.parametrize("own", [0, 10 * SELDOM])
def test_a_program_with_a_pace_of_its_own_keeps_it(own: int) -> None:
    gc.set_threshold(own, 3, 4)
    with seldom_collected():
        assert gc.get_threshold() == (own, 3, 4)
    assert gc.get_threshold() == (own, 3, 4)
