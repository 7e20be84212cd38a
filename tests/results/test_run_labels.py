"""Tests that runs of one model are named by the settings in which they differ."""

from __future__ import annotations

from typing import Any

from marathon_eval.results.run_labels import names_of

NANO: dict[str, Any] = {"model": "qwen_omni", "pretrained": "nano", "press": None}


def test_a_setting_that_only_one_run_has_is_named() -> None:
    assert names_of([NANO, {**NANO, "kv_bits": 2}]) == ["qwen_omni", "qwen_omni kv_bits=2"]
    both = [{**NANO, "kv_bits": bits} for bits in (2, 4)]
    assert names_of(both) == ["qwen_omni kv_bits=2", "qwen_omni kv_bits=4"]
    assert names_of(both[:1]) == ["qwen_omni"]


def test_an_unreadable_one_is_not() -> None:
    assert names_of([NANO, {**NANO, "lora": {"r": 8}}, {**NANO, "weights": "a" * 64}]) == ["qwen_omni"] * 3
