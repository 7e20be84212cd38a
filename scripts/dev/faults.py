"""Interrupts real runs, sweeps, judged runs and builds, finishes them, and counts lost or changed responses.

The faults are: kill -9 at seeded moments from the start of a process to its end, each finished by the same command;
SIGINT and SIGTERM; a wall clock that jumps by up to a year; a limit on the size of files (sqlite reports it as a full
disk) and, if this user may mount, a disk of 4 MB that another process fills; ENOSPC while results are written; a
folder that cannot be written; and four commands on one cache folder, of which one is killed.
"""

from __future__ import annotations

import argparse
import errno
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers.killable_command import (  # what breaks commands off lives with the tests
    MOST_LOST,
    VERBS,
    Job,
    make_data,
)

SLEEP = 0.01
ALL = (*VERBS, "build")
FULL_AT_THE_END = """
import errno, os
def refuse(*_): raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
os.fsync = refuse
"""


class Outcome(NamedTuple):
    """Holds a disturbed command's exit, the responses generated twice, and whether its results are unchanged."""

    fault: str
    verb: str
    code: int
    finished: int
    asked_again: int
    same: bool
    clean: bool

    @property
    def survived(self) -> bool:
        return self.same and self.clean and self.asked_again <= MOST_LOST


#: Disturbs a job until it ends, and returns its exit code and stderr.
Disturb = Callable[[Job], tuple[int, str]]


def signalled(number: signal.Signals, wait: float, **how: Any) -> Disturb:
    def disturb(job: Job) -> tuple[int, str]:
        process = job.start(SLEEP, **how)
        time.sleep(wait)
        process.send_signal(number)
        return ended(process)

    return disturb


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, stderr = process.communicate(timeout=120)
    return process.returncode, stderr


def starved(most: int) -> Disturb:
    def no_larger_file() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return lambda job: ended(job.start(0.001, preexec_fn=no_larger_file))


def full_at_the_end(job: Job) -> tuple[int, str]:
    hook = job.folder / "hook"
    hook.mkdir(parents=True)
    (hook / "sitecustomize.py").write_text(FULL_AT_THE_END)
    return ended(job.start(0.0, first=hook))


def unwritable(job: Job) -> tuple[int, str]:
    return ended(job.start(0.0, {"READ_ONLY": str(job.folder / "out")}))


@contextmanager
def small_disk(place: Path) -> Iterator[bool]:
    """Mount a disk of 4 MB at `place`; yield False if this user may not mount."""
    place.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    mounted = os.geteuid() == 0 and subprocess.run(command, capture_output=True, check=False).returncode == 0
    try:
        yield mounted
    finally:
        if mounted:
            subprocess.run(["umount", str(place)], check=True)


def filled_meanwhile(job: Job) -> tuple[int, str]:
    """Fill the disk of the command's cache from another process; free it before the command runs again."""
    ballast = job.kept / "ballast"
    process = job.start(SLEEP)
    job.wait(40, process)
    try:
        ballast.write_bytes(bytes(4_000_000))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
    try:
        return ended(process)
    finally:
        ballast.unlink()


def judged(fault: str, job: Job, disturb: Disturb, right: Any) -> Outcome:
    """Disturb a job, finish it, and compare its results with the undisturbed ones."""
    code, said = disturb(job)
    before = sum(job.finished().values())
    same = job.finish() == right
    return Outcome(fault, job.verb, code, before, job.asked_again(), same, "Traceback" not in said)


def kills(draw: random.Random, count: int, seconds: dict[str, float]) -> Iterator[tuple[str, str, Disturb]]:
    """Send kill -9 to all verbs in turn, every fourth time with a jumping clock."""
    for number in range(count):
        verb = tuple(seconds)[number % len(seconds)]
        wait = draw.uniform(0.05, seconds[verb])
        env = {"CLOCK_SEED": str(number)} if number % 4 == number // 4 % 4 else {}
        yield (
            f"kill -9 at {wait:.2f} s{' clock jumps' if env else ''}",
            verb,
            signalled(signal.SIGKILL, wait, env=env),
        )


def others(draw: random.Random, seconds: dict[str, float]) -> Iterator[tuple[str, str, Disturb]]:
    for verb, whole in seconds.items():
        for number in (signal.SIGINT, signal.SIGTERM):
            wait = draw.uniform(0.3, whole)
            yield f"{number.name} at {wait:.2f} s", verb, signalled(number, wait)
        yield "output read-only", verb, unwritable
        yield "ENOSPC at the end", verb, full_at_the_end
        yield "clock jumps", verb, lambda job: ended(job.start(SLEEP, {"CLOCK_SEED": "7"}))
    for verb in answering(seconds):
        for most in (60_000, 200_000, 400_000):
            yield f"no file over {most}", verb, starved(most)


def answering(verbs: Iterable[str]) -> list[str]:
    """Return the verbs that store responses; build makes audio instead."""
    return [verb for verb in verbs if verb in VERBS]


def one_cache(folder: Path, data: Path, right: dict[str, Any], wait: float) -> Iterator[Outcome]:
    """Start run, sweep, a judged run and a second run on one cache folder at once, and kill the second run."""
    jobs = [
        Job(verb, data, folder / f"{verb}{n}", folder / "cache") for n, verb in enumerate((*VERBS, "run"))
    ]
    processes = [job.start(SLEEP) for job in jobs]
    time.sleep(wait)
    processes[-1].kill()
    for job, process in zip(jobs, processes, strict=True):
        yield judged("four on one cache", job, lambda _, process=process: ended(process), right[job.verb])


def disturbed(folder: Path, data: Path, arguments: argparse.Namespace) -> Iterator[Outcome]:
    """Yield the outcomes, one after the other."""
    right, seconds = {}, {}
    for verb in arguments.verbs:
        job, clock = Job(verb, data, folder / "whole" / verb), time.monotonic()
        job.start(SLEEP).communicate()
        seconds[verb] = time.monotonic() - clock
        right[verb] = job.finish()
    draw = random.Random(arguments.seed)
    for number, (fault, verb, disturb) in enumerate(
        [*kills(draw, arguments.kills, seconds), *others(draw, seconds)]
    ):
        yield judged(fault, Job(verb, data, folder / f"job{number}"), disturb, right[verb])
    if set(VERBS) <= set(seconds):
        yield from one_cache(folder / "one", data, right, draw.uniform(1.0, seconds["run"]))
    for verb in answering(seconds):
        job = Job(verb, data, folder / f"full{verb}")
        with small_disk(job.kept) as mounted:
            if mounted:
                yield judged("disk full by another", job, filled_meanwhile, right[verb])


def told(found: list[Outcome]) -> Iterator[str]:
    """Return the totals by verb: outcomes survived, and responses generated twice."""
    for verb in dict.fromkeys(one.verb for one in found):
        mine = [one for one in found if one.verb == verb]
        killed = [one for one in mine if one.fault.startswith("kill")]
        yield (
            f"{verb:6} {sum(one.survived for one in killed)} of {len(killed)} kills and "
            f"{sum(one.survived for one in mine)} of {len(mine)} faults survived; asked again "
            f"{sum(one.asked_again for one in mine)} of {sum(one.finished for one in mine)} finished answers, "
            f"at most {max(one.asked_again for one in mine)} for one fault"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument(
        "--verbs",
        nargs="+",
        choices=ALL,
        default=ALL,
        help="verbs to interrupt; the test of four commands on one cache needs all",
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", metavar="FILE", help="write every outcome to FILE")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        for one in disturbed(Path(name), make_data(Path(name) / "data"), arguments):
            found.append(one)
            print(
                f"{one.verb:6} {one.fault:32} exit {one.code:4}  finished {one.finished:4}  asked again {one.asked_again:3}  "
                f"{'same' if one.same else 'DIFFERENT'}{'' if one.clean else '  TRACEBACK'}",
                flush=True,
            )
    print(*told(found), sep="\n")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps([one._asdict() for one in found], indent=1) + "\n")
    return 0 if all(one.survived for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
