"""Tests that prompts of AIR-Bench, MMAR and MMAU do not change: a change makes every cached response useless."""

from __future__ import annotations

import json
from pathlib import Path

from helpers.audiomarathon_prompts import GOLDEN
from helpers.benchmark_prompts import rendered_benchmarks


def test_prompts_are_those_of_the_golden_file(tmp_path: Path) -> None:
    golden = json.loads((GOLDEN / "benchmark_prompts.json").read_text(encoding="utf-8"))
    assert rendered_benchmarks(tmp_path) == golden, (
        "if this is meant: scripts/dev/golden/update_goldens.py benchmark_prompts, and raise the task's metadata.version"
    )
