"""Measures the time lost between two batches: a whole run's seconds divided by the seconds in which its model worked.

The run is the ordinary `evaluate` on a checkpoint of the real architecture with few weights
(tests/helpers/tiny_checkpoints.py), whose language model also sleeps in every forward pass, as a GPU works without
the CPU. All else is real: reading tasks, hashing and decoding FLAC, features, the audio encoder, batching, cache,
scoring. The figures exclude loading and the first import. The script prints figures and does not fail on them.

first run   one clip at a time, with clips that are not in the cache: all are hashed before the first request
alone       the same with other questions, as in every later run: the cache has the clips' hashes
together    two clips and more at a time, by a budget of tokens
in turns    as alone, but without overlap: the next batch is prepared when the model has answered
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from marathon_eval.backends.hf.engine import runner  # isort: skip  # first of all: it hides a torchvision that would break transformers

import numpy as np
import soundfile
import torch

from helpers import tiny_checkpoints
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import evaluate
from marathon_eval.models.qwen_omni import QwenOmni

TASK = """\
dataset_path: json
dataset_kwargs: {{data_files: rows.json}}
doc_to_text: "{way}: {{{{ q }}}}"
doc_to_target: a
doc_to_audio: path
generation_kwargs: {{max_new_tokens: 4}}
metric_list:
  - {{metric: exact_match}}
"""


@dataclass
class Busy:
    """Adds up the seconds in which the model worked, in its forward passes and its encoder's."""

    seconds: float = 0.0


@dataclass(frozen=True)
class Figures:
    """Holds a run's total seconds, the model's own seconds, and the largest number of clips in one batch."""

    way: str
    clips: int
    wall_s: float
    model_s: float
    batch: int

    @property
    def ratio(self) -> float:
        return self.wall_s / self.model_s


def data(folder: Path, clips: int, seconds: float) -> Path:
    """Write a task with one question on each clip, as FLAC at 44.1 kHz, which needs resampling."""
    folder.mkdir(parents=True)
    rows = []
    for clip in range(clips):
        noise = np.random.default_rng(clip).standard_normal(int(seconds * 44_100)) * 0.1
        soundfile.write(folder / f"{clip}.flac", noise, 44_100)
        rows.append({"q": "What is heard?", "a": "A", "path": f"{clip}.flac"})
    (folder / "rows.json").write_text(json.dumps(rows))
    return folder


@contextmanager
def sleepy(model: Any, sleep: float) -> Iterator[Busy]:
    """Let the language model sleep `sleep` seconds per second of audio in its prefill, and 0.02 s per token."""
    busy = Busy()
    forward = model.forward

    @wraps(forward)  # generate asks for its arguments' names
    def slow(*args: Any, **kwargs: Any) -> Any:
        started = time.perf_counter()
        out = forward(*args, **kwargs)
        rows, tokens = kwargs["input_ids"].shape
        time.sleep(sleep * rows * tokens / 25 if tokens > 1 else 0.02)
        busy.seconds += time.perf_counter() - started
        return out

    with patch.object(model, "forward", slow):
        yield busy


@contextmanager
def in_turns() -> Iterator[None]:
    """Switch off overlapping: prepare the next batch only when the engine needs it."""

    class Later(Future[Any]):
        def __init__(self, owner: runner.Runner, batch: list[Any]) -> None:
            super().__init__()
            self.owner, self.batch = owner, batch

        def result(self, timeout: float | None = None) -> Any:
            return self.owner._prepared_or_error(self.batch)

    with patch.object(runner.Runner, "_prepare", lambda self, batch: Later(self, batch)):
        yield


def measured(way: str, folder: Path, work: Path, loaded: Any, sleep: float) -> Figures:
    """Measure one run whose requests are not in the cache."""
    (folder / "heard.yaml").write_text(TASK.format(way=way))
    args: dict[str, Any] = {"pretrained": str(work / "tiny"), "device": "cpu"}
    if way == "together":
        seconds = soundfile.info(folder / "0.flac").duration
        args["max_batch_tokens"] = int(2 * (25 * seconds + 600))
    config = RunConfig(
        model="qwen_omni",
        tasks=(str(folder / "heard.yaml"),),
        model_args=args,
        data_dir=str(folder),
        use_cache=str(work / "cache"),
    )
    with ExitStack() as stack:
        busy = stack.enter_context(sleepy(loaded.model, sleep))
        stack.enter_context(patch.object(runner, "load", lambda adapter: loaded))
        if way == "in turns":
            stack.enter_context(in_turns())
        started = time.perf_counter()
        result = evaluate(config)
        wall = time.perf_counter() - started
    rows = result.samples["heard"]
    assert result.whole, [row.error for row in rows if row.error]
    return Figures(way, len(rows), wall, busy.seconds, max(row.usage["details"]["batch"] for row in rows))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clips", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=95.0, help="length of each clip")
    parser.add_argument(
        "--sleep",
        type=float,
        default=0.02,
        help="seconds that the model sleeps per second of audio (default: %(default)s)",
    )
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        checkpoint = tiny_checkpoints.make_qwen_omni(work / "tiny")
        loaded = load(QwenOmni.from_args({"pretrained": str(checkpoint), "device": "cpu"}))  # type: ignore[arg-type]
        folder = data(work / "data", arguments.clips, arguments.seconds)
        measured("warm", data(work / "few", 2, 5.0), work, loaded, 0.0)
        for way in ("first run", "alone", "together", "in turns"):
            found.append(measured(way, folder, work, loaded, arguments.sleep))
            one = found[-1]
            if not arguments.json:
                print(
                    f"{one.way:10}{one.clips} clips of {arguments.seconds:g} s, {one.batch} at once: "
                    f"{one.wall_s:7.2f} s, the model's own {one.model_s:7.2f} s, ratio {one.ratio:.3f}",
                    flush=True,
                )
    if arguments.json:
        print(json.dumps([{**asdict(one), "ratio": one.ratio} for one in found], indent=1))


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
