"""Compares other harnesses on the same text rows, in the same run: lm-eval, lmms-eval and inspect_ai.

The rows are questions with four options, a free answer and exact match. A dummy model answers at once, and every
sample is written, which inspect_ai does by default and the others with a flag. One YAML serves all but inspect_ai,
whose task file has the same prompts and targets. Differences remain: lm-eval's dummy answers "lol" and all others
"A"; inspect_ai compares without regard to case, runs many rows at once, and writes each event of a sample too. A run
that leaves out rows ends the benchmark, whatever its exit code. A harness that cannot be installed is reported as not
run.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
from pathlib import Path

from bench_cost import Cost, Figure, environment, marathon, measured
from bench_peers_commands import LM_EVAL, TASK, Peer, inspect_ai, lm_eval, lmms_eval

#: The project's own limit for the quotient; the other quotients have none.
WANTED = {LM_EVAL: ">= 8"}
WORDS = "river mill train rain dog station glass window of heard loud quiet before after two three"


def task_of(folder: Path, count: int) -> Path:
    """Write the task's YAML with `count` rows beside it, and return the folder."""
    draw, words = random.Random(0), WORDS.split()
    folder.mkdir(parents=True)
    with (folder / "rows.jsonl").open("w") as file:
        for number in range(count):
            choices = [" ".join(draw.choices(words, k=4)) for _ in range(4)]
            question = " ".join(draw.choices(words, k=14)) + "?"
            row = {"id": number, "question": question, "choices": choices, "answer": draw.choice("ABCD")}
            file.write(json.dumps(row) + "\n")
    (folder / "text.yaml").write_text(TASK.format(rows=folder / "rows.jsonl"))
    return folder


def peers(folder: Path, count: int) -> list[Figure]:
    """Measure CPU seconds and peak memory of all harnesses: no cache, a new cache, and a full cache."""
    task = task_of(folder / "peer", count)
    env = environment(
        MARATHON_EVAL_CACHE=str(folder / "peer-cache"), HF_DATASETS_CACHE=str(folder / "datasets")
    )
    others = available(task, folder / "peers")
    # a peer reads none of our packages and leaves nothing in the user's folders
    places = {name: str(folder / name) for name in ("INSPECT_CACHE_DIR", "XDG_CACHE_HOME", "XDG_DATA_HOME")}
    theirs = {name: value for name, value in env.items() if name != "PYTHONPATH"} | places
    for peer in others:  # datasets makes its copy of the rows once, and Python its compiled files
        measured([*peer.command, "--limit", "8"], theirs, folder=task)
    flags = ["--model", "dummy", "--tasks", "text", "--include_path", str(task)]
    ours = marathon(*flags, "--output_path", str(folder / "ours"))
    figures = []
    for name in ("no cache", "first run, answers kept", "rerun, all answers kept"):
        cached = name != "no cache"
        own = measured(ours if cached else [*ours, "--no_cache"], env)
        costs = {peer.name: whole(peer, cached, count, theirs, task) for peer in others}
        figures += compared(f"{count:,} text rows, dummy model: {name}", own, costs)
    return figures


def available(task: Path, out: Path) -> list[Peer]:
    """Return the harnesses that could be installed; report the others on stderr."""
    harnesses = []
    for make in (lm_eval, lmms_eval, inspect_ai):
        try:
            harnesses.append(make(task, out))
        except subprocess.CalledProcessError as problem:
            print(f"not run: {make.__name__}: not installed ({problem})", file=sys.stderr)
    return harnesses


def whole(peer: Peer, cached: bool, count: int, env: dict[str, str], folder: Path) -> Cost:
    """Measure a run over all rows; ends the benchmark when the harness answered fewer."""
    cost = measured([*peer.command, *(peer.keeping if cached else [])], env, folder=folder)
    if peer.answered() != count:
        raise SystemExit(f"{peer.name} answered {peer.answered()} of {count} rows")
    return cost


def compared(group: str, own: Cost, theirs: dict[str, Cost]) -> list[Figure]:
    """Return every cost, and each harness's cost divided by this one's."""
    figures = []
    for name, cost in {"marathon-eval": own, **theirs}.items():
        figures.append(Figure(group, name, cost.cpu_s, "CPU-s"))
        figures.append(Figure(group, f"{name}, peak", cost.peak_mb, "MB"))
    return figures + [
        Figure(group, f"times less CPU than {name}", cost.cpu_s / own.cpu_s, "x", WANTED.get(name))
        for name, cost in theirs.items()
    ]
