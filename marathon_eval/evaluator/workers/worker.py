"""Answers units of requests with one loaded model, or with all cells of a sweep, in a process that knows no tasks."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.audio import memo_keys
from marathon_eval.api.model import JUDGE_FLAGS, Model, Request, Response
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.database import read_only
from marathon_eval.cache.entries import stored
from marathon_eval.cache.entry import FINGERPRINT, WEIGHTS
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.evaluator.sweep import ask_here
from marathon_eval.evaluator.sweep_cells import Grid, SweepCell, cells_of
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.model import CachedResponse


@dataclass(frozen=True)
class Job:
    """Holds what a worker builds its models from: a run's model, with `grid` a sweep's cells, with `judge` one of its judges.

    `fingerprints` are the hashes that the models must have, and `weights` cached hashes of weight files.
    """

    config: RunConfig
    fingerprints: Sequence[str]
    weights: Mapping[str, Any] = field(default_factory=dict)
    grid: Grid | None = None
    judge: int | None = None
    #: The folder in which the command was started: arguments may hold relative paths.
    folder: str = field(default_factory=os.getcwd)

    @classmethod
    def of(
        cls, config: RunConfig, models: Sequence[Model], grid: Grid | None = None, judge: int | None = None
    ) -> Job:
        """Return the job that answers as these models, which the config names."""
        # a worker is sent the arguments of its own model alone: those of the other may hold an API key
        config = (
            replace(config, judge_model=None, judge_args={})
            if judge is None
            else replace(config, model="", model_args={})
        )
        return cls(config, [sha256_of(one.fingerprint) for one in models], _weights(models[0]), grid, judge)

    @property
    def model_args(self) -> Mapping[str, Any]:
        """The arguments of the model, or of the judge."""
        return self.config.model_args if self.judge is None else self.config.judge_args


class Unit(NamedTuple):
    """Holds requests that one worker answers together, and for each the numbers of the cells that lack a response.

    `memo` are cache entries that the model will look up: hashes of audio and weights, responses of its stages.
    """

    requests: Sequence[Request]
    cells: Sequence[Sequence[int]]
    memo: Mapping[str, Any]

    @classmethod
    def of(
        cls, models: Sequence[Model], lacking: Mapping[Request, Sequence[int]], part: list[Request]
    ) -> Unit:
        """Return the unit of a part of the requests; `lacking` are the cells' numbers by request."""
        keys, _ = memo_keys(audio for request in part for audio in request.audios)
        memo = cache_of(models[0]).get_many(one.key for one in keys.values())
        return cls(part, [lacking[request] for request in part], {**memo, **models[0].memo(part)})


class CellAnswer(NamedTuple):
    """Holds one response; `cell` and `place` number the cell (0 for a run) and the unit's request.

    `seconds` are those that the worker took for it.
    """

    cell: int
    place: int
    response: Response
    seconds: float

    def of(self, requests: Sequence[Request]) -> Given:
        """Return the answer with its request, which is among these requests of the unit."""
        return Given(self.cell, requests[self.place], self.response, self.seconds)


class Given(NamedTuple):
    """Holds the response to a request, the number of the cell (0 for a run), and the seconds that the worker took for it."""

    cell: int
    request: Request
    response: Response
    seconds: float = 0.0


class Worker:
    """Holds the models of a job. Raises MarathonError where they cannot be built, or are others than the job's."""

    def __init__(self, job: Job) -> None:
        if os.path.isdir(job.folder):
            os.chdir(job.folder)
        config, self._cells = job.config, list[SweepCell]()
        registry = Registry(config.include_path, config.trust_task_code)
        if job.grid is not None:
            self._cells = cells_of(config, job.grid)
            self._models = [cell.model for cell in self._cells]
        elif job.judge is None:
            self._models = [build_model(registry, config.model, config.model_args)]
        else:
            judging = build_model(registry, str(config.judge_model), config.judge_args, JUDGE_FLAGS)
            self._models = [judging.members[job.judge]]
        cache = ResponseCache(None)
        cache.prime(job.weights)
        self._use(cache)
        self._fingerprints = [sha256_of(model.fingerprint) for model in self._models]
        if self._fingerprints != list(job.fingerprints):
            raise MarathonError(
                "a worker has another model than the process that asks: the same packages, weights and settings are "
                "needed on every machine"
            )

    def _use(self, cache: ResponseCache) -> None:
        for model in self._models:
            model.cache = cache

    def answers(self, unit: Unit, cache: ResponseCache) -> Iterator[CellAnswer]:
        """Yield every response that the unit lacks; the cache keeps them. Raises MarathonError as the model does."""
        cache.prime(unit.memo)
        self._use(cache)
        places = {request: place for place, request in enumerate(unit.requests)}
        clock = time.monotonic()
        for number, item in self._items(unit, cache):
            yield CellAnswer(number, places[item.request], item.response, time.monotonic() - clock)
            clock = time.monotonic()

    def _items(self, unit: Unit, cache: ResponseCache) -> Iterator[tuple[int, CachedResponse]]:
        if not self._cells:
            yield from ((0, item) for item in cache.answer(self._models[0], unit.requests))
            return
        numbers = {id(cell): number for number, cell in enumerate(self._cells)}
        lacking = list(zip(unit.requests, unit.cells, strict=True))
        missing = [{one for one, cells in lacking if number in cells} for number in numbers.values()]
        for cell, item in ask_here(self._cells, unit.requests, missing, cache):
            yield numbers[id(cell)], item

    def written_beside(self, cache: ResponseCache, unit: Unit) -> dict[str, Any]:
        """Return the entries that answering added to the cache, such as a stage's responses, without the answers."""
        own = set(self._fingerprints)

        def is_own(key: str, value: Any) -> bool:
            return key.removeprefix(FINGERPRINT) in own or (
                isinstance(value, dict) and value.get("fingerprint") in own
            )

        new = cache.in_memory().items()
        return {key: value for key, value in new if key not in unit.memo and not is_own(key, value)}

    def close(self) -> None:
        """Free the models."""
        for model in self._models:
            model.close()


def cache_of(model: Model) -> ResponseCache:
    """Return the cache that the run gave its model."""
    assert isinstance(model.cache, ResponseCache)
    return model.cache


def _weights(model: Model) -> dict[str, Any]:
    """Return the cached hashes of weight files, by key."""
    cache = cache_of(model)
    cache.commit()
    if cache.path is None:
        return {key: value for key, value in cache.in_memory().items() if key.startswith(WEIGHTS)}
    # not `opened_read_only`, which looks into files that other processes write just now
    with closing(read_only(cache.path)) as connection:
        return {entry.key: entry.value for entry in stored(connection, WEIGHTS)}
