"""Measures one side of bench_sweep.py in a process of its own: a pass over a grid, or separate runs, cell after cell.

The weights are made here and passed to every run, so that no figure includes loading, which separate runs pay each
time and a sweep once. Both sides are the ordinary `sweep` and `evaluate`, each with a cache of its own. Measurements
are appended to the state file line by line, so that an interrupted part resumes where it stopped.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_presses  # isort: skip  # first of all: it hides a torchvision that would break transformers

import numpy as np
import soundfile
import torch

from marathon_eval.api.results import RunResult
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.backends.hf.engine import runner
from marathon_eval.backends.hf.engine.load import chosen_device
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.evaluator import sweep as sweeping
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.evaluator.sweep import sweep
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell, cells_of
from marathon_eval.models.qwen_omni import QwenOmni

TASK = """\
dataset_path: json
dataset_kwargs: {data_files: rows.json}
doc_to_text: "{{ q }}"
doc_to_target: a
doc_to_audio: path
generation_kwargs: {max_new_tokens: 5}
metric_list:
  - {metric: exact_match}
"""
GRIDS = {
    "eviction": (("none", "knorm", "snapkv", "tova", "streaming_llm"), (0.1, 0.3, 0.5, 0.7, 0.8, 0.9)),
    "pruning": (
        ("none", "dart", "frame", "random", "fastv"),
        (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9),
    ),
}
#: A plain run on so many questions per clip.
QUESTIONS = 5


@dataclass(frozen=True)
class Part:
    """Describes what is measured: the whole grid (`cells` 0), or that number of its cells, drawn by a fixed seed."""

    size: str
    device: str
    bench: str
    tokens: int
    clips: int
    cells: int = 0

    @property
    def key(self) -> str:
        return "/".join(map(str, asdict(self).values()))


@dataclass
class Measured:
    """Holds wall and CPU seconds and peak memory; `own` holds a pass's wall seconds for each cell."""

    part: str
    side: str
    cell: str
    wall_s: float
    cpu_s: float
    held_bytes: int
    peak_bytes: int
    answers: dict[str, str]
    own: dict[str, float] = field(default_factory=dict)


def labels(part: Part) -> list[str]:
    """Return the labels of the cells that are measured; the uncompressed one comes first if it is among them."""
    if part.bench == "questions":
        return ["none"]
    config = RunConfig("qwen_omni", ("heard",), model_args={"pretrained": "random"})
    every = [cell.label for cell in cells_of(config, grid_of(part))]
    chosen = set(random.Random(0).sample(every, part.cells) if part.cells else every)
    return [label for label in every if label in chosen]


def grid_of(part: Part) -> Grid:
    return Grid(*GRIDS[part.bench], (2,))


def data(folder: Path, part: Part) -> Path:
    """Write clips of noise of `tokens` audio tokens each, with the benchmark's number of questions on each."""
    folder.mkdir(parents=True)
    count, rows = part.tokens * RATE // bench_presses.TOKENS_PER_SECOND, []
    for clip in range(part.clips):
        wave = np.random.default_rng(clip).standard_normal(count) * 0.1
        soundfile.write(folder / f"{clip}.wav", wave, RATE)
        asked = QUESTIONS if part.bench == "questions" else 1
        rows += [
            {"q": f"{number}. {bench_presses.PROMPT}", "a": "A", "path": f"{clip}.wav"}
            for number in range(asked)
        ]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "heard.yaml").write_text(TASK)
    return folder


@contextmanager
def handed(loaded: Loaded) -> Iterator[None]:
    """Let every runner use these weights instead of loading its own."""
    with (
        patch.object(runner, "load", lambda adapter: loaded),
        patch.object(QwenOmni, "check", lambda self: None),
        patch.object(QwenOmni, "folder", lambda self: Path()),
        patch.object(QwenOmni, "identity", lambda self: {"weights": "random"}),
        patch.object(QwenOmni, "positions", None),
    ):
        yield


@contextmanager
def only(chosen: Sequence[str]) -> Iterator[None]:
    """Restrict a sweep to the chosen cells of its grid."""

    def fewer(config: RunConfig, grid: Grid) -> list[SweepCell]:
        cells = [cell for cell in cells_of(config, grid) if cell.label in chosen]
        models = [cell.model for cell in cells if isinstance(cell.model, HFAudio)]
        for model in models:
            model.cells = models
        return cells

    with patch.object(sweeping, "cells_of", fewer):
        yield


def peak(device: torch.device) -> int:
    """Return the peak bytes of the GPU's memory, or on a CPU of this process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes * (1 if sys.platform == "darwin" else 1024)


def timed(device: torch.device, work: Callable[[], None]) -> tuple[float, float]:
    """Return the wall and CPU seconds of `work`."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - wall, time.process_time() - cpu


def digest(result: RunResult) -> str:
    texts = json.dumps([sample.response for sample in result.samples["heard"]])
    return hashlib.sha256(texts.encode()).hexdigest()[:12]


class Measuring:
    """Holds the weights of one process, and writes its measurements to the state file."""

    def __init__(self, part: Part, state: Path, folder: Path) -> None:
        self.part, self.state, self.folder = part, state, folder
        self.device = chosen_device(part.device)
        self.loaded = bench_presses.built(part.size, self.device)
        self.held = peak(self.device)
        self.config = RunConfig(
            model="qwen_omni",
            tasks=(str(folder / "data" / "heard.yaml"),),
            model_args={"pretrained": "random", "device": str(self.device)},
            data_dir=str(data(folder / "data", part)),
        )

    def note(self, side: str, cell: str, seconds: tuple[float, float], **more: Any) -> None:
        found = Measured(self.part.key, side, cell, *seconds, self.held, peak(self.device), **more)
        with self.state.open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(found)) + "\n")

    def together(self) -> None:
        """Measure the pass that shares everything."""
        config, found = replace(self.config, use_cache=str(self.folder / "together")), dict[str, str]()
        own: dict[str, float] = {}

        def take(cell: SweepCell, result: RunResult) -> None:
            found[cell.label], own[cell.label] = digest(result), cell.seconds

        def work() -> None:
            if self.part.bench == "questions":
                found["none"] = digest(evaluate(config))
                return
            with only(labels(self.part)):
                sweep(config, grid_of(self.part), take)

        seconds = timed(self.device, work)
        self.note("together", "", seconds, answers=found, own=own)

    def alone(self, label: str) -> None:
        """Measure one cell as a run of its own, without sharing."""
        cells = {"none": self.config}
        if self.part.bench != "questions":
            cells = {cell.label: cell.config for cell in cells_of(self.config, grid_of(self.part))}
        args = {**cells[label].model_args, "sharing": False}
        config = replace(cells[label], use_cache=str(self.folder / "alone"), model_args=args)
        found: dict[str, str] = {}
        seconds = timed(self.device, lambda: found.update({label: digest(evaluate(config))}))
        self.note("alone", label, seconds, answers=found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", type=lambda text: Part(**json.loads(text)))
    parser.add_argument("state", type=Path)
    parser.add_argument("--cells", help="labels of separate runs as JSON; without it the pass is measured")
    parser.add_argument("--until", type=float, default=float("inf"), help="start no run after this time")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        measuring = Measuring(arguments.part, arguments.state, Path(folder))
        with handed(measuring.loaded):
            if arguments.cells is None:
                measuring.together()
            for label in json.loads(arguments.cells or "[]"):
                if time.time() < arguments.until:
                    measuring.alone(label)


if __name__ == "__main__":
    main()
