"""Kills one of a run's four processes at seeded moments, finishes the run in one process, and counts lost responses.

Half of the runs are started by torchrun, which stops the other processes. Half have no launcher, as under a cluster's
own, and the other processes go on. The model logs each answer that it finishes, so that lost ones can be counted.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from helpers import distributed_run, make_audiomarathon_data

RANKS, REQUESTS, SECONDS_EACH = 4, 400, 0.02
#: Of each process: what it had not written yet (32 answers or one second), and the one in hand.
MAY_BE_LOST = 33
LOGGED = '''
"""The dummy, which writes down what it has finished."""
import os
from pathlib import Path
from marathon_eval.models.dummy import Dummy


class Logged(Dummy):
    """Answers without weights."""

    def generate(self, requests):
        with Path(os.environ["FINISHED"]).open("ab", buffering=0) as file:
            for answer in super().generate(requests):
                file.write(b"x")
                yield answer
'''


class Outcome(NamedTuple):
    """Holds the counts of one run that lost a process."""

    victim: int
    seconds: float
    stopped_after: float
    finished: int
    kept: int
    again: int
    tasks: Any
    clean: bool
    same: bool = False

    @property
    def survived(self) -> bool:
        return self.same and self.clean and self.finished - self.kept <= MAY_BE_LOST * RANKS


def flags(folder: Path, data: Path, models: Path, sleep: float) -> list[str]:
    found = distributed_run.flags(data, folder, "logged", f"mode=random,sleep={sleep}")
    return [*found, "--include_path", str(models)]


def broken(folder: Path, data: Path, models: Path, by_torchrun: bool, draw: random.Random) -> Outcome:
    folder.mkdir()
    os.environ["FINISHED"] = str(folder / "finished")
    (folder / "finished").touch()
    arguments = flags(folder, data, models, SECONDS_EACH)
    started = (
        distributed_run.torchrun(arguments, RANKS) if by_torchrun else distributed_run.start(arguments, RANKS)
    )
    ranks = (
        distributed_run.children(started[0], RANKS) if by_torchrun else [process.pid for process in started]
    )
    # one that dies before it has met the others is waited for much longer, where no launcher tells
    distributed_run.wait_for(
        started, lambda: len([*(folder / "cache").glob("answers.rank-*.sqlite")]) == RANKS
    )
    victim, wait = draw.randrange(RANKS), draw.uniform(0, 0.9 * REQUESTS / RANKS * SECONDS_EACH)
    time.sleep(wait)
    os.kill(ranks[victim], 9)
    clock = time.monotonic()
    said = "".join(err for _, _, err in distributed_run.ended(started, 120))
    took = time.monotonic() - clock
    finished = (folder / "finished").stat().st_size
    after = rescued(folder, data, models)
    # a launcher's own traceback is not ours
    clean = by_torchrun or "Traceback" not in said
    return Outcome(
        victim, wait, took, finished, after["cache"]["hits"], after["cache"]["misses"], after["tasks"], clean
    )


def rescued(folder: Path, data: Path, models: Path) -> dict[str, Any]:
    distributed_run.alone(flags(folder, data, models, 0.0))
    found: dict[str, Any] = distributed_run.files(folder / "out")["results.json"]
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    os.environ["HF_HUB_OFFLINE"] = "1"
    draw = random.Random(arguments.seed)
    found = []
    with tempfile.TemporaryDirectory() as name:
        top = Path(name)
        data = make_audiomarathon_data.build(top / "data", {"race": REQUESTS})
        (top / "own" / "models").mkdir(parents=True)
        (top / "own" / "models" / "logged.py").write_text(LOGGED)
        os.environ["FINISHED"] = str(top / "finished")
        right = rescued(top / "whole", data, top / "own")["tasks"]
        for number in range(arguments.kills):
            one = broken(top / f"run{number}", data, top / "own", number % 2 == 0, draw)
            one = one._replace(same=one.tasks == right)
            found.append(one)
            print(
                f"{'torchrun' if number % 2 == 0 else 'no launcher':11}  rank {one.victim} killed after {one.seconds:.2f} s, "
                f"all ended {one.stopped_after:.1f} s later  finished {one.finished:4}  kept {one.kept:4}  "
                f"asked again {one.again:4}  {'same' if one.same else 'DIFFERENT'}{'' if one.clean else '  TRACEBACK'}",
                flush=True,
            )
    print(
        f"{len(found)} kills of one rank in {RANKS}, {sum(one.survived for one in found)} survived; of "
        f"{sum(one.finished for one in found)} finished answers {sum(max(0, one.finished - one.kept) for one in found)} "
        f"were lost, at most {max(one.finished - one.kept for one in found)} by one kill"
    )
    return 0 if all(one.survived for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
