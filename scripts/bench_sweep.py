"""What sharing saves: a grid in one pass against one run per cell, and several questions on a clip against none shared.

The model is bench_presses.py's: real proportions, random weights, handed to every run, so that loading (which separate
runs pay each time, and a sweep once) is in no figure. Both sides are the ordinary `sweep` and `evaluate` on the same
clips with a cache of their own each, one after the other in this process. Prints figures, judges nothing.

eviction    {knorm, snapkv, tova, streaming_llm} x 6 ratios and none
pruning     {dart, frame, random, fastv} x 9 ratios at layer 2 and none
questions   a plain run on five questions per clip, with sharing and without

`--cells N` draws N cells of a grid by a fixed seed for the separate runs and extrapolates to all of them; the figure is
then marked. Peak memory is the GPU's; on a CPU it is not told.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

sys.path.insert(0, str(Path(__file__).resolve().parent))

import bench_presses  # isort: skip  # first of all: it hides a torchvision that would break transformers

import numpy as np
import soundfile
import torch

from marathon_eval.config import RunConfig
from marathon_eval.evaluator import evaluate
from marathon_eval.hf import runner
from marathon_eval.hf.loading import Loaded, chosen_device
from marathon_eval.hf_audio import RATE
from marathon_eval.models.qwen_omni import QwenOmni
from marathon_eval.results import RunResult
from marathon_eval.sweep import Grid, cells_of, sweep

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
QUESTIONS = 5


@dataclass(frozen=True)
class Figures:
    """Wall seconds of both ways; `measured` of `cells` separate runs were timed, the rest is their mean times more."""

    bench: str
    tokens: int
    clips: int
    cells: int
    measured: int
    together_s: float
    apart_s: float
    same_answers: bool
    together_peak: int | None
    apart_peak: int | None

    @property
    def times(self) -> float:
        """How many times less wall time sharing takes."""
        return self.apart_s / self.together_s


def data(folder: Path, tokens: int, clips: int, questions: int) -> Path:
    """Clips of noise, each as long as makes that many audio tokens, with so many questions on each."""
    folder.mkdir(parents=True)
    rows = []
    for clip in range(clips):
        count = tokens * RATE // bench_presses.TOKENS_PER_SECOND
        soundfile.write(
            folder / f"{clip}.wav", np.random.default_rng(clip).standard_normal(count) * 0.1, RATE
        )
        rows += [
            {"q": f"{number}. {bench_presses.PROMPT}", "a": "A", "path": f"{clip}.wav"}
            for number in range(questions)
        ]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "heard.yaml").write_text(TASK)
    return folder


@contextmanager
def handed(loaded: Loaded) -> Iterator[None]:
    """Every runner gets these weights instead of loading its own."""
    with (
        patch.object(runner, "load", lambda adapter: loaded),
        patch.object(QwenOmni, "check", lambda self: None),
        patch.object(QwenOmni, "folder", lambda self: Path()),
        patch.object(QwenOmni, "identity", lambda self: {"weights": "random"}),
    ):
        yield


def timed(device: torch.device, work: Callable[[], object]) -> tuple[float, int | None]:
    """Seconds, and the GPU's peak above what it held before."""
    held = 0
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        held = torch.cuda.memory_allocated(device)
    started = time.perf_counter()
    work()
    if device.type != "cuda":
        return time.perf_counter() - started, None
    torch.cuda.synchronize(device)
    return time.perf_counter() - started, torch.cuda.max_memory_allocated(device) - held


def texts(result: RunResult) -> list[object]:
    return [sample.response for sample in result.samples["heard"]]


def config_for(folder: Path, cache: Path, device: torch.device) -> RunConfig:
    return RunConfig(
        model="qwen_omni",
        tasks=(str(folder / "heard.yaml"),),
        model_args={"pretrained": "random", "device": str(device)},
        data_dir=str(folder),
        use_cache=str(cache),
    )


def grid_figures(
    bench: str, work: Path, tokens: int, clips: int, most: int | None, device: torch.device
) -> Figures:
    """One pass, then each cell as a run of its own (or `most` of them)."""
    presses, ratios = GRIDS[bench]
    config = config_for(data(work / "data", tokens, clips, 1), work / "together", device)
    grid, found = Grid(presses, ratios, (2,)), dict[str, RunResult]()
    together, peak = timed(device, lambda: sweep(config, grid, lambda cell, r: found.update({cell.label: r})))
    cells = cells_of(config, grid)
    chosen = cells if most is None else random.Random(0).sample(cells, min(most, len(cells)))
    apart, apart_peak, same = 0.0, None, True
    for cell in chosen:
        alone: list[RunResult] = []
        own = replace(
            cell.config,
            use_cache=str(work / "apart"),
            model_args={**cell.config.model_args, "sharing": False},
        )
        seconds, used = timed(device, partial(_evaluated, own, alone))
        apart += seconds
        apart_peak = used if used is None else max(used, apart_peak or 0)
        same = same and texts(alone[0]) == texts(found[cell.label])
    apart *= len(cells) / len(chosen)
    return Figures(bench, tokens, clips, len(cells), len(chosen), together, apart, same, peak, apart_peak)


def _evaluated(config: RunConfig, into: list[RunResult]) -> None:
    into.append(evaluate(config))


def question_figures(work: Path, tokens: int, clips: int, device: torch.device) -> Figures:
    """Five questions per clip, shared and not."""
    config = config_for(data(work / "data", tokens, clips, QUESTIONS), work / "together", device)
    results: list[RunResult] = []
    apart_config = replace(
        config, use_cache=str(work / "apart"), model_args={**config.model_args, "sharing": False}
    )
    together, peak = timed(device, lambda: results.append(evaluate(config)))
    apart, apart_peak = timed(device, lambda: results.append(evaluate(apart_config)))
    same = texts(results[0]) == texts(results[1])
    return Figures("questions", tokens, clips, 1, 1, together, apart, same, peak, apart_peak)


def line(row: Figures) -> str:
    marked = "" if row.measured == row.cells else f"  (from {row.measured} of {row.cells} cells)"
    memory = ""
    if row.together_peak is not None and row.apart_peak:
        memory = f"  peak x {row.together_peak / row.apart_peak:.2f}"
    same = "same answers" if row.same_answers else "ANSWERS DIFFER"
    return (
        f"{row.bench:<10}{row.tokens:>6} tokens{row.clips:>4} clips{row.cells:>4} cells{row.together_s:>10.1f} s together"
        f"{row.apart_s:>10.1f} s apart{row.times:>7.2f} x  {same}{memory}{marked}"
    )


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=list(bench_presses.SIZES), default="cpu")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--bench", nargs="+", choices=[*GRIDS, "questions"], default=[*GRIDS, "questions"])
    parser.add_argument("--tokens", type=int, nargs="+", default=[2250])
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--cells", type=int, help="separate runs to time (default: all)")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(argv)
    device = chosen_device(arguments.device)
    loaded = bench_presses.built(arguments.size, device)
    rows = []
    for tokens in arguments.tokens:
        for bench in arguments.bench:
            with tempfile.TemporaryDirectory() as folder, handed(loaded):
                if bench == "questions":
                    rows.append(question_figures(Path(folder), tokens, arguments.clips, device))
                else:
                    rows.append(
                        grid_figures(bench, Path(folder), tokens, arguments.clips, arguments.cells, device)
                    )
            if not arguments.json:
                print(line(rows[-1]), flush=True)
    if arguments.json:
        print(json.dumps([{**asdict(row), "times": row.times} for row in rows], indent=1))


if __name__ == "__main__":
    main()
