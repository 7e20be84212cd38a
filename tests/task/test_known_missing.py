"""The clips that AudioMarathon's release lacks are named one by one, so that no other missing clip is passed over."""

from __future__ import annotations

import pytest

from helpers.audiomarathon_prompts import load_shipped


@pytest.mark.parametrize(("name", "count"), [("vesus", 12), ("slue", 1), ("vox_age", 2), ("vox_gender", 2)])
def test_each_missing_clip_is_named(name: str, count: int) -> None:
    names = load_shipped(name).config.known_missing
    assert len(set(names)) == count
    assert not any(set("*?[") & set(entry.lstrip("*")) for entry in names)
    assert all(entry.endswith(".wav") for entry in names)
