"""Tests presses on a model that hears: which events they keep and lose, and that a planted fault is detected.

The clips are 40 s of household sounds with four options, so chance is a quarter.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from helpers.nano_clips import events, right
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.pruning import Pruning

CLIPS = 20
#: `pool` takes m=, not ratio=.
PRESSES = [name for name in Registry().names("press") if name != "pool"]


@pytest.fixture(scope="module")
def everywhere(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return events(tmp_path_factory.mktemp("everywhere"), CLIPS, (0.0, 1.0))


def test_it_hears_and_the_common_presses_keep_most_of_it(everywhere: Path) -> None:
    found = right(everywhere, ["none", "random", "fastv", "snapkv"], [0.3])
    assert found["none"] >= 0.8 * CLIPS
    for label, count in found.items():
        assert count >= 0.8 * found["none"], label


@pytest.mark.slow
@pytest.mark.parametrize("press", PRESSES)
def test_every_press_keeps_most_of_it_at_a_third(everywhere: Path, press: str) -> None:
    found = right(everywhere, ["none", press], [0.3])
    assert found[f"{press} 0.3"] >= 0.8 * found["none"]


def test_truncate_loses_what_it_cuts_and_keeps_what_it_does_not(tmp_path: Path) -> None:
    early = right(events(tmp_path / "early", CLIPS, (0.0, 0.4)), ["none", "truncate"], [0.5])
    late = right(events(tmp_path / "late", CLIPS, (0.6, 1.0)), ["none", "truncate"], [0.5])
    assert early["truncate 0.5"] >= 0.8 * early["none"]
    # the end of a clip is heard less well; twice chance is well above what guessing gives
    assert late["none"] >= 0.5 * CLIPS
    assert late["truncate 0.5"] <= 0.5 * late["none"]


def test_shuffled_rotary_positions_are_noticed(everywhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The planted fault: what stays after the cut stands at other tokens' positions."""
    cut = Pruning._cut

    def shuffled(self: Pruning, current: Any, layer: int, *rest: Any) -> torch.Tensor:
        hidden = cut(self, current, layer, *rest)
        stayed = current.cuts[layer]
        order = torch.randperm(stayed.order.shape[1], generator=torch.Generator().manual_seed(0))
        stayed.rotary = tuple(part[..., order, :] for part in stayed.rotary)
        return hidden

    # cut before the first layer: options and their letters find each other by their places in the first two
    sound = right(everywhere, ["random"], [0.3], [0])["random L0 0.3"]
    monkeypatch.setattr(Pruning, "_cut", shuffled)
    assert sound >= 0.6 * CLIPS
    assert right(everywhere, ["random"], [0.3], [0])["random L0 0.3"] <= 0.6 * sound
