"""Searches for bytes that break a function of tests/helpers/fuzz_targets.py, with https://github.com/google/atheris.

The search is guided by coverage. Every function (a "door") has a process of its own and an equal share of the time,
and starts from its folder in tests/fuzz_corpus. Inputs that break it are stored in `--output_path` under the name of
the error; inputs that reach new code are stored there too, outside of git.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))
CORPUS = ROOT / "tests" / "fuzz_corpus"
HANG_SECONDS = 10
MEMORY_MB = 2000


class Found(NamedTuple):
    """Holds the result of fuzzing one function: cases tried, and the files of those that broke it."""

    door: str
    cases: int
    faults: list[str]


def session(door: str, seconds: int, output: Path) -> Found:
    """Fuzz one function in a new process after each fault, within its share of the time."""
    folder = output / door
    (folder / "reached").mkdir(parents=True, exist_ok=True)
    faults = folder / "faults"
    faults.mkdir(exist_ok=True)
    cases, left = 0, seconds
    for _ in range(5):
        done, took = one_process(door, left, folder, faults)
        cases += done
        left -= took
        if left < 5:
            break
    return Found(door, cases, sorted(str(path) for path in faults.iterdir()))


def one_process(door: str, seconds: int, folder: Path, faults: Path) -> tuple[int, int]:
    """Fuzz in one process; return the number of cases and the seconds it took."""
    command = [
        sys.executable,
        __file__,
        "--door",
        door,
        f"-max_total_time={seconds}",
        f"-timeout={HANG_SECONDS}",
    ]
    command += [
        f"-rss_limit_mb={MEMORY_MB}",
        f"-artifact_prefix={faults}/",
        "-print_final_stats=1",
        "-max_len=4096",
    ]
    command += [str(folder / "reached"), str(CORPUS / door)]
    with (folder / "log.txt").open("a") as log:
        # in the door's own folder, where a fuzzed file name cannot match a file of the checkout
        subprocess.run(command, stdout=log, stderr=log, check=False, cwd=folder)
    text = (folder / "log.txt").read_text(errors="replace")
    cases = [int(number) for number in re.findall(r"number_of_executed_units: (\d+)", text)]
    took = re.findall(r"Done \d+ runs in (\d+) second", text)
    return cases[-1] if cases else 0, int(took[-1]) if took else seconds // 2


def explore(door: str, flags: list[str]) -> None:
    """Call one function in this process until it breaks or the time is over."""
    import atheris

    folder = tempfile.TemporaryDirectory()
    # a door imports much of what it needs when it is first used
    with atheris.instrument_imports(include=["marathon_eval", "jinja2", "yaml"]):
        from helpers.fuzz_targets import DOORS

        one = DOORS[door](Path(folder.name))
        for path in sorted((CORPUS / door).iterdir()):
            one(path.read_bytes())

    # libFuzzer's own limit sees resident memory; this one stops a single allocation without measure
    resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
    with folder:
        atheris.Setup([sys.argv[0], *flags], one)
        atheris.Fuzz()


def lines(found: list[Found]) -> Iterator[str]:
    for one in found:
        yield f"{one.door:12} {one.cases:9} cases, {len(one.faults)} faults"
        yield from (f"  {path}" for path in one.faults)
    yield f"{sum(one.cases for one in found)} cases, {sum(len(one.faults) for one in found)} faults"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=600, help="time for all doors together")
    parser.add_argument("--output_path", default="fuzzed", help="a folder for faults and logs")
    parser.add_argument("--doors", nargs="+", help="fuzz only these doors (default: all)")
    parser.add_argument("--door", help=argparse.SUPPRESS)
    arguments, flags = parser.parse_known_args()
    if arguments.door:
        explore(arguments.door, flags)
        return 0
    doors = arguments.doors or sorted(path.name for path in CORPUS.iterdir())
    output = Path(arguments.output_path).resolve()
    found = [session(door, arguments.seconds // len(doors), output) for door in doors]
    print(*lines(found), sep="\n")
    (output / "found.json").write_text(json.dumps([one._asdict() for one in found], indent=1) + "\n")
    return 1 if any(one.faults for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
