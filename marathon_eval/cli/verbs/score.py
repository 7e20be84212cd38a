"""Score answers without asking a model: a finished run's with today's task files, or a file of predictions.

marathon-eval score RUN
marathon-eval score --task mmar --predictions FILE
marathon-eval score RUN --export official --output_path DIR
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.cli.verbs.run import add_judge_arguments, check_writable, print_results
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args

if TYPE_CHECKING:
    from marathon_eval.api.model import Response
    from marathon_eval.api.results import RunResult, Sample
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.task import DocSet, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "run", nargs="?", metavar="RUN", help="a run's folder, or a parent (then its newest run)"
    )
    parser.add_argument(
        "--task", "-t", nargs="+", default=[], metavar="TASK", help="with --predictions: tasks and groups"
    )
    parser.add_argument(
        "--predictions", metavar="FILE", help="answers made elsewhere: the dataset's rows with a prediction"
    )
    parser.add_argument("--prediction_key", metavar="KEY", help="the key that holds it, when not a usual one")
    parser.add_argument("--subset", metavar="NAME", help="with --predictions: a row selection of the tasks")
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders with changed tasks/"
    )
    parser.add_argument("--data_dir", metavar="DIR", help="where the data is now, when it has moved")
    add_judge_arguments(parser)
    parser.add_argument("--use_cache", "-c", metavar="DIR", help="where the judge's replies are kept")
    parser.add_argument("--no_cache", action="store_true", help="neither read nor keep the judge's replies")
    parser.add_argument("--output_path", "-o", metavar="DIR", help="write the new results below DIR")
    parser.add_argument(
        "--export",
        choices=["official"],
        help="write RUN's answers below DIR as the benchmarks' scripts read them",
    )
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results.files import newest_run

    names = [name for item in arguments.task for name in item.split(",") if name]
    if (arguments.run is None) == (arguments.predictions is None):
        raise MarathonError("score: give a RUN's folder, or --predictions FILE with --task")
    if (arguments.predictions is None) != (not names):
        raise MarathonError("score: --task and --predictions go together")
    if arguments.output_path is not None:
        check_writable(Path(arguments.output_path))
    if arguments.export is not None:
        if arguments.run is None or arguments.output_path is None:
            raise MarathonError("--export: needs a RUN's folder and --output_path")
        return export_official(newest_run(Path(arguments.run)), arguments)
    if arguments.predictions is not None:
        return predicted(names, arguments)
    return finished(rescored(newest_run(Path(arguments.run)), arguments), arguments)


def finished(result: RunResult, arguments: argparse.Namespace, printout: Sequence[str] = ()) -> int:
    """Write and show a result."""
    from marathon_eval.results.files import run_folder, write_run

    if arguments.output_path is not None:
        folder = run_folder(Path(arguments.output_path), result.model, result.fingerprint_sha256)
        write_run(result, folder)
        print(f"results: {folder}", file=sys.stderr)
    print_results(result, as_json=arguments.json)
    if printout and not arguments.json:
        print("\nThe benchmark's own script prints of these answers:", *printout, sep="\n")
    return EXIT_WHOLE if result.whole else EXIT_INCOMPLETE


def judge_config(arguments: argparse.Namespace, old: Mapping[str, Any] | None = None) -> RunConfig:
    """The config of a run, or an empty one, with what the flags say of data, cache and judge laid over it."""
    known = {field.name for field in fields(RunConfig)}
    kept = {"model": "", "tasks": (), **{key: value for key, value in (old or {}).items() if key in known}}
    config = replace(RunConfig(**kept), tasks=tuple(kept["tasks"]))
    flags = vars(arguments)
    given = {key: flags[key] for key in ("data_dir", "use_cache", "judge_model") if flags[key] is not None}
    if arguments.include_path:
        given["include_path"] = tuple(arguments.include_path)
    named = flags if arguments.judge_model or not old else old
    config = replace(
        config,
        **given,
        judge_args=_arguments(named, "judge_args"),
        judge_gen_kwargs=_arguments(named, "judge_gen_kwargs"),
    )
    return replace(config, no_cache=arguments.no_cache or config.judge_model is None)


def _arguments(named: Mapping[str, Any], key: str) -> dict[str, Any]:
    """A flag's text, or what results.json kept of it."""
    value = named.get(key) or {}
    return parse_args(value, f"--{key}") if isinstance(value, str) else dict(value)


def predicted(names: Sequence[str], arguments: argparse.Namespace) -> int:
    """Score a predictions file."""
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.evaluator.evaluator import build_judge
    from marathon_eval.evaluator.requests import cache_folder
    from marathon_eval.evaluator.rescore.score_predictions import score_predictions

    config = judge_config(arguments)
    with ResponseCache(cache_folder(config)) as cache:
        found = score_predictions(
            names,
            Path(arguments.predictions),
            include_path=arguments.include_path,
            data_dir=arguments.data_dir,
            subset=arguments.subset,
            judge=build_judge(Registry(arguments.include_path), config),
            cache=cache,
            key=arguments.prediction_key,
            judge_generation=config.judge_gen_kwargs,
        )
    return finished(found.result, arguments, found.printout)


def export_official(folder: Path, arguments: argparse.Namespace) -> int:
    """Write a run's answers in the benchmarks' own formats."""
    from marathon_eval.evaluator.evaluator import load_tasks
    from marathon_eval.evaluator.requests import docs_of
    from marathon_eval.evaluator.rescore.official_output import write_official
    from marathon_eval.results.files import read_results, read_samples

    config = judge_config(arguments, read_results(folder)["config"])
    tasks, _ = load_tasks(Registry(config.include_path), config.tasks)
    docs = {name: docs_of(task, config) for name, task in tasks.items()}
    samples = {name: {row["doc_id"]: row for row in read_samples(folder, name)} for name in tasks}
    for path in write_official(tasks, docs, samples, Path(arguments.output_path)):
        print(path)
    return EXIT_WHOLE


def rescored(folder: Path, arguments: argparse.Namespace) -> Any:
    """The run again, with scores made anew from the stored texts. Raises MarathonError."""
    from marathon_eval.api.results import RunResult
    from marathon_eval.cache.answers import ResponseCache
    from marathon_eval.evaluator.evaluator import (
        as_judged,
        build_judge,
        in_orders,
        judge_with,
        load_tasks,
        manifests,
    )
    from marathon_eval.evaluator.requests import cache_folder, docs_of
    from marathon_eval.results.files import read_results

    clock = time.monotonic()
    old = read_results(folder)
    config = judge_config(arguments, old["config"])
    registry = Registry(config.include_path)
    tasks, groups = load_tasks(registry, config.tasks)
    judge = build_judge(registry, config)
    tasks = in_orders(as_judged(tasks, judge), config)
    docs = {name: docs_of(task, config) for name, task in tasks.items()}
    with ResponseCache(cache_folder(config)) as cache:
        asked = judge_with(judge, cache, config.judge_gen_kwargs)
        scored = {name: score_again(task, docs[name], folder, asked) for name, task in tasks.items()}
    samples = {name: rows for name, (rows, _) in scored.items()}
    results = {name: task.aggregate(samples[name], docs[name]) for name, task in tasks.items()}
    return RunResult(
        tasks=results,
        groups={name: group.aggregate(results) for name, group in groups.items()},
        samples=samples,
        config=config.recorded(),
        manifests=manifests(tasks, docs, samples, {name: facts for name, (_, facts) in scored.items()}),
        cache={"hits": sum(len(rows) for rows in samples.values()), "misses": 0},
        wall_s=round(time.monotonic() - clock, 3),
        **{
            key: old[key]
            for key in ("model", "fingerprint", "fingerprint_sha256", "versions", "started", "interrupted")
        },
    )


def score_again(
    task: Task, docs: DocSet, folder: Path, judge: Judge | None
) -> tuple[list[Sample], dict[str, Any]]:
    """Every document with the response that the run stored for it, and what the judge says of itself."""
    from marathon_eval.evaluator.score_run import judged_by, scored_sample
    from marathon_eval.results.files import read_samples

    stored = {row["doc_id"]: row for row in read_samples(folder, task.name)}
    missing = [doc.doc_id for doc in docs.docs if doc.doc_id not in stored]
    if missing:
        raise MarathonError(
            f"{folder}: {task.name} has no row {missing[0]} ({len(missing)} rows lack an answer)"
        )
    answers = [(doc, responses_of(stored[doc.doc_id])) for doc in docs.docs]
    judged = judged_by(judge, task, answers)
    samples = []
    for doc, responses in answers:
        row = stored[doc.doc_id]
        sample = scored_sample(task, doc, responses, judged.verdicts.get(doc.doc_id) if judged else None)
        samples.append(replace(sample, cached=True, prompt_sha256=row["prompt_sha256"], audio=row["audio"]))
    return samples, {"judge": judged.facts} if judged else {}


def responses_of(row: dict[str, Any]) -> list[Response]:
    from marathon_eval.api.model import Response, Usage

    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    known = {key: value for key, value in row["usage"].items() if key in Usage.__dataclass_fields__}
    return [
        Response(text or "", status=row["status"], error=row["error"], usage=Usage(**known)) for text in texts
    ]
