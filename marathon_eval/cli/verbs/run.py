"""Evaluate a model on tasks; responses that the cache holds are reused instead of running the model again."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_INTERRUPTED, EXIT_WHOLE
from marathon_eval.cli.token_maps import lacking_maps, say_lacking
from marathon_eval.cli.verbs._lm_eval_flags import add_printing_arguments, print_before, set_verbosity
from marathon_eval.cli.verbs._run_flags import (
    add_budget_arguments,
    add_dry_run,
    add_run_arguments,
    run_config,
)
from marathon_eval.cli.verbs._workers import add_worker_arguments, in_processes, throughs
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.gc_pause import seldom_collected

if TYPE_CHECKING:
    from collections.abc import Mapping

    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.evaluator.dry_run import DryRun
    from marathon_eval.evaluator.workers.shares import Launch
    from marathon_eval.results.trackers import Tracker

READINGS = ("headline", "all")
NEXT_COMMANDS = (
    "next, with that folder as RUN: marathon-eval show RUN --wrong, report RUN, compare RUN OTHER, score RUN"
)
ONE_ON_THE_CPU = (
    "marathon-eval: note: without MPI `accelerate launch --cpu` starts one process and ignores --num_processes; "
    "`accelerate launch --multi_gpu` starts that number of processes, even on a machine without a GPU"
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_run_arguments(parser)
    parser.add_argument(
        "--output_path",
        "-o",
        metavar="DIR",
        help="write results.json and samples_<task>.jsonl to a new folder below DIR",
    )
    parser.add_argument(
        "--no_log_samples", action="store_true", help="write results.json without samples_<task>.jsonl"
    )
    parser.add_argument(
        "--log_samples",
        "-s",
        action="store_true",
        help="accepted for lm-eval's sake; samples are always written unless --no_log_samples",
    )
    parser.add_argument(
        "--predict_only", "-x", action="store_true", help="write the model's responses without scoring them"
    )
    parser.add_argument(
        "--json", action="store_true", help="print the contents of results.json instead of a table"
    )
    parser.add_argument(
        "--export",
        choices=["lm_eval"],
        help="also write the run in the file format of lm-evaluation-harness, to lm_eval/ in its folder",
    )
    parser.add_argument(
        "--retry",
        type=int,
        nargs="?",
        const=1,
        default=0,
        metavar="N",
        help="resend failed requests up to N times (once if N is omitted); in an evaluation set, after its last run",
    )
    parser.add_argument(
        "--log_to",
        metavar="TRACKER",
        help="log the run's metrics and settings to wandb, mlflow or trackio, such as wandb:PROJECT; separate several with commas",
    )
    parser.add_argument(
        "--selftest",
        metavar="FILE",
        help="cite a self-test of this model and press in results.json: the JSON of `marathon-eval selftest --output`",
    )
    add_budget_arguments(parser)
    add_readings(parser)
    add_printing_arguments(parser)
    add_worker_arguments(parser)
    add_dry_run(parser)


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.workers.launched import started_alone

    if started_alone():
        print(ONE_ON_THE_CPU, file=sys.stderr)
    return in_processes(arguments, run_in_process)


@seldom_collected()
def run_in_process(arguments: argparse.Namespace, launch: Launch | None = None) -> int:
    """Run the evaluation and score it in this process. Return the exit code.

    With `launch` (several launched processes) or --workers, other processes answer the requests.
    """
    config = checked_run_config(arguments, launch is not None)
    if arguments.dry_run:
        throughs(arguments, config, launch)  # raises the same flag errors as a real run
        return show_dry_run(planned(config), as_json=arguments.json)
    print_before(config, arguments)
    result = in_rounds(arguments, config, launch)
    folder = written_run(result, arguments, config)
    if folder is not None:
        print(NEXT_COMMANDS, file=sys.stderr)
    print_results(result, as_json=arguments.json, readings=arguments.readings)
    say_lacking(lacking_maps(result))
    log_result(result, folder, arguments)
    return exit_code(result)


def checked_run_config(arguments: argparse.Namespace, launched: bool = False) -> RunConfig:
    """Return the run's config, with everything checked that needs no task. Raises MarathonError.

    `launched`: a launcher started several processes.
    """
    from marathon_eval.evaluator.budget_flags import run_budget

    config = run_config(arguments)
    if arguments.export and config.output_path is None:
        raise MarathonError("--export: give --output_path DIR, the folder to write below")
    if config.output_path is not None:
        check_writable(Path(config.output_path))
    several = launched or arguments.workers is not None
    if several and (config.max_tokens_total is not None or config.max_cost is not None):
        raise MarathonError(
            "--max_tokens_total and --max_cost: not supported with several processes; use --max_requests"
        )
    trackers_of(arguments)
    if arguments.retry < 0:
        raise MarathonError(f"--retry: must be 0 or more, got {arguments.retry}")
    if arguments.retry and run_budget(config, None).limited:
        raise MarathonError(
            "--retry: cannot be combined with a budget, because every round would start with a new one; "
            "drop --retry and rerun with a higher limit: finished responses are cached"
        )
    if arguments.retry and (launched or config.no_cache):
        why = "a launcher started the processes" if launched else "--no_cache would ask everything again"
        raise MarathonError(f"--retry: {why}; --retry_errors asks failed requests again within the run")
    return config


def trackers_of(arguments: argparse.Namespace) -> list[Tracker]:
    """Return the trackers of --log_to. Raises MarathonError."""
    if arguments.log_to is None:
        return []
    from marathon_eval.results.trackers import parse_tracker

    return [parse_tracker(text, "--log_to") for text in arguments.log_to.split(",")]


def log_result(result: RunResult, folder: Path | None, arguments: argparse.Namespace) -> None:
    """Log a run to the trackers of --log_to; `folder` holds its files. Raises MarathonError."""
    for tracker in trackers_of(arguments):
        from marathon_eval.results.trackers import log_run

        log_run(tracker, json.loads(json.dumps(result.summary())), folder, "--log_to")


def in_rounds(arguments: argparse.Namespace, config: RunConfig, launch: Launch | None = None) -> RunResult:
    """Evaluate, and as often as --retry says once more what failed; the result is of all rounds. Raises MarathonError."""
    from marathon_eval.evaluator.rounds import Rounds

    rounds = Rounds(evaluated(arguments, config, launch))
    for _ in range(arguments.retry):
        if rounds.last.whole or rounds.last.interrupted:
            break
        print("marathon-eval: rows failed; what failed is asked again (--retry)", file=sys.stderr)
        rounds.add(evaluated(arguments, config, launch))
    return rounds.result


def evaluated(arguments: argparse.Namespace, config: RunConfig, launch: Launch | None = None) -> RunResult:
    """Evaluate with the progress and the processes that the flags choose. Raises MarathonError."""
    from marathon_eval.evaluator.evaluator import evaluate
    from marathon_eval.evaluator.progress import terminal_progress

    progress = terminal_progress() if set_verbosity(arguments.verbosity) else None
    return evaluate(config, progress=progress, **throughs(arguments, config, launch))


def written_run(result: RunResult, arguments: argparse.Namespace, config: RunConfig) -> Path | None:
    """Write the run's files below --output_path and return their folder; None without --output_path."""
    from marathon_eval.results.files import run_folder, write_run

    if config.output_path is None:
        return None
    folder = run_folder(Path(config.output_path), result)
    write_run(result, folder, log_samples=config.log_samples)
    print(f"results: {folder}", file=sys.stderr)
    if arguments.export:
        from marathon_eval.results.lm_eval_export import write

        write(result, folder / "lm_eval", lm_eval_arguments(result, config))
    return folder


def lm_eval_arguments(result: RunResult, config: RunConfig) -> dict[str, tuple[str, Mapping[str, Any]]]:
    """Return the run's prompts, after their system prompts, with the generation arguments, by prompt_sha256.

    Raises MarathonError if the tasks' rows can no longer be read.
    """
    from marathon_eval.evaluator.rescore.recorded_prompts import prompts_of_tasks

    wanted = {row.prompt_sha256 for rows in result.samples.values() for row in rows if row.prompt_sha256}
    found = prompts_of_tasks(config, result.model, result.tasks, wanted)
    return {
        digest: ("\n\n".join(filter(None, (asked.system, asked.prompt))), asked.generation)
        for digest, asked in found.items()
    }


def planned(config: RunConfig) -> DryRun:
    """Prepare the run without running the model, and return its expected cost and checks. Raises MarathonError."""
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.evaluator.budget_flags import run_budget
    from marathon_eval.evaluator.dry_run import dry_run
    from marathon_eval.evaluator.evaluator import cited_by, documents_and_requests, is_judged, run_parts
    from marathon_eval.evaluator.preflight import RunBeforeStart
    from marathon_eval.evaluator.requests import cache_folder

    tasks, _, model, judge = run_parts(config)
    budget = run_budget(config, judge if is_judged(tasks, config) else None)
    with ResponseCache(cache_folder(config)) as cache:
        model.cache = cache
        cited_by(config, model)
        _, pool = documents_and_requests(model, tasks, config, cache)
        return dry_run(RunBeforeStart(tasks, pool, (model,), judge, config, cache), budget=budget)


def show_dry_run(plan: DryRun, as_json: bool) -> int:
    """Print the dry run and return 3 where rows cannot be asked. Raises MarathonError that names every failed check."""
    from marathon_eval.cli.dry_run_table import lines

    print(json.dumps(plan.as_json(), indent=1) if as_json else "\n".join(lines(plan)))
    if plan.faults:
        raise MarathonError("; and ".join(plan.faults))
    return EXIT_INCOMPLETE if plan.unasked else EXIT_WHOLE


def check_writable(folder: Path) -> None:
    """Check that the output folder can be written, before the weights are loaded. Raises MarathonError."""
    import tempfile

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return
    except OSError as error:
        raise MarathonError(f"--output_path: cannot write to {folder} ({error.strerror})") from None


def add_readings(parser: argparse.ArgumentParser) -> None:
    """Add --readings, which chooses the rows of the table."""
    parser.add_argument(
        "--readings",
        choices=READINGS,
        default=READINGS[0],
        help="rows of the table: each task's headline (default), or all readings with all metrics",
    )


def print_results(
    result: RunResult, as_json: bool, readings: str = READINGS[0], source: str | None = None
) -> None:
    """Print results.json or a table, and below it the effect of the option order after --permute_choices.

    `source` says where the answers come from if no model was asked.
    """
    if as_json:
        summary: dict[str, Any] = result.summary()
        print(json.dumps(summary, indent=1))
        return
    from marathon_eval.cli.terminal import print_run

    print_run(result, readings == "all", source)
    if any("permute_choices" in manifest for manifest in result.manifests.values()):
        from marathon_eval.evaluator.controls import order_lines

        print(*order_lines(result.manifests), sep="\n")


def exit_code(result: RunResult) -> int:
    """Return 130 for an interrupted run, 3 for one with rows that were not scored, else 0."""
    if result.interrupted:
        return EXIT_INTERRUPTED
    return EXIT_WHOLE if result.whole else EXIT_INCOMPLETE
