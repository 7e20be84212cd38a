"""Measures what one command costs, as a process of its own on one core, and prints figures.

Costs are CPU seconds, because wall time depends on other processes. Python's compiled files are written and used, as
in an installed package, whatever the environment sets.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parents[2]
#: Runs the command from a fresh parent process, so that the peak is the command's own.
PROBE = (
    "import json, os, resource, subprocess, sys, time\n"
    "os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})\n"
    "clock = time.monotonic()\n"
    "code = subprocess.run(sys.argv[1:], stdout=sys.stderr.fileno()).returncode\n"
    "use = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
    "print(json.dumps([use.ru_utime + use.ru_stime, time.monotonic() - clock, use.ru_maxrss / 1024, code]))\n"
)


class Cost(NamedTuple):
    """Holds the cost of a whole process: user + system CPU seconds, wall seconds, peak resident megabytes."""

    cpu_s: float
    wall_s: float
    peak_mb: float


class Figure(NamedTuple):
    """Holds a line of the table; `wanted` is the project's own limit, or None if there is none."""

    group: str
    name: str
    value: float
    unit: str
    wanted: str | None = None


def environment(**more: str) -> dict[str, str]:
    """Return the environment of measured processes: offline, one thread, this checkout's package."""
    own = {
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONPATH": str(ROOT),
    }
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **own, **more}


def measured(
    command: Sequence[str],
    env: Mapping[str, str],
    allowed: Sequence[int] = (0,),
    folder: Path | None = None,
) -> Cost:
    """Run a command pinned to one core, in `folder`. Ends the benchmark when the command fails."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *command],
        capture_output=True,
        text=True,
        env=dict(env),
        check=True,
        cwd=folder,
    )
    cpu, wall, peak, code = json.loads(done.stdout)
    if code not in allowed:
        raise SystemExit(f"{' '.join(command)}: exit {code}\n{done.stderr}")
    return Cost(cpu, wall, peak)


def typical(command: Sequence[str], env: Mapping[str, str], repeats: int) -> Cost:
    """Return the median of each cost over the repeats."""
    costs = [measured(command, env) for _ in range(repeats)]
    return Cost(*(statistics.median(column) for column in zip(*costs, strict=True)))


def marathon(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "marathon_eval", *arguments]


def machine() -> dict[str, Any]:
    """Describe the kind of machine, without its name."""
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text().splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {
        "cpu": model,
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "python": platform.python_version(),
        "load": round(os.getloadavg()[0], 1),
    }


def table(figures: Iterable[Figure]) -> str:
    """Format the figures by group, with values to three significant digits."""
    lines, group = [], ""
    for figure in figures:
        if figure.group != group:
            group = figure.group
            lines += ["", group]
        wanted = f"   (wanted {figure.wanted})" if figure.wanted else ""
        value = f"{figure.value:.0f}" if abs(figure.value) >= 100 else f"{figure.value:.3g}"
        lines.append(f"  {figure.name:<44}{value:>8} {figure.unit}{wanted}")
    return "\n".join(lines[1:])


def told(figures: Sequence[Figure], as_json: bool) -> None:
    """Print all figures and the machine."""
    if as_json:
        rows = [figure._asdict() for figure in figures]
        print(json.dumps({"machine": machine(), "figures": rows}, indent=1))
        return
    print(table(figures))
    print("\n" + ", ".join(f"{name} {value}" for name, value in machine().items()))
