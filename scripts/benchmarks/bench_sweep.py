"""Measures what sharing saves: a grid in one pass against one run per cell, and several questions on a clip.

The model is bench_presses.py's of size `small` (random weights, the 7B's proportions of language model and encoder);
bench_sweep_part.py measures. Each side is a process of its own, for its peak memory, and measurements are stored
under build/: a run that is interrupted, or ended by --minutes, resumes when the same command is given again. The
script prints figures and does not fail on them.

eviction    {knorm, snapkv, tova, streaming_llm} x 6 ratios and none
pruning     {dart, frame, random, fastv} x 9 ratios at layer 2 and none
questions   a plain run on five questions per clip, with sharing and without

`--cells N` draws N cells of a grid by a fixed seed, for the pass and for the separate runs, and extrapolates both
from their seconds: the shared work counts once, and the mean cost of a cell as often as the grid has cells. Such
figures are marked. Peak memory is the GPU's, or on a CPU the process's own with the weights (and without them in
brackets).
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import mean

sys.path.insert(0, str(Path(__file__).resolve().parent))

from bench_sweep_part import GRIDS, Measured, Part, labels

ROOT = Path(__file__).resolve().parents[2]
STATE = ROOT / "build" / "bench_sweep.jsonl"


@dataclass(frozen=True)
class Figures:
    """Holds both sides' seconds for all cells of the grid; `measured` cells were timed in separate runs."""

    part: Part
    cells: int
    drawn: int
    measured: int
    together_s: float
    apart_s: float
    together_cpu_s: float
    apart_cpu_s: float
    same_answers: bool
    peak: float
    peak_without_weights: float

    @property
    def times(self) -> float:
        """Return the wall time of separate runs divided by that of the shared pass."""
        return self.apart_s / self.together_s


def known(part: Part, state: Path) -> list[Measured]:
    """Read the state file's measurements of a part."""
    if not state.exists():
        return []
    rows = [Measured(**json.loads(row)) for row in state.read_text(encoding="utf-8").splitlines()]
    return [row for row in rows if row.part == part.key]


def measure_pass(part: Part, state: Path, until: float) -> None:
    """Measure the shared pass if the state file lacks it."""
    if not any(row.side == "together" for row in known(part, state)) and time.time() < until:
        child(part, state, until)


def measure_runs(part: Part, state: Path, until: float) -> None:
    """Measure the separate runs that the state file lacks; the first in a process of its own, for its peak memory.

    The others come in an order drawn by a fixed seed, so that those measured until the time is up are a fair sample.
    """
    every = labels(part)
    order = every[:1] + random.Random(0).sample(every[1:], len(every) - 1)
    done = {row.cell for row in known(part, state)}
    waiting = [label for label in order if label not in done]
    first = waiting[: 0 if every[0] in done else 1]
    for batch in (first, waiting[len(first) :]):
        if batch and time.time() < until:
            child(part, state, until, "--cells", json.dumps(batch))


def child(part: Part, state: Path, until: float, *more: str) -> None:
    script = Path(__file__).with_name("bench_sweep_part.py")
    words = [json.dumps(asdict(part)), str(state), "--until", str(until), *more]
    subprocess.run([sys.executable, str(script), *words], check=True)


def figures(part: Part, found: Sequence[Measured]) -> Figures | None:
    """Compute the figures of a part; None if one of the sides was not measured."""
    passes = [row for row in found if row.side == "together"]
    alone = {row.cell: row for row in found if row.side == "alone"}
    if not passes or not alone:
        return None
    whole, drawn = passes[-1], len(labels(part))
    cells = drawn if part.bench == "questions" else len(labels(Part(**{**asdict(part), "cells": 0})))
    heaviest = max(alone.values(), key=lambda row: row.peak_bytes)
    # processes that ran one cell after the other may have grown: the first one ran a single cell
    one = alone.get(labels(part)[0], heaviest)
    share = whole.wall_s and whole.cpu_s / whole.wall_s
    together = extrapolated(whole, cells) if cells > drawn else whole.wall_s
    return Figures(
        part=part,
        cells=cells,
        drawn=drawn,
        measured=len(alone),
        together_s=together,
        apart_s=cells * mean(row.wall_s for row in alone.values()),
        together_cpu_s=together * share,
        apart_cpu_s=cells * mean(row.cpu_s for row in alone.values()),
        same_answers=all(whole.answers[label] == row.answers[label] for label, row in alone.items()),
        peak=whole.peak_bytes / one.peak_bytes,
        peak_without_weights=(whole.peak_bytes - whole.held_bytes) / (one.peak_bytes - one.held_bytes),
    )


def extrapolated(whole: Measured, cells: int) -> float:
    """Extrapolate the seconds of a pass to all cells; the first cell includes the cost of what is shared."""
    own = mean(list(whole.own.values())[1:])
    return whole.wall_s + own * (cells - len(whole.own))


def line(row: Figures) -> str:
    marks = []
    if row.drawn < row.cells:
        marks.append(f"extrapolated: {row.drawn} of {row.cells} cells, drawn by seed 0")
    if row.measured < row.drawn:
        marks.append(f"so far {row.measured} of {row.drawn} separate runs")
    same = "same answers" if row.same_answers else "ANSWERS DIFFER"
    return (
        f"{row.part.bench:<10}{row.part.tokens:>5} tokens{row.part.clips:>3} clips{row.cells:>4} cells"
        f"{row.together_s:>8.1f} s together{row.apart_s:>9.1f} s apart{row.times:>7.2f} x ({1 / row.times:.2f})"
        f"  processors {row.apart_cpu_s / row.together_cpu_s:.2f} x"
        f"  peak {row.peak:.2f} x ({row.peak_without_weights:.2f})  {same}"
        + "".join(f"  [{mark}]" for mark in marks)
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", default="small", help="a size of bench_presses.py")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bench", nargs="+", choices=[*GRIDS, "questions"], default=[*GRIDS, "questions"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[2250])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument(
        "--cells", type=int, default=0, help="draw this number of cells of each grid (default: all)"
    )
    parser.add_argument(
        "--minutes", type=float, default=float("inf"), help="start no measurement after this time"
    )
    parser.add_argument("--fresh", action="store_true", help="delete earlier measurements")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    if arguments.fresh:
        STATE.unlink(missing_ok=True)
    until = time.time() + 60 * arguments.minutes
    parts = [
        Part(
            arguments.size,
            arguments.device,
            bench,
            tokens,
            arguments.clips,
            0 if bench == "questions" else arguments.cells,
        )
        for tokens in arguments.tokens
        for bench in arguments.bench
    ]
    STATE.parent.mkdir(parents=True, exist_ok=True)
    for part in parts:
        measure_pass(part, STATE, until)
    rows = []
    for left, part in zip(range(len(parts), 0, -1), parts, strict=True):
        measure_runs(part, STATE, time.time() + (until - time.time()) / left)
        row = figures(part, known(part, STATE))
        rows += [row] if row else []
        if not arguments.json:
            text = line(row) if row else f"{part.bench:<10}{part.tokens:>5} tokens: not measured yet"
            print(text, flush=True)
    if arguments.json:
        print(json.dumps([{**asdict(row), "times": row.times} for row in rows], indent=1))


if __name__ == "__main__":
    main()
