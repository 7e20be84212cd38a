"""Tests the script that makes sources of position probes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import soundfile

from marathon_eval.corpus.build.needle_flags import with_needle_flags
from marathon_eval.corpus.build.pipeline import Order, plan
from marathon_eval.corpus.build.recipe import load_recipe

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "demo" / "needle_sources"


def test_its_sounds_are_what_the_recipe_expects(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), str(tmp_path), "--only", "sounds", "--minutes", "0.1"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert soundfile.info(str(tmp_path / "sounds" / "bed" / "room.flac")).duration == 6
    recipe = load_recipe("needle")
    assert recipe.question is not None
    events = {path.parent.name for path in (tmp_path / "sounds" / "event").glob("*/*.flac")}
    assert events == set(recipe.question.choices)
    # three sounds fit into the shortest clip at every depth of the recipe, and their labels leave three false options
    short = with_needle_flags(recipe, "5,15", None, None)
    planned = plan(short, Order(tmp_path / "sounds", tmp_path / "out"))
    assert len(planned.pairs) == 20 * 2 * 5
    assert planned.left == []


def test_a_length_that_cannot_be_is_told(tmp_path: Path) -> None:
    words = [sys.executable, str(SCRIPT), str(tmp_path), "--minutes", "0"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--minutes: must be above 0 and at most 240" in done.stderr
