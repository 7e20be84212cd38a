"""Evaluate a model on tasks; answers come from the cache where it has them."""

from __future__ import annotations

import argparse
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_WHOLE
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args, parse_samples

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.distributed.leader import Leader
    from marathon_eval.evaluator.dry_run import DryRun

ONE_ON_THE_CPU = (
    "marathon-eval: note: without MPI `accelerate launch --cpu` starts one process, whatever --num_processes says; "
    "--multi_gpu starts so many, also where there is no GPU"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)
    parser.add_argument(
        "--output_path", "-o", metavar="DIR", help="write results.json and samples_<task>.jsonl below DIR"
    )
    parser.add_argument("--no_log_samples", action="store_true", help="write results.json alone")
    parser.add_argument("--log_samples", "-s", action="store_true", help="as lm-eval; on by default here")
    parser.add_argument(
        "--predict_only", "-x", action="store_true", help="ask and keep answers, score nothing"
    )
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")
    parser.add_argument(
        "--export",
        choices=["lm_eval"],
        help="write the run in lm-eval's files too, in lm_eval/ of its folder",
    )
    add_dry_run(parser)


def add_dry_run(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dry_run",
        action="store_true",
        help="check everything, say what would be asked, and stop before that",
    )


def add_run_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags that say what is asked of whom; shared with the verbs that need a model and tasks."""
    parser.add_argument(
        "--model", "-M", required=True, help="a name of `marathon-eval ls models`, a path, or pkg.mod:Class"
    )
    parser.add_argument(
        "--model_args",
        "-a",
        default="",
        metavar="A=B,…",
        help="the model's and the press's arguments, or JSON",
    )
    parser.add_argument(
        "--tasks", "-t", nargs="+", required=True, metavar="TASK", help="tasks and groups, by comma or space"
    )
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders with more tasks/, models/, presses/",
    )
    parser.add_argument("--data_dir", metavar="DIR", help="a local copy of the dataset")
    parser.add_argument("--subset", metavar="NAME", help="a row selection that the tasks define: paper, full")
    parser.add_argument(
        "--limit", "-L", type=float, metavar="N", help="the first N rows of each task, or a fraction below 1"
    )
    parser.add_argument(
        "--samples", "-E", metavar="JSON", help="""rows by number: '{"gtzan": [0, 3]}' or a file"""
    )
    parser.add_argument(
        "--gen_kwargs", default="", metavar="A=B,…", help="laid over the tasks' generation_kwargs"
    )
    parser.add_argument("--batch_size", "-b", metavar="N", help="model_args batch_size: a number, or auto")
    parser.add_argument("--device", metavar="DEVICE", help="model_args device")
    parser.add_argument(
        "--use_cache", "-c", metavar="DIR", help="keep answers in DIR, not in the user's cache folder"
    )
    parser.add_argument("--no_cache", action="store_true", help="neither read nor keep answers")
    parser.add_argument(
        "--retry_errors", action="store_true", help="ask failed requests once more at the end"
    )
    parser.add_argument("--seed", type=int, default=0, help="for sampled answers")
    add_control_arguments(parser)
    add_judge_arguments(parser)


def add_control_arguments(parser: argparse.ArgumentParser) -> None:
    """How much of a score is listening (controls.py), and how much the recording's quality (build/transforms.py)."""
    parser.add_argument(
        "--manifest", metavar="FILE", help="of doctor: a clip that sounds otherwise is an error row"
    )
    parser.add_argument(
        "--transform", default="", metavar="TEXT", help="change the audio: noise, codec, speed, silence, rate"
    )
    parser.add_argument(
        "--no_audio",
        nargs="?",
        const="silence",
        choices=["silence", "none"],
        help="ask without the sound: silence of the same length (default), or no audio at all",
    )
    parser.add_argument("--swap_audio", action="store_true", help="ask each row on another row's clip")
    parser.add_argument(
        "--permute_choices", type=int, metavar="K", help="ask with the options in K cyclic orders"
    )


def add_judge_arguments(parser: argparse.ArgumentParser) -> None:
    """Who judges open answers (judge.py)."""
    parser.add_argument("--judge_model", metavar="NAME", help="the model that judges open answers")
    parser.add_argument("--judge_args", default="", metavar="A=B,…", help="the judge's arguments, or JSON")
    parser.add_argument(
        "--judge_gen_kwargs", default="", metavar="A=B,…", help="as --gen_kwargs, for the judge"
    )


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.distributed.ranks import launched, started_alone

    ranks = launched()
    if ranks is None:
        if started_alone():
            print(ONE_ON_THE_CPU, file=sys.stderr)
        return run_in_process(arguments)
    from marathon_eval.cli.verbs._distributed import as_rank

    return as_rank(ranks, lambda leader: run_in_process(arguments, leader))


def run_in_process(arguments: argparse.Namespace, leader: Leader | None = None) -> int:
    """The run, by this process; a `leader` shares out what must be asked."""
    from marathon_eval.api.model import complete
    from marathon_eval.cli.progress import terminal_progress
    from marathon_eval.evaluator.evaluator import evaluate
    from marathon_eval.results.files import run_folder, write_run

    config = run_config(arguments)
    if arguments.export and config.output_path is None:
        raise MarathonError("--export: give --output_path, below which the files are written")
    if config.output_path is not None:
        check_writable(Path(config.output_path))
    through = complete if leader is None else leader.asker(config)
    if arguments.dry_run:
        return show_dry_run(planned(config), as_json=arguments.json)
    result = evaluate(config, progress=terminal_progress(), through=through)
    if config.output_path is not None:
        folder = run_folder(Path(config.output_path), result.model, result.fingerprint_sha256)
        write_run(result, folder, log_samples=config.log_samples)
        print(f"results: {folder}", file=sys.stderr)
        if arguments.export:
            from marathon_eval.results.lm_eval_export import write

            write(result, folder / "lm_eval")
    print_results(result, as_json=arguments.json)
    return exit_code(result)


def planned(config: RunConfig) -> DryRun:
    """The run up to its first question. Raises MarathonError."""
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.evaluator.dry_run import dry_run
    from marathon_eval.evaluator.evaluator import documents_and_requests, run_parts
    from marathon_eval.evaluator.preflight import RunBeforeStart
    from marathon_eval.evaluator.requests import cache_folder

    tasks, _, model, judge = run_parts(config)
    with ResponseCache(cache_folder(config)) as cache:
        model.cache = cache
        _, pool = documents_and_requests(model, tasks, config, cache)
        return dry_run(RunBeforeStart(tasks, pool, (model,), judge, config, cache))


def show_dry_run(found: DryRun, as_json: bool) -> int:
    """Print it. Raises MarathonError for what would stop the run."""
    from marathon_eval.cli.dry_run_table import lines

    print(json.dumps(found.as_json(), indent=1) if as_json else "\n".join(lines(found)))
    if found.faults:
        raise MarathonError("; and ".join(found.faults))
    return EXIT_WHOLE


def run_config(arguments: argparse.Namespace) -> RunConfig:
    """The flags as a RunConfig. Raises MarathonError."""
    model_args = parse_args(arguments.model_args, "--model_args")
    if arguments.batch_size is not None:
        from marathon_eval.backends.hf.batching import parse_batch_size

        model_args["batch_size"] = parse_batch_size(arguments.batch_size)
    if arguments.device is not None:
        model_args["device"] = arguments.device
    if arguments.limit is not None and arguments.samples:
        raise MarathonError("--limit and --samples both choose rows: give one")
    config = RunConfig(
        model=arguments.model,
        tasks=tuple(name for item in arguments.tasks for name in item.split(",") if name),
        model_args=model_args,
        include_path=tuple(arguments.include_path),
        data_dir=arguments.data_dir,
        subset=arguments.subset,
        limit=checked_limit(arguments.limit),
        samples=parse_samples(arguments.samples) if arguments.samples else None,
        gen_kwargs=parse_args(arguments.gen_kwargs, "--gen_kwargs"),
        use_cache=arguments.use_cache,
        no_cache=arguments.no_cache,
        retry_errors=arguments.retry_errors,
        seed=arguments.seed,
        no_audio=arguments.no_audio,
        swap_audio=arguments.swap_audio,
        permute_choices=arguments.permute_choices,
        transform=canonical_transform(arguments.transform),
        manifest=arguments.manifest,
        judge_model=arguments.judge_model,
        judge_args=parse_args(arguments.judge_args, "--judge_args"),
        judge_gen_kwargs=parse_args(arguments.judge_gen_kwargs, "--judge_gen_kwargs"),
    )
    if not hasattr(arguments, "predict_only"):
        return config
    return replace(
        config,
        output_path=arguments.output_path,
        log_samples=not arguments.no_log_samples,
        predict_only=arguments.predict_only,
    )


def canonical_transform(text: str) -> str:
    """The transform in its one spelling, which is part of the cache key. Raises MarathonError."""
    if not text:
        return ""
    from marathon_eval.api.transforms import canonical_steps

    return canonical_steps(text)


def checked_limit(limit: float | None) -> float | None:
    # what is no number passes no comparison, and infinity has no whole part
    if limit is not None and not (0 < limit < 1 or (1 <= limit < math.inf and limit == int(limit))):
        raise MarathonError(f"--limit: must be a whole number of rows or a fraction below 1, got {limit:g}")
    return limit


def check_writable(folder: Path) -> None:
    """An output folder that cannot be written stops the run before weights load."""
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise MarathonError(f"--output_path: cannot write to {folder} ({error.strerror})") from None


def print_results(result: RunResult, as_json: bool) -> None:
    if as_json:
        summary: dict[str, Any] = result.summary()
        print(json.dumps(summary, indent=1))
        return
    from marathon_eval.cli.terminal import print_run

    print_run(result)
    if any("permute_choices" in manifest for manifest in result.manifests.values()):
        from marathon_eval.evaluator.controls import order_lines

        print(*order_lines(result.manifests), sep="\n")


def exit_code(result: RunResult) -> int:
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_WHOLE if result.whole else EXIT_INCOMPLETE
