"""Builds test data and runs the ordinary commands on it: the plain model, without sound, and under presses."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from nano.questions import TASKS
from nano.testset import build

PRESSES = ("none", "random", "frame", "fastv", "dart", "knorm", "snapkv", "truncate")
RATIOS = (0.3, 0.5, 0.7, 0.9)
SWEPT = ("gtzan", "desed")


def evaluate(work: Path, model: str, clips: int, swept: int, seed: int) -> None:
    """Build missing test data, run what is not in the cache, and print the tables of docs/nano.md."""
    data = work / "test"
    build(data, tuple(TASKS), clips, seed)
    told = ["--model", "qwen_omni", "--model_args", f"pretrained={model}", "--data_dir", str(data)]
    told += ["--use_cache", str(work / "cache")]
    tasks = ",".join(TASKS.values())
    for name, more in (("plain", []), ("no_audio", ["--no_audio", "none"])):
        _marathon(
            ["run", *told, "--tasks", tasks, "--subset", "full", *more, "-o", str(work / "results" / name)]
        )
    ratios = ",".join(map(str, RATIOS))
    for task in SWEPT:
        grid = ["--tasks", task, "--presses", ",".join(PRESSES), "--ratios", ratios, "--limit", str(swept)]
        _marathon(["sweep", *told, *grid, "-o", str(work / "results" / f"sweep_{task}")])
    print("\n".join(tables(work / "results")))


def _marathon(words: Sequence[str]) -> None:
    subprocess.run([sys.executable, "-m", "marathon_eval", *words], check=True)


def tables(results: Path) -> Iterator[str]:
    """Return Markdown tables: accuracy with and without sound, and per press and ratio."""
    heard, deaf = (_newest(results / name, "results.json")["tasks"] for name in ("plain", "no_audio"))
    yield "| task | clips | accuracy | chance | without sound |"
    yield "| --- | --- | --- | --- | --- |"
    for task in TASKS.values():
        one, other = (each[task] for each in (heard, deaf))
        yield (
            f"| {task} | {one['n_scored']} | {_told(one)} | "
            f"{one['strict']['chance']['value']:.2f} | {_told(other)} |"
        )
    for task in SWEPT:
        cells = _newest(results / f"sweep_{task}", "sweep.json")
        yield from ("", *_swept(task, cells))


def _told(result: dict[str, Any]) -> str:
    """Format a value with its interval, such as `0.93 (0.88 - 0.97)`."""
    accuracy = result["strict"]["accuracy"]
    if accuracy["ci95"] is None:
        return f"{accuracy['value']:.2f} ({accuracy['no_interval']})"
    low, high = accuracy["ci95"]
    return f"{accuracy['value']:.2f} ({low:.2f} - {high:.2f})"


def _newest(folder: Path, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(max(folder.rglob(name)).read_text(encoding="utf-8"))
    return found


def _swept(task: str, sweep: dict[str, Any]) -> Iterator[str]:
    """Return accuracy per press and ratio, and the paired interval of its difference to no press in brackets."""
    cells = sweep["tasks"][task]
    first = next(cell for cell in cells.values() if cell["difference"])
    accuracy = _accuracy(first)
    yield f"{task}, {first['difference']['n_paired']} clips, no press {accuracy['a']:.2f}:"
    yield ""
    yield "| press | " + " | ".join(f"{ratio} removed" for ratio in RATIOS) + " |"
    yield "| --- " * (len(RATIOS) + 1) + "|"
    for press in PRESSES[1:]:
        told = []
        for ratio in RATIOS:
            accuracy = _accuracy(cells[f"{press} {ratio:g}"])
            ends = accuracy["ci95"]
            interval = accuracy["no_interval"] if ends is None else f"{ends[0]:+.2f} to {ends[1]:+.2f}"
            told.append(f"{accuracy['b']:.2f} ({interval})")
        yield f"| `{press}` | " + " | ".join(told) + " |"


def _accuracy(cell: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = cell["difference"]["readings"]["strict"]["metrics"]["accuracy"]
    return found
