"""Sends a run's requests, a sweep's cells and a judge's calls to a pool of workers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from marathon_eval.api.model import Model, Request, Response, Through
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import Progress, seconds_of
from marathon_eval.evaluator.workers.cluster import WorkerPlan
from marathon_eval.evaluator.workers.pool import Pool
from marathon_eval.evaluator.workers.worker import Job, Unit, memo_of, units_of, weights_memo
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.evaluator.sweep import AskCells
    from marathon_eval.evaluator.sweep_cells import Grid, SweepCell


def through_workers(config: RunConfig, plan: WorkerPlan) -> Through:
    """Return the function that sends the requests of the run's model to workers."""
    return _through(Job.of_run(config), plan)


def judge_through_workers(config: RunConfig, plan: WorkerPlan) -> Callable[[Judge, Model], Through]:
    """Return the function that sends the calls of one of the run's judges to workers of its own."""
    return lambda judge, member: _through(Job.of_judge(config, judge, member), plan)


def _through(job: Job, plan: WorkerPlan) -> Through:
    def ask(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        cache = model.cache if isinstance(model.cache, ResponseCache) else ResponseCache(None)
        groups = list(units_of([model], requests))

        def unit_of(number: int) -> Unit:
            group = groups[number]
            return Unit(group, [[0]] * len(group), {**memo_of(cache, group), **model.memo(group)})

        with Pool(plan, job, [sha256_of(model.fingerprint)], weights_memo(cache)) as pool:
            for number, result in pool.answered(len(groups), unit_of):
                if isinstance(result, str):
                    yield from ((request, Response.failed(result)) for request in groups[number])
                    continue
                for key, value in result.entries.items():
                    cache.put(key, value)
                for answer in result.answers:
                    yield groups[number][answer.place], answer.response

    return ask


def cells_through_workers(config: RunConfig, grid: Grid, plan: WorkerPlan) -> AskCells:
    """Return the function that sends a sweep's clips to workers, each with all the cells that lack it."""

    def fill(
        cells: Sequence[SweepCell],
        requests: Sequence[Request],
        missing: Sequence[set[Request]],
        facts: Mapping[Audio, AudioFacts],
        cache: ResponseCache,
        progress: Progress,
    ) -> Iterator[None]:
        models = [cell.model for cell in cells]
        lacking = lacking_cells(requests, missing)
        groups = list(units_of(models, lacking))

        def unit_of(number: int) -> Unit:
            group = groups[number]
            return Unit(group, [lacking[request] for request in group], memo_of(cache, group))

        identities = [cell.fingerprint_sha256 for cell in cells]
        with Pool(plan, Job.of_run(config, grid), identities, weights_memo(cache)) as pool:
            for number, result in pool.answered(len(groups), unit_of):
                group = groups[number]
                if isinstance(result, str):
                    failed = Response.failed(result)
                    answers = [(cells[cell], one, failed) for one in group for cell in lacking[one]]
                else:
                    answers = [(cells[a.cell], group[a.place], a.response) for a in result.answers]
                take_over(answers, cache, facts, progress)
                yield

    return fill


def lacking_cells(requests: Sequence[Request], missing: Sequence[set[Request]]) -> dict[Request, list[int]]:
    """Return the numbers of the cells that lack a response, by request; requests that no cell lacks are left out."""
    lacking = {
        request: [number for number, waiting in enumerate(missing) if request in waiting]
        for request in requests
    }
    return {request: numbers for request, numbers in lacking.items() if numbers}


def take_over(
    answers: Iterable[tuple[SweepCell, Request, Response]],
    cache: ResponseCache,
    facts: Mapping[Audio, AudioFacts],
    progress: Progress,
) -> None:
    """Store another process's answers as if they had been given here."""
    for cell, request, response in answers:

        def given(
            _: Model, requests: Sequence[Request], response: Response = response
        ) -> Iterator[tuple[Request, Response]]:
            yield requests[0], response

        for item in cache.answer(cell.model, [request], through=given):
            cell.record(item)
            progress.advance(item, seconds_of(request, facts))
