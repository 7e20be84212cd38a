"""Measures one run of 100,000 requests to the dummy model: responses per second, and whether memory grows with them.

It prints resident megabytes when the first request is sent, after 5,000, 20,000 and more responses, when all is scored
and written, and the maximum. Rows are read, asked and scored in portions, so the time of asking includes that of scoring
all portions but the last. The dummy model reports no costs; `--costly` uses a model that does, which takes more memory.
The script prints figures and does not fail on them.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_cost import Figure, environment, told

from marathon_eval.api.model import CachedResponse
from marathon_eval.evaluator.requests import Progress

COSTLY = Path(__file__).resolve().with_name("bench_costly.py")
MARKS = (1, 5_000, 20_000, 50_000, 100_000, 200_000, 500_000, 1_000_000)
TASK = """\
dataset_path: json
dataset_kwargs: {data_files: rows.jsonl}
doc_to_text: "{{ question }}\\nA. {{ choices[0] }}\\nB. {{ choices[1] }}\\nAnswer:"
doc_to_target: answer
generation_kwargs: {max_gen_toks: 16}
metric_list:
  - {metric: exact_match}
"""
WORDS = [
    "river",
    "mill",
    "train",
    "rain",
    "dog",
    "station",
    "glass",
    "window",
    "of",
    "heard",
    "loud",
    "quiet",
    "before",
    "after",
    "two",
]


def written(folder: Path, rows: int) -> Path:
    """Write a task of `rows` different questions."""
    draw = random.Random(0)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(rows):
            question = f"{number}: {' '.join(draw.choices(WORDS, k=14))}?"
            choices = [" ".join(draw.choices(WORDS, k=4)) for _ in range(2)]
            row = {"question": question, "choices": choices, "answer": draw.choice("AB")}
            file.write(json.dumps(row) + "\n")
    (folder / "many.yaml").write_text(TASK)
    return folder


def resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Watch(Progress):
    """Records the memory when the number of responses reaches each of MARKS."""

    def __init__(self) -> None:
        self.answered = 0
        self.resident: dict[str, float] = {}
        self.began = self.ended = 0.0

    def start(self, hits: int, misses: int, seconds: float) -> None:
        self.resident.setdefault("when asking begins", resident_mb())
        self.began = self.began or time.process_time()

    def advance(self, answered: CachedResponse, seconds: float) -> None:
        self.answered += 1
        if self.answered in MARKS[1:]:
            self.resident[f"after {self.answered:,} answers"] = resident_mb()

    def stop(self) -> None:
        self.ended = time.process_time()


def inside(folder: Path, model: str) -> dict[str, object]:
    """Do the run, in a process that did nothing before."""
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.evaluator import evaluate
    from marathon_eval.results.files import run_folder, write_run

    watch = Watch()
    config = RunConfig(
        model=model,
        tasks=(str(folder / "many.yaml"),),
        data_dir=str(folder),
        use_cache=str(folder / "cache"),
    )
    result = evaluate(config, progress=watch)
    watch.resident["scored"] = resident_mb()
    write_run(result, run_folder(folder / "out", result))
    watch.resident["written"] = resident_mb()
    watch.resident["at most, at any time"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    (task,) = result.tasks.values()
    return {
        "scored": task.n_scored,
        "resident": watch.resident,
        "asking_s": watch.ended - watch.began,
        "all_s": time.process_time(),
    }


def figures(folder: Path, rows: int, costly: bool) -> list[Figure]:
    """Measure one run on `rows` rows."""
    command = [sys.executable, __file__, "--inside", str(written(folder, rows))]
    command += ["--costly"] if costly else []
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    measured = json.loads(done.stdout)
    if measured["scored"] != rows:
        raise SystemExit(f"{rows} rows, and {measured['scored']} scored")
    group = f"{rows:,} requests in one run"
    return [
        *(Figure(group, name, value, "MB") for name, value in measured["resident"].items()),
        Figure(group, "asked and kept", rows / measured["asking_s"], "answers per CPU-s"),
        Figure(group, "all in, per 1,000", measured["all_s"] * 1000 / rows, "CPU-s"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument(
        "--costly", action="store_true", help="use a model that reports a dozen costs per response"
    )
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside is not None:
        print(json.dumps(inside(arguments.inside, str(COSTLY) if arguments.costly else "dummy")))
        return
    with tempfile.TemporaryDirectory() as folder:
        told(figures(Path(folder), arguments.rows, arguments.costly), arguments.json)


if __name__ == "__main__":
    main()
