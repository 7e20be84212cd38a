"""Tests that every script named in a document runs, on small input, and prints the documented figures."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
#: `run` and `test` run all of this; the others have tests of their own, and `kvpress_scores` and `peer_tasks` need
#: packages that we do not.
ELSEWHERE = {
    "run",
    "test",
    "nano/train_nano",
    "demo/make_mini",
    "demo/nano_clips",
    "demo/needle_sources",
    "dev/golden/kvpress_scores",
    "dev/make_tiny_qwen_omni",
    "install",
    "docs",
    "dev/peer_tasks",
}
SMALL = {
    "bench": "--repeats 1",
    "bench scale": "--rows 6000",
    "bench decode": "--seconds 10 --repeats 1",
    "bench overlap": "--clips 4 --seconds 5",
    "bench presses": "--size small --tokens 300 --press fastv knorm --ratio 0.5 --repeats 1 --memory",
    "bench batches": "--size small --tokens 200 --new 4 --repeats 1",
    "bench workers": "--seconds 8 --clips 16 --workers 2",
    "bench sweep": "--size small --tokens 300 --clips 2 --cells 2 --minutes 2 --fresh",
    "bench build": "--hours 0.3",
    "faults": "--verbs build --kills 1",
    "fuzz": "cases 1",
}
#: What must be among the lines printed: a name, and a number behind it.
SHAPES = {
    "bench": ["validate, the ten", "build \\+ score"],
    "bench scale": ["after 5,000"],
    "bench decode": ["FLAC", "AAC"],
    "bench overlap": ["first run"],
    "bench presses": ["fastv", "knorm"],
    "bench batches": ["    1", "    4"],
    "bench workers": ["2 workers", "one process"],
    "bench sweep": ["questions", "eviction", "pruning"],
    "bench build": [""],
    "faults": ["build  1 of 1 kills", "10 kills of one rank in 4, 10 survived"],
    "fuzz": ["passed"],
}


def named() -> set[str]:
    """Scripts in the documents, a benchmark's name with its script."""
    text = "\n".join(path.read_text(encoding="utf-8") for path in DOCUMENTS)
    found = re.findall(
        r"(?:bash |^    |`)scripts/([\w/]+)( (?:scale|decode|overlap|presses|batches|sweep|build|workers)\b)?",
        text,
        flags=re.MULTILINE,
    )
    return {script + benchmark for script, benchmark in found}


def test_every_script_that_is_named_is_run_somewhere() -> None:
    assert named() - ELSEWHERE <= set(SMALL) == set(SHAPES)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("script", SMALL)
def test_a_script_prints_what_its_document_shows(script: str) -> None:
    command = ["bash", *f"scripts/{script} {SMALL[script]}".split()]
    env = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Traceback" not in done.stderr
    for shape in SHAPES[script]:
        assert re.search(rf"{shape}.*\d", done.stdout), f"{shape}:\n{done.stdout}"
