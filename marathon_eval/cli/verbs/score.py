"""Score existing responses without running a model: those of a finished run, or those in a predictions file.

marathon-eval score RUN                                      score a finished run again with the current task files
marathon-eval score --tasks mmar --predictions FILE           score responses that another program produced
marathon-eval score RUN --export official --output_path DIR  write them for the benchmark's own scoring script
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.cli.verbs._run_flags import add_judge_arguments
from marathon_eval.cli.verbs._trust import add_trust_argument
from marathon_eval.cli.verbs.run import add_readings, check_writable, print_results
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc
    from marathon_eval.api.model import Response
    from marathon_eval.api.results import RunResult
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.evaluator.rescore.join_rows import JoinedRows
    from marathon_eval.results.compressed_samples import CompressedSamples
    from marathon_eval.task.task import Task


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
    from marathon_eval.results.files import newest_run

    names = [name for item in arguments.tasks for name in item.split(",") if name]
    if (arguments.run is None) == (arguments.predictions is None):
        raise MarathonError("score: give either the folder of a run, or --predictions FILE with --tasks")
    if (arguments.predictions is None) != (not names):
        raise MarathonError(
            "score: --tasks and --predictions need each other: give both, or the folder of a run alone"
        )
    if arguments.output_path is not None:
        check_writable(Path(arguments.output_path))
    if arguments.export is not None:
        if arguments.run is None or arguments.output_path is None:
            raise MarathonError("--export: give the folder of a run, and --output_path DIR to write to")
        return export_official(newest_run(Path(arguments.run)), arguments)
    if arguments.predictions is not None:
        return predicted(names, arguments)
    return finished(rescored(newest_run(Path(arguments.run)), arguments), arguments)


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
    }


def config_of_run(folder: Path, stored: Mapping[str, Any], arguments: argparse.Namespace) -> RunConfig:
    """Return the config to score a stored run with; what it asks for beyond the flags is printed. Raises MarathonError."""
    from marathon_eval.cli.plain_output import printable
    from marathon_eval.evaluator.rescore.stored_config import TYPED, stored_config

    # without a judge no cache is read
    shown = [name for name in TYPED if stored.get("judge_model") or name != "use_cache"]
    config, unused = stored_config(stored, typed_settings(arguments), folder / "results.json", shown)
    if unused is not None:
        print(printable(unused), file=sys.stderr)
    return config


def predicted(names: Sequence[str], arguments: argparse.Namespace) -> int:
    """Score a predictions file and return the exit code. Raises MarathonError."""
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.cli.plain_output import printable
    from marathon_eval.evaluator.evaluator import build_judge
    from marathon_eval.evaluator.requests import cache_folder
    from marathon_eval.evaluator.rescore.score_predictions import score_predictions

    config = RunConfig("", (), **typed_settings(arguments))
    with ResponseCache(cache_folder(config)) as cache:
        scored = score_predictions(
            names,
            Path(arguments.predictions),
            include_path=arguments.include_path,
            data_dir=arguments.data_dir,
            subset=arguments.subset,
            judge=build_judge(Registry(arguments.include_path, arguments.trust_task_code), config),
            cache=cache,
            key=arguments.prediction_key,
            judge_generation=config.judge_gen_kwargs,
            trust_task_code=arguments.trust_task_code,
        )
    for note in scored.notes:
        print(printable(f"marathon-eval: {note}"), file=sys.stderr)
    return finished(scored.result, arguments, scored.printout)


def export_official(folder: Path, arguments: argparse.Namespace) -> int:
    """Write a run's responses in the benchmarks' own formats and print the paths. Raises MarathonError."""
    from marathon_eval.evaluator.evaluator import load_tasks
    from marathon_eval.evaluator.rescore.official_output import write_official
    from marathon_eval.results.files import read_results

    old = read_results(folder)
    config = config_of_run(folder, old["config"], arguments)
    registry = Registry(config.include_path, config.trust_task_code)
    tasks, _ = load_tasks(registry, config.tasks, config.num_fewshot)
    joined = joined_by_task(tasks, config, old["model"], folder)
    docs = {name: rows.docs for name, rows in joined.items()}
    samples = {name: rows.rows for name, rows in joined.items()}
    for path in write_official(tasks, docs, samples, Path(arguments.output_path)):
        print(path)
    return EXIT_WHOLE


def rescored(folder: Path, arguments: argparse.Namespace) -> Any:
    """Return the run with scores computed anew from its stored responses. Raises MarathonError."""
    from marathon_eval.api.results import RunResult
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.evaluator.evaluator import (
        as_judged,
        build_judge,
        in_orders,
        judge_with,
        load_tasks,
    )
    from marathon_eval.evaluator.requests import cache_folder
    from marathon_eval.evaluator.run_scores import default_subsets, manifests
    from marathon_eval.results.files import read_results
    from marathon_eval.results.label import recorded_condition, selection_of

    clock = time.monotonic()
    old = read_results(folder)
    config = config_of_run(folder, old["config"], arguments)
    registry = Registry(config.include_path, config.trust_task_code)
    tasks, groups = load_tasks(registry, config.tasks, config.num_fewshot)
    judge = build_judge(registry, config)
    tasks = in_orders(as_judged(tasks, judge), config)
    joined = joined_by_task(tasks, config, old["model"], folder)
    docs = {name: rows.docs for name, rows in joined.items()}
    with ResponseCache(cache_folder(config)) as cache:
        cached_judge = judge_with(judge, cache, config.judge_gen_kwargs)
        scored = {name: score_again(task, joined[name], cached_judge) for name, task in tasks.items()}
    samples = {name: rows for name, (rows, _) in scored.items()}
    facts = {name: {**asked_before(old, name), **judged} for name, (_, judged) in scored.items()}
    recorded, by_task = config.recorded(), manifests(tasks, docs, samples, facts)
    results = {name: task.aggregate(samples[name], docs[name]) for name, task in tasks.items()}
    return RunResult(
        tasks=results,
        groups={name: group.aggregate(results) for name, group in groups.items()},
        samples=samples,
        config=recorded,
        manifests=by_task,
        condition=recorded_condition(old),
        selection=selection_of(recorded, by_task, default_subsets(tasks)),
        cache={"hits": sum(len(rows) for rows in samples.values()), "misses": 0},
        wall_s=round(time.monotonic() - clock, 3),
        selftest=old.get("selftest"),
        **{
            key: old[key]
            for key in ("model", "fingerprint", "fingerprint_sha256", "versions", "started", "interrupted")
        },
    )


def asked_before(old: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return how the run asked a task, as its manifest says; scoring again does not change it."""
    manifest = (old.get("manifests") or {}).get(task) or {}
    return {name: manifest[name] for name in ("prompts_sha256", "generation") if name in manifest}


def joined_by_task(
    tasks: Mapping[str, Task], config: RunConfig, model_name: str, folder: Path
) -> dict[str, JoinedRows]:
    """Join the run's rows with every task's documents, and say how many sounds were not needed. Raises MarathonError."""
    joined = {name: rows_of_run(task, config, model_name, folder) for name, task in tasks.items()}
    if unheard := sum(rows.unheard for rows in joined.values()):
        are = "sound file is" if unheard == 1 else "sound files are"
        print(
            f"marathon-eval: {unheard} {are} not there, and not needed: the answers are the run's own "
            "(clips are compared by their names)",
            file=sys.stderr,
        )
    return joined


def rows_of_run(task: Task, config: RunConfig, model_name: str, folder: Path) -> JoinedRows:
    """Join the run's rows with the task's documents, and say which rows are left out. Raises MarathonError."""
    from marathon_eval.evaluator.rescore.join_rows import joined_rows, row_numbers

    joined = joined_rows(task, config, model_name, folder)
    if joined.left_over:
        print(
            f"marathon-eval: {task.name}: {row_numbers(joined.left_over)} of the run left out: "
            "the task has no row for them any more",
            file=sys.stderr,
        )
    return joined


def score_again(
    task: Task, joined: JoinedRows, judge: Judge | None
) -> tuple[CompressedSamples, dict[str, Any]]:
    """Score every document from its stored response; also return the judge's facts for the run's manifest."""
    from marathon_eval.evaluator.score_run import judged_by, scored_sample
    from marathon_eval.results.compressed_samples import CompressedSamples

    judged = judged_by(judge, task, ((doc, responses_to(doc, joined.rows)) for doc in joined.docs.docs))
    samples = CompressedSamples()
    for doc in joined.docs.docs:
        row = joined.rows.get(doc.doc_id, {"prompt_sha256": None, "audio": []})
        responses = responses_to(doc, joined.rows)
        sample = scored_sample(task, doc, responses, judged.verdicts.get(doc.doc_id) if judged else None)
        samples.append(replace(sample, cached=True, prompt_sha256=row["prompt_sha256"], audio=row["audio"]))
    return samples, {"judge": judged.facts} if judged else {}


def responses_to(doc: Doc, rows: Mapping[int, Mapping[str, Any]]) -> list[Response]:
    """Return the responses that the run has for a document, or one that failed."""
    from marathon_eval.api.model import Response

    if doc.doc_id in rows:
        return responses_of(rows[doc.doc_id])
    return [Response.failed(doc.error or "the row lacks what its prompt needs")]


def responses_of(row: Mapping[str, Any]) -> list[Response]:
    """Rebuild the responses, one per repeat, that a row of samples_<task>.jsonl was written from."""
    from marathon_eval.api.model import Response, Usage

    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    usage = {key: value for key, value in row["usage"].items() if key in Usage.__dataclass_fields__}
    return [
        Response(text or "", status=row["status"], error=row["error"], usage=Usage(**usage)) for text in texts
    ]
