"""Declares the flags of workers, and runs a verb in the processes that a launcher started."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_INTERRUPTED, EXIT_MISTAKE
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.sweep_cells import Grid
    from marathon_eval.evaluator.workers.cluster import WorkerPlan
    from marathon_eval.evaluator.workers.shares import Launch

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


def in_processes(
    arguments: argparse.Namespace, work: Callable[[argparse.Namespace, Launch | None], int]
) -> int:
    """Call `work` here; where a launcher started several processes, in process 0, while the others answer its requests.

    Return process 0's exit code in all of them. Raises MarathonError.
    """
    from marathon_eval.evaluator.workers.launched import launched

    ranks = launched()
    if ranks is None:
        return work(arguments, None)
    if arguments.workers is not None:
        raise MarathonError(
            f"--workers: {ranks.world} processes were launched already; --workers needs a single process"
        )
    from marathon_eval.evaluator.workers.shares import Launch

    launch, code = Launch(ranks), _EXIT_UNEXPECTED
    if ranks.rank > 0:
        return launch.follow()
    try:
        code = work(arguments, launch)
    except (MarathonError, KeyboardInterrupt) as error:
        code = EXIT_MISTAKE if isinstance(error, MarathonError) else EXIT_INTERRUPTED
        raise
    finally:
        launch.end(code)
    return code


def throughs(
    arguments: argparse.Namespace, config: RunConfig, launch: Launch | None, grid: Grid | None = None
) -> dict[str, Any]:
    """Return the keyword arguments that make `evaluate`, or `sweep` with a grid, send requests (the judge's too) to other processes.

    Raises MarathonError.
    """
    plan = worker_plan(arguments)
    if plan is not None:
        from marathon_eval.evaluator.workers.pool import in_pool

        send = in_pool(plan)
    elif launch is not None:
        from marathon_eval.evaluator.workers.shares import refuse_device_arguments

        refuse_device_arguments(config.model_args, launch.ranks)
        send = launch.send
    else:
        return {}
    from marathon_eval.evaluator.workers.asking import cells_through, judge_through, through

    asked = through(config, send) if grid is None else cells_through(config, grid, send)
    return {"through": asked, "judge_through": None if plan is None else judge_through(config, send)}
