"""Measures how well `--workers` keeps N workers busy: a model that sleeps for its clip's length, clips of very different lengths.

The model sleeps, so that two cores suffice for eight workers. Requests without audio are asked in the order of their text, here the
longest first, as clips are. Efficiency is the sleep of all answers divided by the seconds that workers were there: from each one's
first question to the last answer of all. Starting them is not counted: it takes the seconds that loading takes.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from marathon_eval.api.results import RunResult
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.workers.asking import through
from marathon_eval.evaluator.workers.cluster import WorkerPlan
from marathon_eval.evaluator.workers.pool import in_pool

MODEL = '''
"""Sleeps as long as the prompt says, and notes when."""
import os, time
from typing import ClassVar
from marathon_eval import Model, Response
from marathon_eval.api.model import ModelSettings


class Settings(ModelSettings):
    log: str


class Sleeper(Model):
    Settings = Settings
    transport: ClassVar[frozenset[str]] = Model.transport | {"log"}

    def generate(self, requests):
        for request in requests:
            begun = time.time()
            time.sleep(float(request.prompt.split()[1]))
            with open(self.settings.log, "a") as file:
                file.write(f"{os.getpid()} {begun} {time.time()}\\n")
            yield request, Response("A")
'''
TASK = "dataset_path: json\ndataset_kwargs: {data_files: rows.json}\ndoc_to_text: q\ndoc_to_target: a\n"


def lengths(count: int, seconds: float, draw: random.Random) -> list[float]:
    """Draw lengths whose logarithm is normal: the longest are some thirty times the shortest; together `seconds`."""
    drawn = [draw.lognormvariate(0.0, 0.8) for _ in range(count)]
    return sorted((one * seconds / sum(drawn) for one in drawn), reverse=True)


def prepared(folder: Path, durations: Sequence[float]) -> Path:
    """Write the task and the model, and return the task's file."""
    rows = [{"q": f"{number:05} {seconds:.4f}", "a": "A"} for number, seconds in enumerate(durations)]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "sleeper.py").write_text(MODEL)
    (folder / "slept.yaml").write_text(TASK)
    return folder / "slept.yaml"


def timed(folder: Path, workers: int) -> tuple[float, float, RunResult]:
    """Run with so many workers (0: in this process); return the seconds of all workers together, and of the run."""
    log = folder / f"log{workers}"
    task, model = str(folder / "slept.yaml"), str(folder / "sleeper.py")
    config = RunConfig(model, (task,), {"log": str(log)}, no_cache=True)
    more: dict[str, Any] = {"through": through(config, in_pool(WorkerPlan(workers)))} if workers else {}
    result = evaluate(config, **more)
    rows = [line.split() for line in log.read_text().splitlines()]
    last = max(float(end) for _, _, end in rows)
    firsts: dict[str, float] = {}
    for worker, begun, _ in rows:
        firsts[worker] = min(float(begun), firsts.get(worker, float(begun)))
    return sum(last - first for first in firsts.values()), last - min(firsts.values()), result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 8], metavar="N")
    parser.add_argument("--seconds", type=float, default=160.0, help="sleep of all answers together")
    parser.add_argument("--clips", type=int, default=200)
    arguments = parser.parse_args()
    durations = lengths(arguments.clips, arguments.seconds, random.Random(0))
    print(
        f"{len(durations)} clips of {durations[-1]:.2f} to {durations[0]:.2f} s, {sum(durations):.0f} s in all"
    )
    # the first pool fixes how many workers this machine has room for
    counts = sorted(arguments.workers, reverse=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepared(folder, durations)
        found = []
        for count in counts:
            there, took, result = timed(folder, count)
            found.append(result.tasks)
            print(
                f"{count:3} workers  {took:7.2f} s from the first question to the last answer  "
                f"efficiency {sum(durations) / there:.3f}",
                flush=True,
            )
        _, took, alone = timed(folder, 0)
        equal = all(tasks == alone.tasks for tasks in found)
        print(f"one process {took:7.2f} s  results are {'equal' if equal else 'DIFFERENT'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
