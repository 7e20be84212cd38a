"""Sends a run's requests, a sweep's cells and a judge's calls to other processes: Ray's workers or those of one launch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from marathon_eval.api.model import CachedResponse, Model, Request, Response, Through
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.workers.worker import Given, Job

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.evaluator.sweep import AskCells
    from marathon_eval.evaluator.sweep_cells import Grid, SweepCell

#: Sends a job's requests, each with the numbers of the cells (0 for a run) that lack its response, and yields the responses
#: with their cells' numbers: `pool.in_pool` and `shares.Launch.send`.
Send = Callable[[Job, Sequence[Model], Mapping[Request, Sequence[int]]], Iterator[Given]]


def through(config: RunConfig, send: Send, judge: int | None = None) -> Through:
    """Return the function that sends the requests of the run's model, or of the judge of that number."""

    def ask(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        job = Job.of(config, [model], judge=judge)
        for given in send(job, [model], dict.fromkeys(requests, (0,))):
            yield given.request, given.response

    return ask


def judge_through(config: RunConfig, send: Send) -> Callable[[Judge, Model], Through]:
    """Return the function that sends the calls of one of the run's judges."""
    return lambda judge, member: through(config, send, list(judge.members.values()).index(member))


def cells_through(config: RunConfig, grid: Grid, send: Send) -> AskCells:
    """Return the function that sends a sweep's clips, each with all the cells that lack it."""

    def ask(
        cells: Sequence[SweepCell],
        requests: Sequence[Request],
        missing: Sequence[set[Request]],
        cache: ResponseCache,
    ) -> Iterator[tuple[SweepCell, CachedResponse]]:
        models = [cell.model for cell in cells]
        lacking = {
            request: numbers
            for request in requests
            if (numbers := [number for number, waiting in enumerate(missing) if request in waiting])
        }
        for number, request, response, seconds in send(Job.of(config, models, grid), models, lacking):
            # what the cell would take alone, as in one process: workers answer several at a time
            cells[number].seconds += seconds
            # stored as if it had been given here
            stored = cache.answer(models[number], [request], through=_given(request, response))
            yield from ((cells[number], item) for item in stored)

    return ask


def _given(request: Request, response: Response) -> Through:
    return lambda model, requests: iter([(request, response)])
