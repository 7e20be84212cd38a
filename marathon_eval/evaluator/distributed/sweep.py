"""Splits a sweep over several processes: each process takes clips and asks all cells about them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.distributed.leader import memo
from marathon_eval.evaluator.distributed.messages import LEADER
from marathon_eval.evaluator.requests import Progress, seconds_of
from marathon_eval.evaluator.sweep import FillCells, ask_here, cell_responses
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell, cells_of
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.api.model import Model, Request, Response
    from marathon_eval.evaluator.distributed.leader import Leader
    from marathon_eval.evaluator.distributed.messages import Outbox


def filling(leader: Leader, config: RunConfig, grid: Grid) -> FillCells:
    """What fills the cells in this sweep's place: clips by every process. Raises MarathonError."""
    orders = leader.orders(config)

    def fill(
        cells: Sequence[SweepCell],
        requests: Sequence[Request],
        missing: Sequence[set[Request]],
        facts: Mapping[Audio, AudioFacts],
        cache: ResponseCache,
        progress: Progress,
    ) -> Iterator[None]:
        wanted = [request for request in requests if any(request in waiting for waiting in missing)]

        def cost(request: Request) -> float:
            return seconds_of(request, facts) * sum(request in waiting for waiting in missing)

        shares = leader.shares(wanted, cost)
        waiting = {}
        for rank, share in shares.items():
            if rank != LEADER and share:
                waiting[rank] = numbered(cells, share, missing)
                told = {"grid": asdict(grid), "numbers": list(waiting[rank]), "memo": memo(cache, share)}
                leader.tell(rank, "sweep", orders, share, **told)
        if shares[LEADER]:
            leader.take_device(orders)
        for _ in ask_here(cells, shares[LEADER], missing, facts, cache, progress):
            _take_over(leader.arrived(waiting), cache, facts, progress)
            yield
        _take_over(leader.awaited(waiting), cache, facts, progress)

    return fill


def numbered(
    cells: Sequence[SweepCell], share: Sequence[Request], missing: Sequence[set[Request]]
) -> dict[int, tuple[SweepCell, Request]]:
    """What each cell lacks of a share, under one number: the cell's place times the share's length, plus the request's."""
    return {
        number * len(share) + place: (cell, request)
        for number, cell in enumerate(cells)
        for place, request in enumerate(share)
        if request in missing[number]
    }


def _take_over(
    arrived: Iterable[tuple[tuple[SweepCell, Request], Response]],
    cache: ResponseCache,
    facts: Mapping[Audio, AudioFacts],
    progress: Progress,
) -> None:
    """Keep another process's answers as if they had been given here."""
    for (cell, request), response in arrived:

        def told(
            _: Model, requests: Sequence[Request], response: Response = response
        ) -> Iterator[tuple[Request, Response]]:
            yield requests[0], response

        for item in cache.answer(cell.model, [request], through=told):
            cell.record(item)
            progress.advance(item, seconds_of(request, facts))


def answer_cells(
    message: Mapping[str, Any], requests: Sequence[Request], cache: ResponseCache, outbox: Outbox
) -> None:
    """A follower's share: every cell's answers to what it lacks. Raises MarathonError."""
    config = RunConfig(
        message["model"], (), dict(message["model_args"]), include_path=tuple(message["include_path"])
    )
    grid = Grid(**{name: tuple(values) for name, values in message["grid"].items()})
    cells = cells_of(config, grid)
    for cell in cells:
        cell.model.cache = cache
        cell.fingerprint_sha256 = sha256_of(cell.model.fingerprint)
    missing: list[set[Request]] = [set() for _ in cells]
    for number in message["numbers"]:
        cell_at, place = divmod(number, len(requests))
        missing[cell_at].add(requests[place])
    facts, _ = cache.facts(audio for request in requests for audio in request.audios)
    places = {request: place for place, request in enumerate(requests)}
    told = [0] * len(cells)
    try:
        for _ in ask_here(cells, requests, missing, facts, cache, Progress()):
            for at, cell in enumerate(cells):
                fresh = list(cell.new_responses)[told[at] :]
                told[at] += len(fresh)
                found = dict(cell_responses(cell, fresh, cache, facts))
                for request in fresh:
                    outbox.add(at * len(requests) + places[request], found[request])
    finally:
        for cell in cells:
            cell.model.close()
