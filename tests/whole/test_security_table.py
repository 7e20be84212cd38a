"""Tests that SECURITY.md names tests for each of its rules, and that these exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_rule_names_tests_that_are_there() -> None:
    text = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    rules = re.findall(r"^\| (\d+) \|(.*)\|$", text, re.MULTILINE)
    assert [number for number, _ in rules] == [str(number) for number in range(1, 11)]
    for number, rule in rules:
        named = re.findall(r"`(tests/[\w/]+\.py)`", rule)
        assert named, number
        assert [name for name in named if not (ROOT / name).is_file()] == []
