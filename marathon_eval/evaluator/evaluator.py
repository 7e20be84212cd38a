"""Evaluates one model on tasks: from `evaluate` (of `run` and `simple.simple_evaluate`) to a RunResult.

A run has five steps:

1. `run_parts` loads the tasks, the model and the judge by their names;
2. `documents_and_requests` reads the documents and builds their requests;
3. `requests.ask` gets a response for each request, from the cache or from the model: it calls `ResponseCache.answer`, which
   sends what the cache lacks through `api.model.complete` to `Model.generate`;
4. `score_responses` scores the responses and aggregates them per task and group;
5. `results.files.write_run` (called by the command line) writes the results to a folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.model import JUDGE_FLAGS, MODEL_FLAGS, Model, ModelFlags, Through, complete
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import RunResult, Sample
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget import Spending, checked_budget
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.gc_pause import seldom_collected
from marathon_eval.evaluator.provenance import recorded_versions
from marathon_eval.evaluator.requests import (
    Progress,
    RequestPool,
    RunResponses,
    ask,
    cache_folder,
    requests_of_tasks,
    unheard,
)
from marathon_eval.evaluator.task_names import resolved_names
from marathon_eval.files import sha256_of
from marathon_eval.results.label import condition_of, selection_of

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.task import DocSet, Group, Task


def evaluate(
    config: RunConfig,
    model: Model | None = None,
    progress: Progress | None = None,
    through: Through = complete,
    judge_through: Callable[[Judge, Model], Through] | None = None,
) -> RunResult:
    """Load the tasks, ask the model for the responses that the cache lacks, and score them. Writes no results.

    A `model` that is passed in replaces `config.model`; `through` sends the requests, and
    `judge_through` gives what sends a judge's (several processes replace them).
    Raises MarathonError.
    """
    from marathon_eval.evaluator.live_samples import live_samples
    from marathon_eval.evaluator.score_run import load_scoring

    started, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    tasks, groups, model, judge = run_parts(config, model)
    spending = Spending(
        checked_budget(config.max_requests, config.max_tokens_total, config.max_cost, config.prices)
    )
    with ResponseCache(cache_folder(config)) as cache, ExitStack() as stack:
        model.cache = cache
        _, pool = documents_and_requests(model, tasks, config, cache)
        shown = stack.enter_context(live_samples(progress or Progress(), config, tasks, pool))

        def check_before_loading_weights(misses: int) -> None:
            from marathon_eval.evaluator.preflight import RunBeforeStart, refuse_missing

            refuse_missing(RunBeforeStart(tasks, pool, (model,), judge, config, cache), misses)
            load_scoring()

        try:
            responses = ask(
                pool,
                model,
                cache,
                shown,
                config.retry_errors,
                spending.through(through) if spending.budget.given else through,
                before=check_before_loading_weights,
            )
        finally:
            model.close()
        cache.commit()
        judging = judge_with(judge, cache, config.judge_gen_kwargs, judge_through)
        plan = ScoringPlan(tasks, groups, pool, judging, once=True)
        with seldom_collected():
            result = score_responses(plan, config, model, responses, started, clock)
        return replace(result, spent=spending.as_json()) if spending.budget.given else result


class RunParts(NamedTuple):
    """Holds the tasks, groups, model and judge of a run, before any data is read."""

    tasks: dict[str, Task]
    groups: dict[str, Group]
    model: Model
    judge: Model | None


def run_parts(config: RunConfig, model: Model | None = None) -> RunParts:
    """Load the tasks, groups, model and judge that the config names. Raises MarathonError."""
    registry = Registry(config.include_path, config.trust_task_code)
    tasks, groups = load_tasks(registry, config.tasks, config.num_fewshot)
    model = model or build_model(registry, config.model, config.model_args)
    judge = build_judge(registry, config)
    if not config.predict_only:
        tasks = as_judged(tasks, judge)
    return RunParts(in_orders(tasks, config), groups, model, judge)


def documents_and_requests(
    model: Model, tasks: Mapping[str, Task], config: RunConfig, cache: ResponseCache
) -> tuple[dict[str, Any], RequestPool]:
    """Return the model's fingerprint and the pool of all documents with their requests.

    Raises one MarathonError that lists every problem with the weights and with the data. Weights are not looked for
    if this model was sent requests through this cache before: a rerun that only rescores needs none.
    """
    problems: list[str] = []
    fingerprint: dict[str, Any] = {}
    pool: RequestPool | None = None
    try:
        fingerprint = model.fingerprint
        if not cache.knows(fingerprint):
            model.check()
    except MarathonError as error:
        problems.append(str(error))
    try:
        pool = pinned_pool(tasks, config, model.name(), cache)
    except MarathonError as error:
        problems.append(str(error))
    if problems or pool is None:
        raise MarathonError("; and ".join(problems))
    return fingerprint, pool


def pinned_pool(
    tasks: Mapping[str, Task], config: RunConfig, model_name: str, cache: ResponseCache
) -> RequestPool:
    """Build the pool, with the windows of long clips; audio that is not in the --manifest makes error rows.

    Raises MarathonError.
    """
    from marathon_eval.evaluator.windows import with_windows

    pool = requests_of_tasks(tasks, config, model_name)
    if config.manifest is not None:
        from marathon_eval.evaluator.pinned_data import with_unpinned_refused

        pool = with_unpinned_refused(pool, cache, Path(config.manifest))
    return with_windows(pool, tasks, config, cache)


class ScoringPlan(NamedTuple):
    """Holds what scoring needs: the tasks and groups, the documents with their requests, and the judge.

    `once`: the pool is scored once only, so its requests may be freed while documents are scored.
    """

    tasks: dict[str, Task]
    groups: dict[str, Group]
    pool: RequestPool
    judge: Judge | None
    once: bool = False


def score_responses(
    plan: ScoringPlan, config: RunConfig, model: Model, responses: RunResponses, started: str, clock: float
) -> RunResult:
    """Score the responses of a run and build its result.

    `started` is the UTC start time as results.json shows it, `clock` is time.monotonic() minus the seconds
    that the run has taken so far. Clears
    `responses.by_request`: afterwards only the samples hold the texts.
    """
    from marathon_eval.evaluator.score_run import scored_task
    from marathon_eval.evaluator.windows import changed_by_windows

    tasks, pool = plan.tasks, plan.pool
    cut = changed_by_windows(tasks, config, pool)
    n_responses, n_cached = len(responses.by_request), len(responses.cached)
    n_unsent = sum(unheard(request, responses.facts) for request in responses.by_request)
    # with equally many responses and requests, no two documents share a response
    emptied = plan.once and n_responses == pool.size()
    scores_by_task = {
        name: scored_task(task, pool.doc_requests[name], responses, config, plan.judge, emptied)
        for name, task in tasks.items()
    }
    responses.by_request.clear()
    task_results = {
        name: scores.aggregation.result(pool.docs[name]) for name, scores in scores_by_task.items()
    }
    samples = {name: scores.samples for name, scores in scores_by_task.items()}
    facts_by_task = {name: scores.facts for name, scores in scores_by_task.items()}
    fingerprint = model.fingerprint
    recorded, facts = config.recorded(), manifests(tasks, pool.docs, samples, facts_by_task)
    return RunResult(
        model=model.name(),
        fingerprint=fingerprint,
        fingerprint_sha256=sha256_of(fingerprint),
        tasks=task_results,
        groups={name: group.aggregate(task_results) for name, group in plan.groups.items()},
        samples=samples,
        config=recorded,
        versions=recorded_versions(),
        manifests=facts,
        cache={"hits": n_cached, "misses": max(0, n_responses - n_cached - n_unsent)},
        wall_s=round(time.monotonic() - clock, 3),
        started=started,
        interrupted=responses.interrupted,
        condition=condition_of(recorded, cut),
        selection=selection_of(recorded, facts, default_subsets(tasks)),
    )


def default_subsets(tasks: Mapping[str, Task]) -> dict[str, str | None]:
    """Return the subset that each task takes without --subset."""
    return {name: task.config.default_subset for name, task in tasks.items()}


def load_tasks(
    registry: Registry, names: Sequence[str], num_fewshot: int | None = None
) -> tuple[dict[str, Task], dict[str, Group]]:
    """Load the tasks behind the names of tasks, groups, tags and patterns, each once, in order.

    `num_fewshot` replaces the tasks' own number of examples. Raises MarathonError.
    """
    from marathon_eval.task.group import check_group
    from marathon_eval.task.task import Group, load_task, with_num_fewshot

    tasks: dict[str, Task] = {}
    groups: dict[str, Group] = {}
    waiting, seen = resolved_names(registry, names), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:  # groups may share members, and one may name itself
            continue
        seen.add(name)
        loaded = load_task(registry.task_path(name), registry.task_path, registry)
        if isinstance(loaded, Group):
            groups[loaded.name] = loaded
            waiting = [*loaded.members, *waiting]
        else:
            tasks.setdefault(loaded.name, with_num_fewshot(loaded, num_fewshot))
    if not tasks:
        raise MarathonError("--tasks: names no task")
    for group in groups.values():
        check_group(group, {name: task.metric_names for name, task in tasks.items()})
    return tasks, groups


def build_model(
    registry: Registry, name: str, model_args: Mapping[str, Any], flags: ModelFlags = MODEL_FLAGS
) -> Model:
    """Build the model adapter and its press; each of `model_args` goes to the one that has a setting of that name.

    `flags` are the command-line flags that error messages name. Raises MarathonError.
    """
    from marathon_eval.backends.press_args import split_press_args

    model_class = registry.model_class(name, flags.model)
    arguments, press = split_press_args(
        model_args, set(model_class.Settings.model_fields), registry.press_class, flags.args
    )
    return model_class.from_args(arguments, press, flags)


def in_orders(tasks: Mapping[str, Task], config: RunConfig) -> dict[str, Task]:
    """Return the tasks; with --permute_choices, each in several orders of its options. Raises MarathonError."""
    if config.no_audio is None and not config.swap_audio and config.permute_choices is None:
        return dict(tasks)
    from marathon_eval.evaluator.controls import checked, with_permutations

    checked(config.no_audio, config.swap_audio, config.permute_choices)
    return with_permutations(tasks, config.permute_choices)


def manifests(
    tasks: Mapping[str, Task],
    docs: Mapping[str, DocSet],
    samples: Mapping[str, Sequence[Sample]],
    facts: Mapping[str, Mapping[str, Any]],
) -> dict[str, Any]:
    """Return the `manifests` of results.json: each task's rows, how they were asked (`facts`), its orders of options."""
    by_task = {name: {**docset.manifest(), **facts[name]} for name, docset in docs.items()}
    if len(by_task) > len({name.partition("~")[0] for name in by_task}):
        from marathon_eval.evaluator.controls import by_place

        for name, orders in by_place(tasks, docs, samples).items():
            by_task[name]["permute_choices"] = orders
    return by_task


def build_judge(registry: Registry, config: RunConfig) -> Model | None:
    """Build the model that --judge_model names, or return None without one. Raises MarathonError."""
    if config.judge_model is None:
        if config.judge_args or config.judge_gen_kwargs:
            raise MarathonError("--judge_args and --judge_gen_kwargs need --judge_model")
        return None
    return build_model(registry, config.judge_model, config.judge_args, JUDGE_FLAGS)


def judge_with(
    judge: Model | None,
    cache: ResponseCache,
    generation: Mapping[str, Any],
    through: Callable[[Judge, Model], Through] | None = None,
) -> Judge | None:
    """Wrap the judge's model with the cache that stores its replies. Raises MarathonError for --judge_gen_kwargs."""
    if judge is None:
        return None
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.yaml.config import generation_settings

    judging = Judge(judge, cache, generation_settings(generation, "--judge_gen_kwargs"))
    if through is not None:
        judging.through = through
    return judging


def as_judged(tasks: Mapping[str, Task], judge: Model | None) -> dict[str, Task]:
    """Name judged metrics after the judge; without one, remove them. Raises MarathonError if a task needs one."""
    if all(task.config.judge is None for task in tasks.values()):
        return dict(tasks)
    from marathon_eval.evaluator.judge import judge_name
    from marathon_eval.evaluator.judged_task import with_judge_named

    names = [] if judge is None else [judge_name(member) for member in judge.members]
    if len(set(names)) < len(names):
        raise MarathonError(f"--judge_args: judges: two have the same name: {', '.join(names)}")
    return {key: with_judge_named(task, names) for key, task in tasks.items()}
