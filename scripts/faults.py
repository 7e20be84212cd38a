"""Kill, interrupt and starve real runs of the dummy model, then finish them: how many answers were lost or changed?

kill -9 at seeded moments from the start of the process to its end, SIGINT, SIGTERM, a file size limit (sqlite meets it
as a full disk), ENOSPC while results are written, and an output folder that cannot be written.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import released  # the builder of the released layouts lives with the tests

REQUESTS = 200
SECONDS_EACH = 0.01
FULL_DISK = """
import errno, os, sys
def refuse(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.fsync = refuse
from marathon_eval.cli import main
sys.exit(main())
"""


class Outcome(NamedTuple):
    """One broken run: how it ended, what its cache kept, and whether the finished run is the undisturbed one."""

    fault: str
    code: int
    kept: int
    asked_again: int
    same: bool
    clean: bool


def flags(folder: Path, data: Path, sleep: float) -> list[str]:
    model = ["--model", "dummy", "--model_args", f"mode=random,sleep={sleep}"]
    kept = ["--use_cache", str(folder / "kept"), "--output_path", str(folder / "out")]
    return [*model, "--tasks", "race", "--data_dir", str(data), *kept, "--json"]


def start(folder: Path, data: Path, **how: Any) -> subprocess.Popen[str]:
    command = [sys.executable, *how.pop("code", ["-m", "marathon_eval"]), *flags(folder, data, SECONDS_EACH)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, cwd=ROOT, **how)


def finished(folder: Path, data: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "marathon_eval", *flags(folder, data, 0.0)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, timeout=120)
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def outcome(fault: str, process: subprocess.Popen[str], folder: Path, data: Path, right: Any) -> Outcome:
    """Wait for the broken run, finish it, and compare."""
    _, said = process.communicate(timeout=120)
    after = finished(folder, data)
    clean = "Traceback" not in said
    return Outcome(
        fault,
        process.returncode,
        after["cache"]["hits"],
        after["cache"]["misses"],
        after["tasks"] == right,
        clean,
    )


def signalled(number: signal.Signals, wait: float, folder: Path, data: Path, right: Any) -> Outcome:
    process = start(folder, data)
    time.sleep(wait)
    process.send_signal(number)
    return outcome(f"{number.name} after {wait:.2f} s", process, folder, data, right)


def starved(limit: int, folder: Path, data: Path, right: Any) -> Outcome:
    def no_larger_file() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    process = start(folder, data, preexec_fn=no_larger_file)
    return outcome(f"no file over {limit} bytes", process, folder, data, right)


def full_disk(folder: Path, data: Path, right: Any) -> Outcome:
    return outcome("ENOSPC at results", start(folder, data, code=["-c", FULL_DISK]), folder, data, right)


def unwritable(folder: Path, data: Path, right: Any) -> Outcome:
    folder.mkdir(parents=True)
    (folder / "out").write_text("a file where the folder should be")
    process = start(folder, data)
    process.wait(timeout=60)
    (folder / "out").unlink()
    return outcome("output not writable", process, folder, data, right)


def faults(seed: int, kills: int, whole_seconds: float) -> list[Callable[[Path, Path, Any], Outcome]]:
    draw = random.Random(seed)

    def at(number: signal.Signals) -> Callable[[Path, Path, Any], Outcome]:
        wait = draw.uniform(0.05, whole_seconds)
        return lambda folder, data, right: signalled(number, wait, folder, data, right)

    signals = [signal.SIGKILL] * kills + [signal.SIGINT, signal.SIGTERM] * 5
    limits = [lambda f, d, r, n=n: starved(n, f, d, r) for n in (60_000, 150_000, 300_000)]
    return [*map(at, signals), *limits, full_disk, unwritable]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = released.build(folder / "data", {"race": REQUESTS})
        clock = time.monotonic()
        start(folder / "whole", data).communicate()
        seconds = time.monotonic() - clock
        right = finished(folder / "whole", data)["tasks"]
        found = []
        for number, fault in enumerate(faults(arguments.seed, arguments.kills, seconds)):
            found.append(fault(folder / f"run{number}", data, right))
            one = found[-1]
            print(
                f"{one.fault:24} exit {one.code:4}  kept {one.kept:4}  asked again {one.asked_again:4}  "
                f"{'same' if one.same else 'DIFFERENT'}{'' if one.clean else '  TRACEBACK'}",
                flush=True,
            )
    bad = [one for one in found if not one.same or not one.clean]
    print(
        f"{len(found)} faults, {len(found) - len(bad)} survived; asked again {sum(one.asked_again for one in found)} "
        f"of {REQUESTS * len(found)} rows"
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
