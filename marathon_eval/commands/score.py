"""Score a finished run's answers again with today's task files; asks no model and needs no cache."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.cli import EXIT_INCOMPLETE, EXIT_WHOLE
from marathon_eval.commands.run import check_writable, show
from marathon_eval.errors import MarathonError
from marathon_eval.registry import Registry

if TYPE_CHECKING:
    from marathon_eval.model import Response
    from marathon_eval.results import Sample
    from marathon_eval.task import DocSet, Task


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run's folder, or a parent (then its newest run)")
    parser.add_argument(
        "--include_path", nargs="+", default=[], metavar="DIR", help="folders with changed tasks/"
    )
    parser.add_argument("--data_dir", metavar="DIR", help="where the data is now, when it has moved")
    parser.add_argument("--output_path", "-o", metavar="DIR", help="write the new results below DIR")
    parser.add_argument("--json", action="store_true", help="print results.json instead of a table")


def run(arguments: argparse.Namespace) -> int:
    from marathon_eval.results import newest_run, run_folder, write_run

    if arguments.output_path is not None:
        check_writable(Path(arguments.output_path))
    result = rescored(newest_run(Path(arguments.run)), arguments)
    if arguments.output_path is not None:
        folder = run_folder(Path(arguments.output_path), result.model, result.fingerprint_sha256)
        write_run(result, folder)
        print(f"results: {folder}", file=sys.stderr)
    show(result, as_json=arguments.json)
    return EXIT_WHOLE if result.whole else EXIT_INCOMPLETE


def rescored(folder: Path, arguments: argparse.Namespace) -> Any:
    """The run again, with scores made anew from the stored texts. Raises MarathonError."""
    from marathon_eval.evaluator import load_tasks
    from marathon_eval.results import RunResult, read_results

    clock = time.monotonic()
    old = read_results(folder)
    config = {**old["config"], "data_dir": arguments.data_dir or old["config"]["data_dir"]}
    tasks, groups = load_tasks(Registry(arguments.include_path or config["include_path"]), config["tasks"])
    docs = {name: task_docs(task, config) for name, task in tasks.items()}
    samples = {name: score_again(task, docs[name], folder) for name, task in tasks.items()}
    results = {name: task.aggregate(samples[name], docs[name]) for name, task in tasks.items()}
    return RunResult(
        tasks=results,
        groups={name: group.aggregate(results) for name, group in groups.items()},
        samples=samples,
        config=config,
        manifests={name: docset.manifest() for name, docset in docs.items()},
        cache={"hits": sum(len(rows) for rows in samples.values()), "misses": 0},
        wall_s=round(time.monotonic() - clock, 3),
        **{
            key: old[key]
            for key in ("model", "fingerprint", "fingerprint_sha256", "versions", "started", "interrupted")
        },
    )


def task_docs(task: Task, config: dict[str, Any]) -> DocSet:
    chosen = (config["samples"] or {}).get(task.name)
    return task.docs(config["data_dir"], subset=config["subset"], limit=config["limit"], samples=chosen)


def score_again(task: Task, docs: DocSet, folder: Path) -> list[Sample]:
    """Every document with the response that the run stored for it."""
    from marathon_eval.results import read_samples

    stored = {row["doc_id"]: row for row in read_samples(folder, task.name)}
    missing = [doc.doc_id for doc in docs.docs if doc.doc_id not in stored]
    if missing:
        raise MarathonError(
            f"{folder}: {task.name} has no row {missing[0]} ({len(missing)} rows lack an answer)"
        )
    samples = []
    for doc in docs.docs:
        row = stored[doc.doc_id]
        sample = task.score(doc, responses_of(row))
        samples.append(replace(sample, cached=True, prompt_sha256=row["prompt_sha256"], audio=row["audio"]))
    return samples


def responses_of(row: dict[str, Any]) -> list[Response]:
    from marathon_eval.model import Response, Usage

    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    known = {key: value for key, value in row["usage"].items() if key in Usage.__dataclass_fields__}
    return [
        Response(text or "", status=row["status"], error=row["error"], usage=Usage(**known)) for text in texts
    ]
