"""Declares the flags of workers, and runs a verb in the processes that a launcher started."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING

from marathon_eval.cli.main import EXIT_INTERRUPTED, EXIT_MISTAKE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.evaluator.workers.cluster import WorkerPlan
    from marathon_eval.evaluator.workers.launched import Ranks
    from marathon_eval.evaluator.workers.shares import Together

#: Exit code of all processes when process 0 fails with an unexpected exception.
_EXIT_UNEXPECTED = 1


def add_worker_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --workers and the flags that say where workers run."""
    parser.add_argument(
        "--workers",
        metavar="N",
        help="answer in N processes with a model each, started by Ray: a number, or auto for one per GPU (without GPUs, per CPU)",
    )
    parser.add_argument(
        "--ray_address",
        metavar="HOST:PORT",
        help="the Ray cluster whose machines run the workers (default: $RAY_ADDRESS; without it, this machine)",
    )
    parser.add_argument(
        "--gpus_per_worker",
        type=float,
        metavar="G",
        help="GPUs of each worker (default: 1 if there are any): 2 with device_map=auto, 0.5 for two workers on one",
    )
    parser.add_argument(
        "--ship_audio",
        action="store_true",
        help="send workers the audio files with the requests: for machines that lack the data",
    )


def worker_plan(arguments: argparse.Namespace) -> WorkerPlan | None:
    """Return what the flags of workers say, or None without --workers. Raises MarathonError."""
    import os

    text = arguments.workers
    if text is None:
        for flag in ("ray_address", "gpus_per_worker", "ship_audio"):
            if getattr(arguments, flag):
                raise MarathonError(f"--{flag}: needs --workers N, or --workers auto")
        return None
    if text != "auto" and not (text.isascii() and text.isdecimal() and int(text) > 0):
        raise MarathonError(f"--workers: must be a whole number from 1, or auto, got {text}")
    if arguments.gpus_per_worker is not None and not 0 <= arguments.gpus_per_worker < 1e6:
        raise MarathonError(f"--gpus_per_worker: must be a number from 0, got {arguments.gpus_per_worker:g}")
    if find_spec("ray") is None:
        raise MarathonError("--workers: Ray is not installed: pip install 'marathon-eval[ray]'")
    from marathon_eval.evaluator.workers.cluster import WorkerPlan

    address = arguments.ray_address or os.environ.get("RAY_ADDRESS")
    workers = None if text == "auto" else int(text)
    return WorkerPlan(workers, address, arguments.gpus_per_worker, arguments.ship_audio)


def launch_of(arguments: argparse.Namespace) -> Ranks | None:
    """Return this process's place if a launcher started several. Raises MarathonError if --workers is given too."""
    from marathon_eval.evaluator.workers.launched import launched

    ranks = launched()
    if ranks is not None and arguments.workers is not None:
        raise MarathonError(
            f"--workers: {ranks.world} processes were launched already; --workers needs a single process"
        )
    return ranks


def in_shares(ranks: Ranks, work: Callable[[Together], int]) -> int:
    """Call `work` in process 0 and answer shares in the others; return process 0's exit code in all of them."""
    from marathon_eval.evaluator.workers.shares import Together, follow

    together, code = Together(ranks), _EXIT_UNEXPECTED
    if ranks.rank > 0:
        return follow(together)
    try:
        code = work(together)
    except MarathonError:
        code = EXIT_MISTAKE
        raise
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
        raise
    finally:
        together.end(code)
    return code
