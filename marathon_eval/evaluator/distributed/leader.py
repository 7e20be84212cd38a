"""Runs rank 0: loads the tasks, sends uncached requests to the other ranks, collects responses and scores them.

Rank 0 alone knows of tasks; the others (follower.py) are sent requests and send back answers. So nothing can be
scored twice or told differently, a failure is one line, and a process that dies takes only the answers in flight with
it. Imported only where a launcher started several processes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

import torch

from marathon_eval.api.audio import memo_keys
from marathon_eval.api.model import Model, Request, Response, Through, complete
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.database import read_only
from marathon_eval.cache.entries import stored
from marathon_eval.cache.entry import WEIGHTS, response_from
from marathon_eval.cache.rank_files import take_in
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.distributed.messages import (
    LEADER,
    LOOK_SECONDS,
    SEND_SECONDS,
    Channel,
    Unreachable,
)
from marathon_eval.evaluator.distributed.ranks import Ranks, shared_out
from marathon_eval.evaluator.requests import cache_folder, seconds_of
from marathon_eval.files import sha256_of

#: What is waited for: a request, or a sweep's cell and request.
_T = TypeVar("_T")

#: At the end: how long the leader stays for the others, who read the exit code from it.
LEAVE_SECONDS = 10.0


class Leader:
    """Rank 0's side."""

    def __init__(self, link: Channel) -> None:
        self._link = link
        self._others = [rank for rank in range(link.ranks.world) if rank != LEADER]
        self._caches: set[Path] = set()
        self._looked = 0.0

    def orders(self, config: RunConfig) -> dict[str, Any]:
        """What the others must know of the run. Raises MarathonError for what several processes can't do."""
        refuse_device_arguments(config.model_args, self._link.ranks)
        folder = cache_folder(config)
        if folder is not None:
            self._caches.add(folder / FILE_NAME)
        return {
            "model": config.model,
            "model_args": config.model_args,
            "include_path": config.include_path,
            "cache": None if folder is None else str(folder.absolute()),
        }

    def asker(self, config: RunConfig) -> Through:
        """What asks the model in this run's place: shares of the requests, by every process. Raises MarathonError."""
        orders = self.orders(config)

        def ask(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
            yield from self._ask(model, requests, orders)

        return ask

    def _ask(
        self, model: Model, requests: Sequence[Request], orders: dict[str, Any]
    ) -> Iterator[tuple[Request, Response]]:
        cache = model.cache if isinstance(model.cache, ResponseCache) else ResponseCache(None)
        facts, _ = cache.facts(audio for request in requests for audio in request.audios)
        shares = self.shares(requests, lambda request: seconds_of(request, facts))
        waiting = {rank: dict(enumerate(share)) for rank, share in shares.items() if rank != LEADER and share}
        for rank in waiting:
            known = {**memo(cache, shares[rank]), **model.memo(shares[rank])}
            told = {"memo": known, "fingerprint": sha256_of(model.fingerprint)}
            self.tell(rank, "ask", orders, shares[rank], **told)
        if shares[LEADER]:
            self.take_device(orders)
        for answer in complete(model, shares[LEADER]):
            yield answer
            yield from self.arrived(waiting)
        yield from self.awaited(waiting)

    def shares(
        self, requests: Sequence[Request], cost: Callable[[Request], float]
    ) -> dict[int, list[Request]]:
        """The requests by rank, among those that are there."""
        return shared_out(requests, cost, [LEADER, *self._others])

    def tell(
        self, rank: int, kind: str, orders: dict[str, Any], requests: Sequence[Request], **more: Any
    ) -> None:
        """Give another process its share, with all that it needs to know of it."""
        told = [asdict(request) for request in requests]
        # one that can't be told counts as lost when it is next looked for
        with suppress(Unreachable):
            self._link.send(rank, kind, **orders, requests=told, **more)

    def take_device(self, orders: dict[str, Any]) -> None:
        """This process's own GPU, before anything loads. Raises MarathonError."""
        take_device(orders["model_args"].get("device"), self._link.ranks)

    def awaited(self, waiting: dict[int, dict[int, _T]]) -> Iterator[tuple[_T, Response]]:
        """As `arrived`, until nothing is waited for."""
        while waiting:
            yield from self.arrived(waiting)
            time.sleep(LOOK_SECONDS)

    def arrived(self, waiting: dict[int, dict[int, _T]]) -> Iterator[tuple[_T, Response]]:
        """What the others sent since, by rank and place in its share; failures for the share of one that is lost.

        Raises MarathonError and KeyboardInterrupt as they did.
        """
        for rank in list(waiting):
            while rank in waiting and (message := self._received(rank)) is not None:
                for place, response in message.get("rows", ()):
                    yield waiting[rank].pop(place), response_from(response)
                if message["kind"] == "stopped":
                    raise KeyboardInterrupt
                if message["kind"] == "failed":
                    raise MarathonError(f"{self._link.described(rank)}: {message['reason']}")
                if message["kind"] == "done":
                    left = waiting.pop(rank)
                    yield from _failed(left, f"rank {rank} gave no answer to this request")
        if time.monotonic() - self._looked > SEND_SECONDS:
            self._looked = time.monotonic()
            for rank in [rank for rank in waiting if not self._alive(rank)]:
                yield from self._lost(rank, waiting.pop(rank))

    def _lost(self, rank: int, left: dict[int, _T]) -> Iterator[tuple[_T, Response]]:
        self._others.remove(rank)
        print(
            f"marathon-eval: {self._described(rank)} is lost; {len(left)} requests stay without an answer: "
            "the same command asks them again",
            file=sys.stderr,
            flush=True,
        )
        yield from _failed(left, f"not asked: rank {rank} was lost")

    def _received(self, rank: int) -> dict[str, Any] | None:
        with suppress(Unreachable):
            return self._link.received(rank)
        return None

    def _alive(self, rank: int) -> bool:
        with suppress(Unreachable):
            return self._link.alive(rank)
        return False

    def _described(self, rank: int) -> str:
        with suppress(Unreachable):
            return self._link.described(rank)
        return f"rank {rank}"

    def end(self, code: int) -> None:
        """Say the exit code, wait for the others to leave, and take their last answers into the folder's cache."""
        try:
            self._link.end(code)
            limit = time.monotonic() + LEAVE_SECONDS
            while time.monotonic() < limit and any(map(self._link.staying, self._others)):
                time.sleep(LOOK_SECONDS)
        except Unreachable:
            print("marathon-eval: the other processes can't be told that the run has ended", file=sys.stderr)
        for path in self._caches:
            try:
                if path.exists():
                    take_in(path)
            except MarathonError as error:  # the run is told by now, and the answers stay where they are
                print(f"marathon-eval: warning: {error}", file=sys.stderr)


def refuse_device_arguments(model_args: dict[str, Any], ranks: Ranks) -> None:
    """Raise MarathonError for arguments that give every process the same device; a stage's own count too."""
    for name, value in model_args.items():
        # listener_device_map is the listener's device_map, and so is the one within listener_args
        if name.endswith("device_map") and value is not None:
            raise MarathonError(
                f"--model_args: {name}={value} lays one model over all GPUs, and {ranks.world} processes were launched: "
                f"start one process for it, or leave {name} out, and each process takes a GPU of its own"
            )
        if name.endswith("device") and ":" in str(value):
            flag = "--device: " if name == "device" else f"--model_args: {name}="
            raise MarathonError(
                f"{flag}{value}: is one device, and {ranks.world} processes were launched: "
                "leave it out, and each process takes a GPU of its own"
            )
        if isinstance(value, dict):
            refuse_device_arguments(value, ranks)


def take_device(device: object, ranks: Ranks) -> None:
    """Make `cuda` mean this process's own GPU. Raises MarathonError where there are fewer GPUs than processes."""
    if device == "cpu" or not torch.cuda.is_available():
        return
    count = torch.cuda.device_count()
    if count == 1:
        # all that the launcher lets this process see, or the only one there is
        return
    if ranks.local >= count:
        raise MarathonError(
            f"rank {ranks.rank}: is process {ranks.local + 1} of its node, which has {count} GPUs: launch at most so many"
        )
    torch.cuda.set_device(ranks.local)


def _failed(left: dict[int, _T], reason: str) -> Iterator[tuple[_T, Response]]:
    for waited in left.values():
        yield waited, Response.failed(reason)


def memo(cache: ResponseCache, requests: Iterable[Request]) -> dict[str, Any]:
    """What this cache knows of the requests' audio and of weight files, by key: nobody need hash them again."""
    keys, _ = memo_keys(audio for request in requests for audio in request.audios)
    known = cache.get_many(one.key for one in keys.values())
    if cache.path is None:
        return known
    cache.commit()
    # not `reading`, which would look into files that other ranks are making just now
    with closing(read_only(cache.path)) as connection:
        return {**known, **{entry.key: entry.value for entry in stored(connection, WEIGHTS)}}
