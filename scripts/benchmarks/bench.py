"""Measures what the harness itself costs, from the start-up of each verb to a cached rescore.

Every command is a process of its own on one core; figures are medians of CPU seconds (user + system) and peak
megabytes. The released metadata layouts are made from a seed with one tiny distinct sound per row (6,567 rows). The
dummy model answers them once, and every later run only scores. `--peers` adds other harnesses on equal text rows. The
script prints figures and does not fail on them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "tests"), str(Path(__file__).resolve().parent)]

from bench_cost import ROOT, Figure, environment, marathon, measured, told, typical
from bench_peers import peers

from helpers import make_audiomarathon_data  # the builder of the released layouts lives with the tests

VERBS = sorted(path.stem for path in (ROOT / "marathon_eval/cli/verbs").glob("[a-z]*.py"))
ROWS = sum(make_audiomarathon_data.NOMINAL.values())
WANTED = {
    "--help": "<= 0.10",
    "ls tasks": "<= 0.10",
    "validate, the ten": "<= 0.20",
    "validate, all": "<= 0.5",
}


def start_up(env: dict[str, str], repeats: int) -> list[Figure]:
    """Measure the commands that must answer at once, Python alone for comparison, and each verb's --help."""
    commands = {
        "--help": ["--help"],
        "ls tasks": ["ls", "tasks"],
        "validate, the ten": ["validate", *make_audiomarathon_data.NOMINAL],
        "validate, all": ["validate"],
        **{f"{verb} --help": [verb, "--help"] for verb in VERBS},
    }
    bare = typical([sys.executable, "-c", "pass"], env, repeats)
    found = [Figure("start-up", "Python alone", bare.cpu_s, "CPU-s")]
    for name, words in commands.items():
        measured(marathon(*words), env)  # writes what Python compiles
        cost = typical(marathon(*words), env, repeats)
        found.append(Figure("start-up", name, cost.cpu_s, "CPU-s", WANTED.get(name)))
    return found


def runs(data: Path, folder: Path, env: dict[str, str], repeats: int) -> list[Figure]:
    """Measure whole commands: one row, all rows without cached responses, and all rows from the cache."""
    flags = ["--model", "dummy", "--model_args", "mode=random", "--data_dir", str(data)]
    one = typical(marathon(*flags, "--tasks", "gtzan", "--limit", "1", "--no_cache"), env, repeats)
    command = marathon(
        *flags, "--tasks", "audiomarathon", "--subset", "full", "--output_path", str(folder / "out")
    )
    first = measured(command, env)
    again = typical(command, env, repeats)
    newest = max((folder / "out").rglob("results.json"), key=os.path.getmtime)
    hits = json.loads(newest.read_text())["cache"]
    if hits != {"hits": ROWS, "misses": 0}:
        raise SystemExit(f"the second run was no rerun: {hits}")
    lengths = typical(
        marathon("durations", *make_audiomarathon_data.NOMINAL, "--data_dir", str(data), "--subset", "full"),
        env,
        1,
    )
    group = f"whole commands, {ROWS:,} rows"
    return [
        Figure(group, "a run's fixed part (one row)", one.cpu_s, "CPU-s"),
        Figure(group, "first run, every sound hashed", first.cpu_s, "CPU-s"),
        Figure(group, "cached rescore", again.cpu_s, "CPU-s", "<= 2"),
        Figure(group, "cached rescore, peak", again.peak_mb, "MB", "<= 100"),
        Figure(group, "durations of every file", lengths.cpu_s, "CPU-s", "<= 10"),
        Figure(group, "durations, peak", lengths.peak_mb, "MB"),
    ]


def stages(data: Path, env: dict[str, str]) -> list[Figure]:
    """Measure the stages of a run inside one process (bench_stages.py)."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "benchmarks" / "bench_stages.py"), str(data)],
        env=env,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    per_1000, group = found["per_1000"], "stages, per 1,000 rows"
    return [
        *(Figure(group, name, value, "CPU-s") for name, value in per_1000.items()),
        Figure(group, "build + score", per_1000["build"] + per_1000["score"], "CPU-s", "<= 0.15"),
        *(Figure("audio", name, value, "x real time") for name, value in found["x_real_time"].items()),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peers",
        action="store_true",
        help="also lm-eval, lmms-eval and inspect_ai (installed below build/ on demand)",
    )
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        env = environment(MARATHON_EVAL_CACHE=str(folder / "cache"))
        data = make_audiomarathon_data.build(folder / "data", make_audiomarathon_data.NOMINAL)
        figures = [
            *start_up(env, arguments.repeats),
            *runs(data, folder, env, arguments.repeats),
            *stages(data, env),
            *(peers(folder, ROWS) if arguments.peers else []),
        ]
    told(figures, arguments.json)


if __name__ == "__main__":
    main()
