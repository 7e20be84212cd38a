"""Replays hostile bytes, made by hand or found by `scripts/fuzz`: each ends in success or a readable error."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.fuzz_targets import DOORS

CORPUS = Path(__file__).resolve().parents[1] / "fuzz_corpus"
HANG_SECONDS = 10
REPLAY = """
import json, re, sys, tempfile
from pathlib import Path
sys.path.insert(0, "tests")
from helpers.fuzz_targets import DOORS
# not ru_maxrss: it still holds the peak of the test process that this one was forked from
peak = lambda: int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
before = peak()
cases = 0
for name, door in DOORS.items():
    with tempfile.TemporaryDirectory() as folder:
        one = door(Path(folder))
        for path in sorted(Path("tests/fuzz_corpus", name).iterdir()):
            one(path.read_bytes())
            cases += 1
print(json.dumps({"cases": cases, "grown_kb": peak() - before}))
"""


@pytest.mark.parametrize("door", DOORS)
def test_every_kept_case_ends_as_a_user_can_read_it(
    door: str, tmp_path: Path, subtests: pytest.Subtests
) -> None:
    one = DOORS[door](tmp_path)
    cases = sorted((CORPUS / door).iterdir())
    assert len(cases) > 5
    for path in cases:
        with subtests.test(path.name):
            clock = time.monotonic()
            one(path.read_bytes())
            assert time.monotonic() - clock < HANG_SECONDS


def test_every_door_has_its_folder() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(DOORS)


def test_all_of_them_in_one_process_take_less_than_a_gigabyte() -> None:
    done = subprocess.run(
        [sys.executable, "-c", REPLAY], capture_output=True, text=True, check=False, cwd=CORPUS.parent.parent
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["cases"] == sum(1 for path in CORPUS.rglob("*") if path.is_file())
    assert found["grown_kb"] < 1_000_000
