"""Evaluates one model on tasks. `evaluate`, called by `run` and `simple.simple_evaluate`, returns a RunResult.

A run has five steps:

1. `run_parts` loads the tasks, the model and the judge by their names;
2. `documents_and_requests` reads the documents and builds their requests; a run of very many rows does this and the two
   following steps portion by portion: each portion is scored and freed before the next (portions.py);
3. `requests.ask` gets a response for each request, from the cache or from the model: it calls `ResponseCache.answer`, which
   sends what the cache lacks through `api.model.complete` to `Model.generate`;
4. `run_scores.RunScores` scores the responses and aggregates them per task and group;
5. `results.files.write_run` (called by the command line) writes the results to a folder.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.complete import complete
from marathon_eval.api.model import JUDGE_FLAGS, MODEL_FLAGS, Model, ModelFlags, Through
from marathon_eval.api.registry import Registry
from marathon_eval.api.results import RunResult
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget_flags import run_budget
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.gc_pause import seldom_collected
from marathon_eval.evaluator.portions import Asker, Portions
from marathon_eval.evaluator.requests import (
    Progress,
    RequestPool,
    cache_folder,
    docs_of_tasks,
    requests_of_docs,
)
from marathon_eval.evaluator.spending import Spending
from marathon_eval.evaluator.task_names import resolved_names

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.task import DocSet, Group, Task


@seldom_collected()
def evaluate(
    config: RunConfig,
    model: Model | None = None,
    progress: Progress | None = None,
    through: Through = complete,
    judge_through: Callable[[Judge, Model], Through] | None = None,
) -> RunResult:
    """Load the tasks, ask the model for the responses that the cache lacks, and score them. Writes no results.

    A `model` that is passed in replaces `config.model`; `through` sends the requests, and `judge_through` returns the
    function that sends the judge's requests (several processes replace them).
    Raises MarathonError.
    """
    from marathon_eval.evaluator.live_samples import live_samples
    from marathon_eval.evaluator.run_scores import RunScores, ScoringPlan

    started, clock = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), time.monotonic()
    tasks, groups, model, judge = run_parts(config, model)
    spending = Spending(run_budget(config, judge if is_judged(tasks, config) else None))
    with ResponseCache(cache_folder(config)) as cache, ExitStack() as stack:
        model.cache = cache
        cited = cited_by(config, model)
        # not with workers (they would restart for every portion) or a judge (it needs a task's documents together)
        divided = through is complete and judge is None
        portions, pool = documents_and_requests(model, tasks, config, cache, divided)
        shown = stack.enter_context(live_samples(progress or Progress(), config, tasks, portions.docs))
        judging = judge_with(judge, cache, config.judge_gen_kwargs, judge_through, spending)
        scores = RunScores(ScoringPlan(tasks, groups, portions.docs, judging, once=True), config)
        asked_through = spending.through(through) if spending.budget.given else through
        asker = Asker(tasks, model, judge, cache, config, asked_through)
        try:
            responses = asker.responses(pool, portions.portion(0), shown)
            for number in range(1, portions.count):
                scores.add(pool, responses)
                pool = portions.pool(number)
                responses = asker.responses(pool, portions.portion(number), shown)
        finally:
            model.close()
        cache.commit()
        scores.add(pool, responses)
        del pool, responses  # the requests and their clips, which statistics do not need
        result = replace(scores.result(model, started, clock), selftest=cited)
        return (
            replace(result, spent=spending.as_json(judging is not None)) if spending.budget.given else result
        )


def is_judged(tasks: Mapping[str, Task], config: RunConfig) -> bool:
    """Return whether the run asks a judge about its answers."""
    judged = any(task.config.judge is not None for task in tasks.values())
    return config.judge_model is not None and not config.predict_only and judged


def cited_by(config: RunConfig, model: Model) -> dict[str, Any] | None:
    """Return what results.json says of the self-test that the run cites. Raises MarathonError if it is of another model."""
    if config.selftest is None:
        return None
    from marathon_eval.evaluator.selftest.cited import cited_selftest

    return cited_selftest(config.selftest, model)


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
    model: Model, tasks: Mapping[str, Task], config: RunConfig, cache: ResponseCache, divided: bool = False
) -> tuple[Portions, RequestPool]:
    """Return the run's portions, and the pool of the first; unless `divided`, the first portion holds all documents.

    Raises one MarathonError that lists every problem with the weights and with the data. Weights are not looked for
    if this model was sent requests through this cache before: a rerun that only rescores needs none.
    """
    problems: list[str] = []
    found: tuple[Portions, RequestPool] | None = None
    try:
        if not cache.knows(model.fingerprint):
            model.check()
    except MarathonError as error:
        problems.append(str(error))
    try:
        portions = Portions(
            docs_of_tasks(tasks, config),
            lambda docs: _pinned(tasks, docs, config, model.name(), cache),
            divided,
        )
        found = portions, portions.pool(0)
    except MarathonError as error:
        problems.append(str(error))
    if problems or found is None:
        raise MarathonError("; and ".join(problems))
    return found


def pinned_pool(
    tasks: Mapping[str, Task], config: RunConfig, model_name: str, cache: ResponseCache
) -> RequestPool:
    """Build the pool of all documents, with the windows of long clips; audio that is not in the --manifest makes error rows.

    Raises MarathonError.
    """
    return _pinned(tasks, docs_of_tasks(tasks, config), config, model_name, cache)


def _pinned(
    tasks: Mapping[str, Task],
    docs: dict[str, DocSet],
    config: RunConfig,
    model_name: str,
    cache: ResponseCache,
) -> RequestPool:
    from marathon_eval.evaluator.windows import with_windows

    pool = requests_of_docs(tasks, docs, config, model_name)
    if config.manifest is not None:
        from marathon_eval.evaluator.pinned_data import with_unpinned_refused

        pool = with_unpinned_refused(pool, cache, Path(config.manifest))
    return with_windows(pool, tasks, config, cache)


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
    # the command line has resolved its names already; those of Python callers may still be patterns or tags
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

    `flags` are the command-line flags that error messages name. A model that builds others (panel, cascade) looks for
    them in the registry's folders too. Raises MarathonError.
    """
    from marathon_eval.backends.press_args import split_press_args

    flags = flags._replace(include_path=tuple(map(str, registry.include_path)))

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
    spending: Spending | None = None,
) -> Judge | None:
    """Wrap the judge's model with the cache that stores its replies, and the budget that bounds its requests.

    Raises MarathonError for --judge_gen_kwargs.
    """
    if judge is None:
        return None
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.yaml.config import generation_settings

    judging = Judge(judge, cache, generation_settings(generation, "--judge_gen_kwargs"))
    if through is not None:
        judging.through = through
    if spending is not None and spending.budget.given:
        judging.bound(spending)
    return judging


def as_judged(tasks: Mapping[str, Task], judge: Model | None) -> dict[str, Task]:
    """Name judged metrics after the judge; without one, remove them. Raises MarathonError if a task needs one."""
    if all(task.config.judge is None for task in tasks.values()):
        return dict(tasks)
    from marathon_eval.evaluator.judge_names import judge_name
    from marathon_eval.evaluator.judged_task import with_judge_named

    names = [] if judge is None else [judge_name(member) for member in judge.members]
    if len(set(names)) < len(names):
        raise MarathonError(
            f"--judge_args: judges: two have the same name: {', '.join(names)}. Add to each the "
            '"name" that its grades are to carry'
        )
    return {key: with_judge_named(task, names) for key, task in tasks.items()}
