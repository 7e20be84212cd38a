"""Answers units of requests with one loaded model, or with all cells of a sweep, in a process that knows no tasks."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.audio import memo_keys
from marathon_eval.api.model import JUDGE_FLAGS, MODEL_FLAGS, Model, Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.adapter import HFAudio
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.database import read_only
from marathon_eval.cache.entries import stored
from marathon_eval.cache.entry import FINGERPRINT, WEIGHTS
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.evaluator.requests import Progress
from marathon_eval.evaluator.sweep import ask_here, cell_responses
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell, cells_of
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge


@dataclass(frozen=True)
class Job:
    """Holds what a worker builds its model from; `grid` for a sweep, `member` for one of several judges."""

    model: str
    model_args: Mapping[str, Any]
    include_path: tuple[str, ...]
    grid: Grid | None = None
    member: int | None = None
    #: The folder in which the command was started: arguments may hold relative paths.
    folder: str = field(default_factory=os.getcwd)

    @classmethod
    def of_run(cls, config: RunConfig, grid: Grid | None = None) -> Job:
        """Return the job that answers as the run's model, or as all cells of its sweep."""
        return cls(config.model, config.model_args, config.include_path, grid)

    @classmethod
    def of_judge(cls, config: RunConfig, judge: Judge, member: Model) -> Job:
        """Return the job that answers as one of the run's judges."""
        number = list(judge.members.values()).index(member)
        return cls(str(config.judge_model), config.judge_args, config.include_path, member=number)


class Unit(NamedTuple):
    """Holds requests that one worker answers together, and for each the numbers of the cells that lack a response.

    `memo` are cache entries that the model will look up: hashes of audio and weights, responses of its stages.
    """

    requests: Sequence[Request]
    cells: Sequence[Sequence[int]]
    memo: Mapping[str, Any]


class CellAnswer(NamedTuple):
    """Holds one response; `cell` and `place` number the cell (0 for a run) and the unit's request."""

    cell: int
    place: int
    response: Response


class Worker:
    """Holds the model that a job names. Raises MarathonError where it cannot be built."""

    def __init__(self, job: Job) -> None:
        if os.path.isdir(job.folder):
            os.chdir(job.folder)
        self._cells: list[SweepCell] = []
        if job.grid is not None:
            config = RunConfig(job.model, (), dict(job.model_args), include_path=job.include_path)
            self._cells = cells_of(config, job.grid)
            self._models = [cell.model for cell in self._cells]
        else:
            flags = MODEL_FLAGS if job.member is None else JUDGE_FLAGS
            model = build_model(Registry(job.include_path), job.model, job.model_args, flags)
            self._models = [model if job.member is None else model.members[job.member]]

    def fingerprints(self, cache: ResponseCache) -> list[str]:
        """Return the hash of each model's fingerprint, which must be those of the process that asks."""
        for model in self._models:
            model.cache = cache
        return [sha256_of(model.fingerprint) for model in self._models]

    def answers(self, unit: Unit, cache: ResponseCache) -> Iterator[CellAnswer]:
        """Yield every response that the unit lacks; the cache keeps them. Raises MarathonError as the model does."""
        cache.prime(unit.memo)
        identities = self.fingerprints(cache)
        places = {request: place for place, request in enumerate(unit.requests)}
        if self._cells:
            yield from self._cell_answers(unit, cache, identities, places)
            return
        for item in cache.answer(self._models[0], unit.requests):
            yield CellAnswer(0, places[item.request], item.response)

    def _cell_answers(
        self, unit: Unit, cache: ResponseCache, identities: Sequence[str], places: Mapping[Request, int]
    ) -> Iterator[CellAnswer]:
        missing: list[set[Request]] = [set() for _ in self._cells]
        for request, numbers in zip(unit.requests, unit.cells, strict=True):
            for number in numbers:
                missing[number].add(request)
        for cell, identity in zip(self._cells, identities, strict=True):
            cell.fingerprint_sha256 = identity
            cell.uncached.clear()
        facts, _ = cache.facts(audio for request in unit.requests for audio in request.audios)
        for _ in ask_here(self._cells, unit.requests, missing, facts, cache, Progress()):
            for number, cell in enumerate(self._cells):
                new = [request for request in cell.uncached if request in missing[number]]
                missing[number].difference_update(new)
                for request, response in cell_responses(cell, new, cache, facts):
                    yield CellAnswer(number, places[request], response)

    def written_beside(self, cache: ResponseCache, unit: Unit) -> dict[str, Any]:
        """Return the entries that answering added to the cache, such as a stage's responses, without the answers."""
        own = {sha256_of(model.fingerprint) for model in self._models}

        def beside(key: str, value: Any) -> bool:
            if key in unit.memo or key.removeprefix(FINGERPRINT) in own:
                return False
            return not (isinstance(value, dict) and value.get("fingerprint") in own)

        return {key: value for key, value in cache.in_memory().items() if beside(key, value)}

    def close(self) -> None:
        """Free the model."""
        for model in self._models:
            model.close()


def units_of(models: Sequence[Model], requests: Iterable[Request]) -> Iterator[list[Request]]:
    """Yield the requests in order, in units of whole clips; a unit fills a batch of the model with the largest batches."""
    local = [model for model in models if isinstance(model, HFAudio)]
    largest = max(local, key=HFAudio.requests_at_once) if local else None
    at_once = int(getattr(models[0].settings, "concurrency", None) or 1)
    waiting = deque(requests)
    while waiting:
        if largest is not None:
            unit = largest.take(waiting)
        else:
            unit = [waiting.popleft() for _ in range(min(at_once, len(waiting)))]
        while waiting and unit[-1].audios and waiting[0].audios == unit[-1].audios:
            unit.append(waiting.popleft())
        yield unit


def memo_of(cache: ResponseCache, requests: Iterable[Request]) -> dict[str, Any]:
    """Return the cached facts of these requests' audio, by key: no other process decodes it for its hash again."""
    keys, _ = memo_keys(audio for request in requests for audio in request.audios)
    return cache.get_many(one.key for one in keys.values())


def weights_memo(cache: ResponseCache) -> dict[str, Any]:
    """Return the cached hashes of weight files, by key."""
    cache.commit()
    if cache.path is None:
        return {key: value for key, value in cache.in_memory().items() if key.startswith(WEIGHTS)}
    # not `opened_read_only`, which looks into files that other processes write just now
    with closing(read_only(cache.path)) as connection:
        return {entry.key: entry.value for entry in stored(connection, WEIGHTS)}
