"""Runs `scripts/nano/train_nano`: trains the demonstration model, or tests it; both resume where they stopped."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

#: The seed that the shipped checkpoint was trained with.
SEED = 1


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="train_nano",
        description="Teaches the demonstration model from nothing, on sounds made from a seed; WORK keeps the sounds, "
        "a checkpoint every five minutes, and WORK/nano, the finished model. With --evaluate: makes test clips in "
        "the released layout, asks the model with sound, without, and under presses, and prints the tables of "
        "docs/nano.md.",
    )
    parser.add_argument("work", type=Path, help="folder to work in; run again to go on")
    parser.add_argument("--seed", type=int, default=SEED, help="seed of training, or of the test clips")
    parser.add_argument(
        "--threads", type=int, default=1, help="CPU threads for training; results depend on their number"
    )
    parser.add_argument("--evaluate", action="store_true", help="test instead of training")
    parser.add_argument(
        "--model", default="nano", help="the model to test: a folder, or the shipped model (default)"
    )
    parser.add_argument("--clips", type=int, default=100, help="test clips for each task")
    parser.add_argument(
        "--swept", type=int, default=40, help="number of test clips that are run under presses"
    )
    parser.add_argument(
        "--tables", action="store_true", help="print the tables of cached responses, and run nothing"
    )
    arguments = parser.parse_args()
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.tables or arguments.evaluate:
        _test(arguments)
    else:
        _train(arguments)
    return 0


def _test(arguments: argparse.Namespace) -> None:
    from nano.evaluating import evaluate, tables

    if arguments.tables:
        print("\n".join(tables(arguments.work / "results")))
    else:
        evaluate(arguments.work, arguments.model, arguments.clips, arguments.swept, arguments.seed)


def _train(arguments: argparse.Namespace) -> None:
    import torch

    from nano.checkpoint import write
    from nano.training import train, words

    torch.set_num_threads(arguments.threads)
    learner = train(arguments.work, arguments.seed, _told)
    write(arguments.work / "nano", learner, words(arguments.seed))
    _told(f"finished: {arguments.work / 'nano'}")


def _told(line: str) -> None:
    print(time.strftime("%H:%M:%S"), line, flush=True)
