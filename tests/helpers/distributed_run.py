"""Does one run with several processes, started by accelerate or one by one, as a cluster's own launcher does."""

from __future__ import annotations

import json
import os
import re
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ACCELERATE = ["accelerate.commands.launch", "--multi_gpu", "--num_machines", "1", "--mixed_precision", "no"]
#: What two runs of the same may differ in.
TIMES = re.compile(r".*_s|peak_bytes|started|use_cache|output_path|warm_up|session|measured_speedup|folder")


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def flags(data: Path, folder: Path, model: str = "dummy", args: str = "mode=random", *more: str) -> list[str]:
    kept = ["--use_cache", str(folder / "cache"), "--output_path", str(folder / "out")]
    return ["--model", model, "--model_args", args, "--tasks", "race", "--data_dir", str(data), *kept, *more]


def alone(arguments: list[str], code: int = 0) -> subprocess.CompletedProcess[str]:
    """Do the run with one process."""
    command = [sys.executable, "-m", "marathon_eval", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code, done.stderr
    return done


def accelerated(arguments: list[str], world: int = 2) -> subprocess.CompletedProcess[str]:
    """Do the run with `accelerate launch`, by module, because its script imports whatever else is installed."""
    where = ["--main_process_port", str(free_port()), "--num_processes", str(world)]
    command = [sys.executable, "-m", *ACCELERATE, *where, "-m", "marathon_eval", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)


def start(arguments: list[str], world: int = 2) -> list[subprocess.Popen[str]]:
    """Start the run's processes without a launcher that watches them."""
    place = {"WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_port())}
    return [
        subprocess.Popen(
            [sys.executable, "-m", "marathon_eval", *arguments],
            env={**os.environ, **place, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def ended(ranks: list[subprocess.Popen[str]], seconds: float = 90) -> list[tuple[int, str, str]]:
    """Return exit code, output and errors of each process; fail if one does not end."""
    limit = time.monotonic() + seconds
    found = []
    try:
        for process in ranks:
            out, err = process.communicate(timeout=max(1.0, limit - time.monotonic()))
            found.append((process.returncode, out, err))
    finally:
        for process in ranks:
            process.kill()
    return found


def answers(file: Path) -> int:
    """Count the answers in a cache file."""
    if not file.exists():
        return 0
    with sqlite3.connect(f"file:{file}?mode=ro", uri=True, timeout=30) as connection:
        query = "SELECT count(*) FROM entries WHERE key LIKE 'response/%'"
        try:
            return int(connection.execute(query).fetchone()[0])
        except sqlite3.OperationalError:  # made, but without its table yet
            return 0


def wait_for(processes: list[subprocess.Popen[str]], there: Callable[[], bool]) -> None:
    """Wait until the condition holds; fail if the first process ends before."""
    while not there():
        assert processes[0].poll() is None, processes[0].communicate()
        time.sleep(0.05)


def wait_for_answers(ranks: list[subprocess.Popen[str]], cache: Path, count: int) -> None:
    """Wait until the first follower has written `count` answers."""
    wait_for(ranks, lambda: answers(cache / "answers.rank-1.sqlite") >= count)


def torchrun(arguments: list[str], world: int) -> list[subprocess.Popen[str]]:
    """Start the launcher, which starts the processes itself."""
    where = ["--master_port", str(free_port()), "--nproc_per_node", str(world)]
    command = [sys.executable, "-m", "torch.distributed.run", *where, "-m", "marathon_eval", *arguments]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)]


def children(parent: subprocess.Popen[str], count: int) -> list[int]:
    """Return the process numbers of `count` children, in the order in which they were started."""
    tasks = Path(f"/proc/{parent.pid}/task")

    def found() -> list[int]:
        return sorted(int(pid) for path in tasks.glob("*/children") for pid in path.read_text().split())

    wait_for([parent], lambda: len(found()) >= count)
    return found()


def files(out: Path) -> dict[str, Any]:
    """Return the newest run's results.json and samples, without times and paths."""
    folder = max(path.parent for path in out.rglob("results.json"))
    found = {
        path.name: [json.loads(line) for line in path.read_text().splitlines()]
        for path in folder.glob("samples_*.jsonl")
    }
    return timeless({**found, "results.json": json.loads((folder / "results.json").read_text())})


def timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: timeless(inner) for key, inner in value.items() if not TIMES.fullmatch(key)}
    return [timeless(inner) for inner in value] if isinstance(value, list) else value
