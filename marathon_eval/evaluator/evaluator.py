"""The loop: tasks x one model -> RunResult."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.model import JUDGE_FLAGS, MODEL_FLAGS, Model, ModelFlags, Through, complete
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import RunResult, Sample
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args
from marathon_eval.evaluator.gc_pause import seldom_collected
from marathon_eval.evaluator.provenance import recorded_versions
from marathon_eval.evaluator.requests import (
    Progress,
    RequestPool,
    RunResponses,
    ask,
    cache_folder,
    requests_of_tasks,
)
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.task import DocSet, Group, Task


def simple_evaluate(
    model: str | Model,
    tasks: Sequence[str],
    model_args: Mapping[str, Any] | str = "",
    **settings: Any,
) -> RunResult:
    """Evaluate from Python as the command line does; `settings` are RunConfig's other fields.

    Writes no files (see `results.write_run`). Raises MarathonError for what the command line would refuse.
    """
    arguments = parse_args(model_args, "model_args") if isinstance(model_args, str) else dict(model_args)
    name = model if isinstance(model, str) else model.name()
    config = RunConfig(model=name, tasks=tuple(tasks), model_args=arguments, **settings)
    return evaluate(config, None if isinstance(model, str) else model)


def evaluate(
    config: RunConfig,
    model: Model | None = None,
    progress: Progress | None = None,
    through: Through = complete,
) -> RunResult:
    """Load tasks, ask what the cache lacks, score. Writes no results. Raises MarathonError."""
    started, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    tasks, groups, model, judge = run_parts(config, model)
    with ResponseCache(cache_folder(config)) as cache:
        model.cache = cache
        _, pool = documents_and_requests(model, tasks, config, cache)

        def before(misses: int) -> None:
            from marathon_eval.evaluator.preflight import RunBeforeStart, refuse_missing

            refuse_missing(RunBeforeStart(tasks, pool, (model,), judge, config, cache), misses)

        answers = ask(pool, model, cache, progress or Progress(), config.retry_errors, through, before)
        model.close()
        plan = ScoringPlan(tasks, groups, pool, judge_with(judge, cache, config.judge_gen_kwargs), once=True)
        with seldom_collected():
            return concluded(plan, config, model, answers, started, clock)


class RunParts(NamedTuple):
    """What a run is made of, before any data is read."""

    tasks: dict[str, Task]
    groups: dict[str, Group]
    model: Model
    judge: Model | None


def run_parts(config: RunConfig, model: Model | None = None) -> RunParts:
    """Tasks, model and judge by their names. Raises MarathonError."""
    registry = Registry(config.include_path)
    tasks, groups = load_tasks(registry, config.tasks)
    model = model or build_model(registry, config.model, config.model_args)
    judge = build_judge(registry, config)
    if not config.predict_only:
        tasks = as_judged(tasks, judge)
    return RunParts(in_orders(tasks, config), groups, model, judge)


def documents_and_requests(
    model: Model, tasks: Mapping[str, Task], config: RunConfig, cache: ResponseCache
) -> tuple[dict[str, Any], RequestPool]:
    """The model's fingerprint and all documents; raises one MarathonError for weights and data alike.

    A model whose answers the cache knows is not looked for: a rerun that only rescores needs no weights.
    """
    missing: list[str] = []
    fingerprint: dict[str, Any] = {}
    pool: RequestPool | None = None
    try:
        fingerprint = model.fingerprint
        if not cache.knows(fingerprint):
            model.check()
    except MarathonError as error:
        missing.append(str(error))
    try:
        pool = pinned_pool(tasks, config, model.name(), cache)
    except MarathonError as error:
        missing.append(str(error))
    if missing or pool is None:
        raise MarathonError("; and ".join(missing))
    return fingerprint, pool


def pinned_pool(
    tasks: Mapping[str, Task], config: RunConfig, model_name: str, cache: ResponseCache
) -> RequestPool:
    """All documents and their requests; with --manifest, none on a sound that it lacks. Raises MarathonError."""
    pool = requests_of_tasks(tasks, config, model_name)
    if config.manifest is None:
        return pool
    from marathon_eval.evaluator.pinned_data import held_against

    return held_against(pool, cache, Path(config.manifest))


class ScoringPlan(NamedTuple):
    """What is scored: the tasks with their documents and requests, and who judges.

    `once`: nothing is scored after this, so that requests need not be held until the end.
    """

    tasks: dict[str, Task]
    groups: dict[str, Group]
    pool: RequestPool
    judge: Judge | None
    once: bool = False


def concluded(
    plan: ScoringPlan, config: RunConfig, model: Model, answers: RunResponses, started: str, clock: float
) -> RunResult:
    """The result of a run whose questions were answered; `clock` is when it began, by time.monotonic.

    The answers are given up: what is kept of them is in the samples.
    """
    from marathon_eval.evaluator.score_run import scored_task

    tasks, pool = plan.tasks, plan.pool
    count, hits = len(answers.by_request), len(answers.cached)
    # answered as often as asked: no two documents share an answer
    emptied = plan.once and count == pool.size()
    scored = {
        name: scored_task(task, pool.asked[name], answers, config, plan.judge, emptied)
        for name, task in tasks.items()
    }
    answers.by_request.clear()
    results = {name: scores.aggregation.result(pool.docs[name]) for name, scores in scored.items()}
    samples = {name: scores.samples for name, scores in scored.items()}
    fingerprint = model.fingerprint
    return RunResult(
        model=model.name(),
        fingerprint=fingerprint,
        fingerprint_sha256=sha256_of(fingerprint),
        tasks=results,
        groups={name: group.aggregate(results) for name, group in plan.groups.items()},
        samples=samples,
        config=config.recorded(),
        versions=recorded_versions(),
        manifests=manifests(
            tasks, pool.docs, samples, {name: scores.facts for name, scores in scored.items()}
        ),
        cache={"hits": hits, "misses": count - hits},
        wall_s=round(time.monotonic() - clock, 3),
        started=started,
        interrupted=answers.interrupted,
    )


def load_tasks(registry: Registry, names: Sequence[str]) -> tuple[dict[str, Task], dict[str, Group]]:
    """The tasks behind names and groups, each once, in order. Raises MarathonError."""
    from marathon_eval.task.task import Group, load_task

    tasks: dict[str, Task] = {}
    groups: dict[str, Group] = {}
    waiting, seen = list(names), set[str]()
    while waiting:
        name = waiting.pop(0)
        if name in seen:  # groups may share members, and one may name itself
            continue
        seen.add(name)
        loaded = load_task(registry.task_path(name), registry.task_path)
        if isinstance(loaded, Group):
            groups[loaded.name] = loaded
            waiting = [*loaded.members, *waiting]
        else:
            tasks.setdefault(loaded.name, loaded)
    if not tasks:
        raise MarathonError("--tasks: names no task")
    return tasks, groups


def build_model(
    registry: Registry, name: str, model_args: Mapping[str, Any], flags: ModelFlags = MODEL_FLAGS
) -> Model:
    """The adapter with its press: model_args are split by whose setting a name is. Raises MarathonError."""
    from marathon_eval.backends.press_args import split_press_args

    model_class = registry.model_class(name, flags.model)
    arguments, press = split_press_args(
        model_args, set(model_class.Settings.model_fields), registry.press_class, flags.args
    )
    return model_class.from_args(arguments, press, flags)


def in_orders(tasks: Mapping[str, Task], config: RunConfig) -> dict[str, Task]:
    """With --permute_choices every task in several orders of its options. Raises MarathonError."""
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
    """What results.json keeps of each task's rows, its judge, and its options' orders."""
    found = {name: {**docset.manifest(), **facts[name]} for name, docset in docs.items()}
    if len(found) > len({name.partition("~")[0] for name in found}):
        from marathon_eval.evaluator.controls import by_place

        for name, orders in by_place(tasks, docs, samples).items():
            found[name]["permute_choices"] = orders
    return found


def build_judge(registry: Registry, config: RunConfig) -> Model | None:
    """The model behind --judge_model. Raises MarathonError."""
    if config.judge_model is None:
        if config.judge_args or config.judge_gen_kwargs:
            raise MarathonError("--judge_args and --judge_gen_kwargs need --judge_model")
        return None
    return build_model(registry, config.judge_model, config.judge_args, JUDGE_FLAGS)


def judge_with(judge: Model | None, cache: ResponseCache, generation: Mapping[str, Any]) -> Judge | None:
    """The judge with the cache that keeps its replies."""
    if judge is None:
        return None
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.yaml.config import generation_settings

    return Judge(judge, cache, generation_settings(generation, "--judge_gen_kwargs"))


def as_judged(tasks: Mapping[str, Task], judge: Model | None) -> dict[str, Task]:
    """The tasks with judged metrics under the judge's name, or without those that need one. Raises MarathonError."""
    if all(task.config.judge is None for task in tasks.values()):
        return dict(tasks)
    from marathon_eval.evaluator.judge import judge_name, with_judge_named

    name = None if judge is None else judge_name(judge)
    return {key: with_judge_named(task, name) for key, task in tasks.items()}
