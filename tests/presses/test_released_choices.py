"""Tests that `compat=audiomarathon` keeps the very tokens that AudioMarathon's released code keeps."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from marathon_eval.api.press import PruningPress, PruningView
from marathon_eval.presses.dart import Dart
from marathon_eval.presses.frame import Frame

FILE = Path(__file__).resolve().parents[1] / "parity" / "dart_released.json"
CASES: list[dict[str, Any]] = json.loads(FILE.read_text(encoding="utf-8"))["cases"]


def view_of(press: PruningPress, positions: range, keys: torch.Tensor, states: torch.Tensor) -> PruningView:
    """Show a press the span `positions`; the states are taken as normalised already."""
    audio: Any = torch.tensor(positions)
    return PruningView(
        hidden=states,
        norm=lambda hidden: hidden,
        keys=keys,
        attention=None,
        audio=audio,
        keep=press.kept(len(positions), press.ratio),
        generator=torch.Generator(),
    )


def drawn(case: dict[str, Any]) -> tuple[range, torch.Tensor, torch.Tensor]:
    """Draw a case's span, keys and hidden states from its seed, as its file describes."""
    rng = np.random.default_rng(case["seed"])
    before, after = int(rng.integers(5, 30)), int(rng.integers(12, 60))
    assert (before, after) == (case["before"], case["after"])
    length = before + case["audio"] + after
    keys = rng.standard_normal((case["heads"], length, case["head_dim"])).astype(np.float32)
    states = rng.standard_normal((length, case["hidden"])).astype(np.float32)
    return range(before, before + case["audio"]), torch.from_numpy(keys), torch.from_numpy(states)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"seed {case['seed']}")
def test_dart_keeps_the_released_tokens(case: dict[str, Any]) -> None:
    press = Dart(ratio=case["ratio"], compat="audiomarathon")
    assert sorted(press.select(view_of(press, *drawn(case))).tolist()) == case["kept"]


def test_without_compat_dart_keeps_others() -> None:
    case = max(CASES, key=lambda case: case["audio"])
    press = Dart(ratio=case["ratio"])
    assert sorted(press.select(view_of(press, *drawn(case))).tolist()) != case["kept"]


def test_equally_similar_tokens_are_chosen_in_the_released_order() -> None:
    press = Dart(ratio=0.5, compat="audiomarathon")
    positions, keys, _ = drawn(CASES[0])
    chosen = press.select(view_of(press, positions, keys, torch.ones(keys.shape[1], 4)))
    assert len(set(chosen.tolist())) == press.kept(len(positions), 0.5)


def test_frame_multiplies_floats_as_released() -> None:
    nothing = torch.zeros(1, 1)
    differing = 0
    for length in range(2, 400):
        for ratio in (0.1, 0.3, 0.5, 0.7, 0.9):
            released, ours = Frame(ratio=ratio, compat="audiomarathon"), Frame(ratio=ratio)
            view = view_of(released, range(length), nothing, nothing)
            count = max(1, int(length * (1 - ratio)))
            expected = [int(i * (length / count)) for i in range(count)]
            assert released.select(view).tolist() == expected
            assert len(set(expected)) == count
            differing += ours.select(view).tolist() != expected
    assert differing > 0


@pytest.mark.parametrize("press", [Dart, Frame])
def test_only_the_key_of_compat_changed(press: type[PruningPress]) -> None:
    ours, released = press(ratio=0.5), press(ratio=0.5, compat="audiomarathon")
    assert ours.rule_version == press.version
    assert released.rule_version == press.compat_version == 2
    # with the version of the cuts, which all presses share
    assert ours.fingerprint["version"] == press.version + 1
    assert released.fingerprint["version"] == 3
