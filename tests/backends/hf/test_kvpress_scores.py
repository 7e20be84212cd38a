"""Compares the eviction scores with NVIDIA kvpress's, on inputs stored by scripts/dev/golden/kvpress_scores.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from marathon_eval.api.press import EvictionView
from marathon_eval.api.registry import Registry

STORED = Path(__file__).resolve().parents[2] / "golden" / "kvpress_scores.npz"
WINDOW = 16
SETTINGS = {
    "knorm": {},
    "keydiff": {},
    "tova": {},
    "snapkv": {"window": WINDOW, "kernel": 5},
    "expected_attention": {"future": 32, "sinks": 4},
}


def turning(first: int, count: int, size: int, theta: float) -> torch.Tensor:
    """[d, d] mean rotary matrix of `count` positions from `first`, by the definition of rotary embeddings."""
    angles = torch.outer(
        torch.arange(first, first + count).float(), theta ** (-torch.arange(0, size, 2) / size)
    )
    cos, sin = angles.cos().mean(0).diag(), angles.sin().mean(0).diag()
    return torch.cat([torch.cat([cos, -sin], 1), torch.cat([sin, cos], 1)])


@pytest.mark.parametrize("name", SETTINGS)
def test_scores_are_kvpress_s(name: str) -> None:
    with np.load(STORED) as stored:
        arrays = {key: torch.from_numpy(stored[key]) for key in stored.files}
    press = Registry().press_class(name)(ratio=0.5, **SETTINGS[name])
    length = arrays["keys"].shape[1]
    view = EvictionView(
        layer=1,
        layers=2,
        keys=arrays["keys"],
        values=arrays["values"],
        queries=arrays["rotated"][:, -press.window :] if press.window else None,
        unrotated=arrays["unrotated"],
        rotation=lambda count: turning(length, count, 16, float(arrays["rope_theta"])),
        audio=torch.arange(length),
        keep=length // 2,
        generator=torch.Generator().manual_seed(0),
    )
    ours = press.score(view).expand(len(view.keys), -1)
    theirs = arrays[f"score_{name}"]
    assert (ours - theirs).abs().max() < 1e-5
