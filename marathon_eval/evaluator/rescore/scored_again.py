"""Scores a finished run again: its stored responses, with the task files, filters and metrics of today. No model is run."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from marathon_eval.api.doc import Doc
from marathon_eval.api.model import Response, Usage
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import RunResult
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.budget_flags import score_budget
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import as_judged, build_judge, in_orders, judge_with, load_tasks
from marathon_eval.evaluator.judge import Judge
from marathon_eval.evaluator.requests import cache_folder
from marathon_eval.evaluator.rescore.join_rows import JoinedRows, joined_rows, row_numbers
from marathon_eval.evaluator.rescore.stored_config import TYPED, stored_config
from marathon_eval.evaluator.run_scores import default_subsets, manifests
from marathon_eval.evaluator.score_run import judged_by, scored_sample
from marathon_eval.evaluator.spending import Spending
from marathon_eval.results.compressed_samples import CompressedSamples
from marathon_eval.results.files import read_results
from marathon_eval.results.label import recorded_condition, selection_of
from marathon_eval.task.task import Task

#: Takes a line for the user; the texts in it may come from a stored file.
Say = Callable[[str], None]


def scored_again(folder: Path, typed: Mapping[str, Any], say: Say) -> RunResult:
    """Return the run of a folder with scores computed anew from its stored responses. Raises MarathonError.

    `typed` has what the user says about folders, cache and judge, by the names of RunConfig's fields: a stored run opens
    and starts nothing by itself. `say` gets a line for each thing that the user should know.
    """
    clock = time.monotonic()
    old = read_results(folder)
    config = config_of_run(folder, old["config"], typed, say)
    registry = Registry(config.include_path, config.trust_task_code)
    tasks, groups = load_tasks(registry, config.tasks, config.num_fewshot)
    judge = build_judge(registry, config)
    spending = Spending(score_budget(config, judge))
    tasks = in_orders(as_judged(tasks, judge), config)
    joined = joined_by_task(tasks, config, old["model"], folder, say)
    docs = {name: rows.docs for name, rows in joined.items()}
    with ResponseCache(cache_folder(config)) as cache:
        cached_judge = judge_with(judge, cache, config.judge_gen_kwargs, spending=spending)
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
        spent=spending.of_scoring(),
        **{
            key: old[key]
            for key in ("model", "fingerprint", "fingerprint_sha256", "versions", "started", "interrupted")
        },
    )


def config_of_run(folder: Path, stored: Mapping[str, Any], typed: Mapping[str, Any], say: Say) -> RunConfig:
    """Return the config to score a stored run with; `say` gets what it asks for beyond the `typed` settings. Raises MarathonError."""
    # without a judge no cache is read
    shown = [name for name in TYPED if stored.get("judge_model") or name != "use_cache"]
    config, unused = stored_config(stored, typed, folder / "results.json", shown)
    if unused is not None:
        say(unused)
    return config


def asked_before(old: Mapping[str, Any], task: str) -> dict[str, Any]:
    """Return how the run asked a task, as its manifest says; scoring again does not change it."""
    manifest = (old.get("manifests") or {}).get(task) or {}
    return {name: manifest[name] for name in ("prompts_sha256", "generation") if name in manifest}


def joined_by_task(
    tasks: Mapping[str, Task], config: RunConfig, model_name: str, folder: Path, say: Say
) -> dict[str, JoinedRows]:
    """Join the run's rows with every task's documents, and tell `say` how many sounds were not needed. Raises MarathonError."""
    joined = {name: rows_of_run(task, config, model_name, folder, say) for name, task in tasks.items()}
    if unheard := sum(rows.unheard for rows in joined.values()):
        are = "sound file is" if unheard == 1 else "sound files are"
        say(
            f"marathon-eval: {unheard} {are} not there, and not needed: the answers are the run's own "
            "(clips are compared by their names)"
        )
    return joined


def rows_of_run(task: Task, config: RunConfig, model_name: str, folder: Path, say: Say) -> JoinedRows:
    """Join the run's rows with the task's documents, and tell `say` which rows are left out. Raises MarathonError."""
    joined = joined_rows(task, config, model_name, folder)
    if joined.left_over:
        say(
            f"marathon-eval: {task.name}: {row_numbers(joined.left_over)} of the run left out: "
            "the task has no row for them any more"
        )
    return joined


def score_again(
    task: Task, joined: JoinedRows, judge: Judge | None
) -> tuple[CompressedSamples, dict[str, Any]]:
    """Score every document from its stored response; also return the judge's facts for the run's manifest."""
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
    if doc.doc_id in rows:
        return responses_of(rows[doc.doc_id])
    return [Response.failed(doc.error or "the row lacks what its prompt needs")]


def responses_of(row: Mapping[str, Any]) -> list[Response]:
    """Rebuild the responses, one per repeat, that a row of samples_<task>.jsonl was written from."""
    texts = row["response"] if isinstance(row["response"], list) else [row["response"]]
    usage = {key: value for key, value in row["usage"].items() if key in Usage.__dataclass_fields__}
    return [
        Response(text or "", status=row["status"], error=row["error"], usage=Usage(**usage)) for text in texts
    ]
