"""Score existing responses without running a model: those of a finished run, or those in a predictions file.

marathon-eval score RUN                                      score a finished run again with the current task files
marathon-eval score --tasks mmar --predictions FILE           score responses that another program produced
marathon-eval score RUN --export official --output_path DIR  write them for the benchmark's own scoring script
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.cli.plain_output import printable
from marathon_eval.cli.verbs._run_flags import add_judge_arguments, add_judge_budget
from marathon_eval.cli.verbs._trust import add_trust_argument
from marathon_eval.cli.verbs.run import add_readings, check_writable, print_results
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args

if TYPE_CHECKING:
    from marathon_eval.api.results import RunResult


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run",
        nargs="?",
        metavar="RUN",
        help="folder of a finished run, or a folder above it (its newest run is taken)",
    )
    parser.add_argument(
        "--tasks",
        "--task",
        "-t",
        nargs="+",
        default=[],
        metavar="TASK",
        help="tasks or groups of tasks that the --predictions belong to",
    )
    parser.add_argument(
        "--predictions",
        metavar="FILE",
        help="responses of another program: the dataset's rows, each with its prediction (.json or .jsonl)",
    )
    parser.add_argument(
        "--prediction_key",
        metavar="KEY",
        help="key or column of the prediction in FILE, if its name is not a common one",
    )
    parser.add_argument(
        "--subset", metavar="NAME", help="row selection that the tasks define, for --predictions"
    )
    add_trust_argument(parser)
    parser.add_argument(
        "--include_path",
        nargs="+",
        default=[],
        metavar="DIR",
        help="folders whose tasks/ are used before the shipped ones",
    )
    parser.add_argument(
        "--data_dir", metavar="DIR", help="local copy of the dataset; a run made with one needs it again"
    )
    add_judge_arguments(parser)
    add_judge_budget(parser)
    add_score_output(parser)


def add_score_output(parser: argparse.ArgumentParser) -> None:
    """Add the flags that say where judge replies and results are kept, and what is printed."""
    parser.add_argument(
        "--use_cache", "-c", metavar="DIR", help="folder of the cache for the judge's replies"
    )
    parser.add_argument("--no_cache", action="store_true", help="neither read nor write cached judge replies")
    parser.add_argument(
        "--output_path", "-o", metavar="DIR", help="write the new results to a new folder below DIR"
    )
    parser.add_argument(
        "--export",
        choices=["official"],
        help="write RUN's responses below --output_path in the format that the benchmarks' scoring scripts read",
    )
    parser.add_argument(
        "--json", action="store_true", help="print the contents of results.json instead of a table"
    )
    add_readings(parser)


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.evaluator.rescore.scored_again import scored_again
    from marathon_eval.results.files import newest_run

    names = [name for item in arguments.tasks for name in item.split(",") if name]
    if (arguments.run is None) == (arguments.predictions is None):
        raise MarathonError("score: give either the folder of a run, or --predictions FILE with --tasks")
    if (arguments.predictions is None) != (not names):
        raise MarathonError(
            "score: --tasks and --predictions need each other: give both, or the folder of a run alone"
        )
    if arguments.run is not None and (arguments.subset is not None or arguments.prediction_key is not None):
        raise MarathonError(
            "score: --subset and --prediction_key are for --predictions; a run has its own subset"
        )
    if arguments.output_path is not None:
        check_writable(Path(arguments.output_path))
    if arguments.export is not None:
        if arguments.run is None or arguments.output_path is None:
            raise MarathonError("--export: give the folder of a run, and --output_path DIR to write to")
        return export_official(newest_run(Path(arguments.run)), arguments)
    if arguments.predictions is not None:
        return predicted(names, arguments)
    scored = scored_again(newest_run(Path(arguments.run)), typed_settings(arguments), say)
    return finished(scored, arguments)


def say(text: str) -> None:
    """Print a line on standard error."""
    print(printable(text), file=sys.stderr)


def finished(result: RunResult, arguments: argparse.Namespace, printout: Sequence[str] = ()) -> int:
    """Write the result below --output_path, print it, and return the exit code."""
    from marathon_eval.results.files import run_folder, write_run

    if arguments.output_path is not None:
        folder = run_folder(Path(arguments.output_path), result)
        write_run(result, folder)
        print(f"results: {folder}", file=sys.stderr)
    elif not arguments.json:
        print("marathon-eval: nothing was written; --output_path DIR keeps these scores", file=sys.stderr)
    source = "the run" if arguments.predictions is None else "the predictions file"
    print_results(result, as_json=arguments.json, readings=arguments.readings, source=source)
    if printout and not arguments.json:
        print("\nFor these answers the benchmark's own script prints:", *printout, sep="\n")
    return EXIT_WHOLE if result.whole else EXIT_INCOMPLETE


def typed_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags say about folders, cache and judge, by the names of RunConfig's fields."""
    return {
        "include_path": tuple(arguments.include_path),
        "trust_task_code": arguments.trust_task_code,
        "data_dir": arguments.data_dir,
        "use_cache": arguments.use_cache,
        "judge_model": arguments.judge_model,
        "judge_args": parse_args(arguments.judge_args, "--judge_args"),
        "judge_gen_kwargs": parse_args(arguments.judge_gen_kwargs, "--judge_gen_kwargs"),
        "no_cache": arguments.no_cache or arguments.judge_model is None,
        **budget_settings(arguments),
    }


def budget_settings(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the flags say about the judge's budget. Raises MarathonError."""
    from marathon_eval.evaluator.budget_flags import limited_budget

    limited_budget(arguments.max_requests, arguments.max_tokens_total, arguments.max_cost)
    return {
        "max_requests": arguments.max_requests,
        "max_tokens_total": arguments.max_tokens_total,
        "max_cost": arguments.max_cost,
        "judge_prices": parse_args(arguments.judge_prices, "--judge_prices"),
    }


def predicted(names: Sequence[str], arguments: argparse.Namespace) -> int:
    """Score a predictions file and return the exit code. Raises MarathonError."""
    from marathon_eval.evaluator.rescore.score_predictions import scored_predictions

    config = RunConfig("", tuple(names), subset=arguments.subset, **typed_settings(arguments))
    scored = scored_predictions(config, Path(arguments.predictions), arguments.prediction_key)
    for note in scored.notes:
        say(f"marathon-eval: {note}")
    return finished(scored.result, arguments, scored.printout)


def export_official(folder: Path, arguments: argparse.Namespace) -> int:
    """Write a run's responses in the benchmarks' own formats and print the paths. Raises MarathonError."""
    from marathon_eval.evaluator.evaluator import load_tasks
    from marathon_eval.evaluator.rescore.official_output import write_official
    from marathon_eval.evaluator.rescore.scored_again import config_of_run, joined_by_task
    from marathon_eval.results.files import read_results

    old = read_results(folder)
    config = config_of_run(folder, old["config"], typed_settings(arguments), say)
    registry = Registry(config.include_path, config.trust_task_code)
    tasks, _ = load_tasks(registry, config.tasks, config.num_fewshot)
    joined = joined_by_task(tasks, config, old["model"], folder, say)
    docs = {name: rows.docs for name, rows in joined.items()}
    samples = {name: rows.rows for name, rows in joined.items()}
    for path in write_official(tasks, docs, samples, Path(arguments.output_path)):
        print(path)
    return EXIT_WHOLE
