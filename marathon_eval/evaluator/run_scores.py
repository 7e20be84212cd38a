"""Scores a run's responses task by task, all at once or portion by portion, and builds its result."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.model import Model
from marathon_eval.api.results import RunResult, Sample
from marathon_eval.api.same_failures import never_sent
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.provenance import recorded_versions
from marathon_eval.evaluator.requests import RequestPool, RunResponses, undecodable
from marathon_eval.evaluator.score_run import TaskScores
from marathon_eval.evaluator.windows import changed_by_windows
from marathon_eval.files import sha256_of
from marathon_eval.results.label import condition_of, selection_of

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.task import DocSet, Group, Task


class ScoringPlan(NamedTuple):
    """Holds what scoring needs: the tasks and groups, the documents, and the judge.

    `once`: what is asked is scored once only, so its requests may be freed while documents are scored.
    """

    tasks: dict[str, Task]
    groups: dict[str, Group]
    docs: dict[str, DocSet]
    judge: Judge | None
    once: bool = False


class RunScores:
    """Collects the scores of one run."""

    def __init__(self, plan: ScoringPlan, config: RunConfig) -> None:
        self._plan = plan
        self._config = config
        self._by_task = {name: TaskScores(task, config, plan.judge) for name, task in plan.tasks.items()}
        self._n_responses = self._n_cached = self._n_unsent = 0
        self._windows: set[str] = set()
        self._interrupted = False

    def add(self, pool: RequestPool, responses: RunResponses) -> None:
        """Score the documents of a pool. Clears `responses.by_request`: afterwards only the samples hold the texts."""
        by_request = responses.by_request
        self._windows.update(split.windows.label for split in pool.splits.values())
        self._interrupted |= responses.interrupted
        self._n_responses += len(by_request)
        self._n_cached += len(responses.cached)
        self._n_unsent += sum(
            never_sent(response) or undecodable(request, responses.facts)
            for request, response in by_request.items()
        )
        # equal counts mean every document has its own response, so responses can be freed one by one
        emptied = self._plan.once and len(by_request) == pool.size()
        for name, scores in self._by_task.items():
            scores.add(pool.doc_requests[name], responses, emptied)
        by_request.clear()

    def result(self, model: Model, started: str, clock: float) -> RunResult:
        """Aggregate the scores and build the run's result.

        `started` is the UTC start time as results.json shows it. `clock` is a value of time.monotonic(), from which
        `wall_s` is counted: the run's start; or, for a sweep's cell, now minus the seconds that its requests took.
        """
        tasks, docs = self._plan.tasks, self._plan.docs
        task_results = {name: scores.aggregation.result(docs[name]) for name, scores in self._by_task.items()}
        samples = {name: scores.samples for name, scores in self._by_task.items()}
        facts_by_task = {name: scores.facts() for name, scores in self._by_task.items()}
        fingerprint = model.fingerprint
        recorded, facts = self._config.recorded(), manifests(tasks, docs, samples, facts_by_task)
        cut = changed_by_windows(tasks, self._config, self._windows)
        misses = self._n_responses - self._n_cached - self._n_unsent
        return RunResult(
            model=model.name(),
            fingerprint=fingerprint,
            fingerprint_sha256=sha256_of(fingerprint),
            tasks=task_results,
            groups={name: group.aggregate(task_results) for name, group in self._plan.groups.items()},
            samples=samples,
            config=recorded,
            versions=recorded_versions(),
            manifests=facts,
            cache={"hits": self._n_cached, "misses": max(0, misses)},
            wall_s=round(time.monotonic() - clock, 3),
            started=started,
            interrupted=self._interrupted,
            condition=condition_of(recorded, cut),
            selection=selection_of(recorded, facts, default_subsets(tasks)),
        )


def default_subsets(tasks: Mapping[str, Task]) -> dict[str, str | None]:
    """Return the subset that each task takes without --subset."""
    return {name: task.config.default_subset for name, task in tasks.items()}


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
