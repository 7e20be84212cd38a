"""The harness's own cost, each command a process of its own on one core: CPU seconds, wall seconds and peak memory.

The released metadata layouts are made from a seed with one tiny distinct sound per row (6,567 rows); the dummy model
answers them once, and every later run only scores. Ratios compare commands within this one call.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import released  # the builder of the released layouts lives with the tests


class Cost(NamedTuple):
    """Of one whole process: user + system CPU seconds, wall seconds, peak resident megabytes."""

    cpu_s: float
    wall_s: float
    peak_mb: float


def measured(command: list[str], env: dict[str, str]) -> tuple[Cost, subprocess.CompletedProcess[str]]:
    """Run a command pinned to one core. The peak is the child's own, read by wait4 in a fresh parent."""
    probe = (
        "import json, os, resource, subprocess, sys, time\n"
        "os.sched_setaffinity(0, {0})\n"
        "clock = time.monotonic()\n"
        "code = subprocess.run(sys.argv[1:], stdout=sys.stderr.fileno()).returncode\n"
        "use = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([use.ru_utime + use.ru_stime, time.monotonic() - clock, use.ru_maxrss / 1024, code]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe, *command], capture_output=True, text=True, env=env, check=True
    )
    cpu, wall, peak, code = json.loads(done.stdout)
    if code:
        raise SystemExit(f"{' '.join(command)}: exit {code}\n{done.stderr}")
    return Cost(cpu, wall, peak), done


def marathon(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "marathon_eval", *arguments]


def rescoring(folder: Path, env: dict[str, str]) -> dict[str, Cost]:
    """The first run asks the dummy model; the second finds every answer in the cache."""
    data = released.build(folder / "data", released.NOMINAL)
    flags = [
        "--model",
        "dummy",
        "--model_args",
        "mode=random",
        "--tasks",
        "audiomarathon",
        "--subset",
        "full",
    ]
    command = marathon(*flags, "--data_dir", str(data), "--output_path", str(folder / "out"))
    first, _ = measured(command, env)
    again, _ = measured(command, env)
    newest = max((folder / "out").rglob("results.json"))
    hits = json.loads(newest.read_text())["cache"]
    if hits != {"hits": sum(released.NOMINAL.values()), "misses": 0}:
        raise SystemExit(f"the second run was no rerun: {hits}")
    return {"first run, 6567 rows": first, "rerun, all cached": again}


def start_up(env: dict[str, str]) -> dict[str, Cost]:
    """The best of three of each command that must answer at once."""
    commands: dict[str, Any] = {
        "--help": ["--help"],
        "ls tasks": ["ls", "tasks"],
        "validate, the ten": ["validate", *(name for name in released.NOMINAL)],
        "validate, all": ["validate"],
    }
    return {
        name: min(measured(marathon(*words), env)[0] for _ in range(3)) for name, words in commands.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        env = {**os.environ, "MARATHON_EVAL_CACHE": str(Path(folder) / "cache"), "HF_HUB_OFFLINE": "1"}
        costs = {**start_up(env), **rescoring(Path(folder), env)}
    if arguments.json:
        print(json.dumps({name: cost._asdict() for name, cost in costs.items()}, indent=1))
        return
    bare, _ = measured([sys.executable, "-c", "pass"], dict(os.environ))
    print(f"{'command':<24}{'CPU s':>8}{'wall s':>8}{'peak MB':>9}{'x bare Python':>15}")
    for name, cost in costs.items():
        print(
            f"{name:<24}{cost.cpu_s:8.2f}{cost.wall_s:8.2f}{cost.peak_mb:9.0f}{cost.cpu_s / bare.cpu_s:15.1f}"
        )


if __name__ == "__main__":
    main()
