"""One run by several processes: rank 0 loads the tasks, shares out what the cache lacks, collects, scores and writes.

The others are asked by rank 0 and know nothing of tasks: each answers its share with the same model, keeps the answers
in its own cache file, and sends them over. So nothing can be scored twice or told differently, a failure is one line, and
a process that dies takes only the answers in flight with it. Imported only where a launcher started several processes.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from marathon_eval.asking import cache_folder, seconds_of
from marathon_eval.audio import Audio
from marathon_eval.cache import FILE_NAME, ResponseCache
from marathon_eval.cache_row import response_from
from marathon_eval.config import RunConfig
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator import build_model
from marathon_eval.model import Generation, Model, Request, Response, Through, complete
from marathon_eval.rank_caches import memo, rank_file, take_in
from marathon_eval.rank_messages import LEADER, Link, Pulse, Unreachable
from marathon_eval.ranks import Ranks, shared_out
from marathon_eval.registry import Registry

#: How often finished answers are sent, and how often one looks for them.
SEND_SECONDS = 1.0
LOOK_SECONDS = 0.05
#: At the end: how long the leader stays for the others, who read the exit code from it.
LEAVE_SECONDS = 10.0


class Leader:
    """Rank 0's side."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._others = [rank for rank in range(link.ranks.world) if rank != LEADER]
        self._caches: set[Path] = set()
        self._looked = 0.0

    def asker(self, config: RunConfig) -> Through:
        """What asks the model in this run's place: shares of the requests, by every process. Raises MarathonError."""
        refuse(config.model_args, self._link.ranks)
        folder = cache_folder(config)
        orders = {
            "model": config.model,
            "model_args": config.model_args,
            "include_path": config.include_path,
            "cache": None if folder is None else str(folder.absolute()),
        }
        if folder is not None:
            self._caches.add(folder / FILE_NAME)

        def ask(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
            yield from self._ask(model, requests, orders)

        return ask

    def _ask(
        self, model: Model, requests: Sequence[Request], orders: dict[str, Any]
    ) -> Iterator[tuple[Request, Response]]:
        cache = model.cache or ResponseCache(None)
        facts, _ = cache.facts(audio for request in requests for audio in request.audios)
        shares = shared_out(requests, lambda request: seconds_of(request, facts), [LEADER, *self._others])
        waiting = {}
        for rank in list(self._others):
            if not shares[rank]:
                continue
            waiting[rank] = dict(enumerate(shares[rank]))
            told = [asdict(request) for request in shares[rank]]
            # one that can't be told counts as lost when it is next looked for
            with suppress(Unreachable):
                self._link.send(rank, "ask", **orders, requests=told, memo=memo(cache, shares[rank]))
        if shares[LEADER]:
            take_device(model.settings.model_dump().get("device"), self._link.ranks)
        for answer in complete(model, shares[LEADER]):
            yield answer
            yield from self._arrived(waiting)
        while waiting:
            yield from self._arrived(waiting)
            time.sleep(LOOK_SECONDS)

    def _arrived(self, waiting: dict[int, dict[int, Request]]) -> Iterator[tuple[Request, Response]]:
        """What the others sent since; failures for the share of one that is lost. Raises MarathonError and
        KeyboardInterrupt as they did."""
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

    def _lost(self, rank: int, left: dict[int, Request]) -> Iterator[tuple[Request, Response]]:
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
            if path.exists():
                take_in(path)


class Follower:
    """Every other rank's side."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._model: Model | None = None
        self._cache: ResponseCache | None = None

    def serve(self, pulse: Pulse) -> int | None:
        """Answer what the leader asks until it ends the run with an exit code; None where it is lost."""
        while not pulse.lost:
            code = self._link.ended()
            if code is not None:
                return code
            message = self._link.received(LEADER)
            if message is None:
                time.sleep(LOOK_SECONDS)
                continue
            with pulse.breakable():
                self._told_or_answered(message)
        return None

    def _told_or_answered(self, message: dict[str, Any]) -> None:
        try:
            self._answer(message)
        except MarathonError as error:
            self._link.send(LEADER, "failed", reason=str(error))
        except Exception as error:
            self._link.send(LEADER, "failed", reason=f"{type(error).__name__}: {error}")
            raise

    def _answer(self, message: dict[str, Any]) -> None:
        requests = [request_from(told) for told in message["requests"]]
        places = {request: place for place, request in enumerate(requests)}
        model, cache = self._begun(message)
        rows, sent = [], time.monotonic()
        for item in cache.answer(model, requests):
            rows.append([places[item.request], asdict(item.response)])
            if time.monotonic() - sent > SEND_SECONDS:
                self._link.send(LEADER, "answers", rows=rows)
                rows, sent = [], time.monotonic()
        cache.commit()
        self._link.send(LEADER, "done", rows=rows)

    def _begun(self, message: dict[str, Any]) -> tuple[Model, ResponseCache]:
        """The model and the cache file, made when the first question comes."""
        if self._model is None or self._cache is None:
            folder = None if message["cache"] is None else Path(message["cache"])
            self._cache = ResponseCache(folder, rank_file(FILE_NAME, self._link.ranks.rank))
            take_device(message["model_args"].get("device"), self._link.ranks)
            registry = Registry(tuple(message["include_path"]))
            self._model = build_model(registry, message["model"], message["model_args"])
            self._model.cache = self._cache
        self._cache.prime(message["memo"])
        return self._model, self._cache

    def close(self) -> None:
        """Write what is pending, free the model."""
        if self._cache is not None:
            self._cache.close()
        if self._model is not None:
            self._model.close()


def follow(ranks: Ranks, incomplete: int) -> int:
    """Serve rank 0; its exit code, or `incomplete` where it is lost. Raises MarathonError and KeyboardInterrupt."""
    link = Link.connect(ranks)
    follower = Follower(link)
    code: int | None = None
    with Pulse(link) as pulse:
        try:
            code = follower.serve(pulse)
        except KeyboardInterrupt:
            code = _broken_off(link, pulse)
        except Unreachable:
            pulse.lost = True
        finally:
            follower.close()
            with suppress(Unreachable):  # then nobody waits for it
                link.leave()
    if code is not None:
        return code
    print(
        f"marathon-eval: rank {ranks.rank}: rank {LEADER} is lost; finished answers are kept: "
        "the same command goes on from here",
        file=sys.stderr,
        flush=True,
    )
    return incomplete


def _broken_off(link: Link, pulse: Pulse) -> int | None:
    """The exit code where the leader has ended the run; raises KeyboardInterrupt where it was the user."""
    if pulse.lost:
        return None
    try:
        code = link.ended()
        if code is None:
            link.send(LEADER, "stopped")
    except Unreachable:
        return None
    if code is None:
        raise KeyboardInterrupt
    return code


def request_from(told: dict[str, Any]) -> Request:
    """A request as it was sent: JSON of its dataclass."""
    generation = {**told["generation"], "stop": tuple(told["generation"]["stop"])}
    return Request(
        prompt=told["prompt"],
        audios=tuple(Audio(**audio) for audio in told["audios"]),
        generation=Generation(**generation),
        system=told["system"],
    )


def refuse(model_args: dict[str, Any], ranks: Ranks) -> None:
    """Raise MarathonError for arguments that give every process the same device."""
    name, device = model_args.get("device_map"), str(model_args.get("device", ""))
    if name is not None:
        raise MarathonError(
            f"--model_args: device_map={name} lays one model over all GPUs, and {ranks.world} processes were launched: "
            "start one process for it, or leave device_map out, and each process takes a GPU of its own"
        )
    if ":" in device:
        raise MarathonError(
            f"--device: {device}: is one device, and {ranks.world} processes were launched: "
            "leave it out, and each process takes a GPU of its own"
        )


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


def _failed(left: dict[int, Request], reason: str) -> Iterator[tuple[Request, Response]]:
    for request in left.values():
        yield request, Response.failed(reason)
