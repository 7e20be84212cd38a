"""Runs ranks 1 and above: each rank answers the requests that rank 0 sends it, and knows nothing of tasks.

Answers go into a cache file of its own before they are sent, so that whatever happens to rank 0, they are there.
"""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Model, Request
from marathon_eval.api.registry import Registry
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.rank_files import rank_file
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.distributed.leader import take_device
from marathon_eval.evaluator.distributed.messages import (
    LEADER,
    LOOK_SECONDS,
    Channel,
    Outbox,
    Pulse,
    Unreachable,
)
from marathon_eval.evaluator.distributed.ranks import Ranks
from marathon_eval.evaluator.evaluator import build_model
from marathon_eval.files import sha256_of


class Follower:
    """Every other rank's side."""

    def __init__(self, link: Channel) -> None:
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
        cache = self._cache_for(message)
        outbox = Outbox(self._link)
        if message["kind"] == "sweep":
            from marathon_eval.evaluator.distributed.sweep import answer_cells

            answer_cells(message, requests, cache, outbox)
        else:
            places = {request: place for place, request in enumerate(requests)}
            model = self._model_for(message, cache)
            if sha256_of(model.fingerprint) != message["fingerprint"]:
                raise MarathonError(
                    f"rank {self._link.ranks.rank} has another model than rank {LEADER}: the same packages, weights and "
                    "settings are needed everywhere"
                )
            for item in cache.answer(model, requests):
                outbox.add(places[item.request], item.response)
        cache.commit()
        outbox.done()

    def _cache_for(self, message: dict[str, Any]) -> ResponseCache:
        """The cache file, made when the first question comes."""
        if self._cache is None:
            folder = None if message["cache"] is None else Path(message["cache"])
            self._cache = ResponseCache(folder, rank_file(FILE_NAME, self._link.ranks.rank))
            take_device(message["model_args"].get("device"), self._link.ranks)
        self._cache.prime(message["memo"])
        return self._cache

    def _model_for(self, message: dict[str, Any], cache: ResponseCache) -> Model:
        if self._model is None:
            registry = Registry(tuple(message["include_path"]))
            self._model = build_model(registry, message["model"], message["model_args"])
            self._model.cache = cache
        return self._model

    def close(self) -> None:
        """Write what is pending, free the model."""
        if self._cache is not None:
            self._cache.close()
        if self._model is not None:
            self._model.close()


def follow(ranks: Ranks, incomplete: int) -> int:
    """Serve rank 0; its exit code, or `incomplete` where it is lost. Raises MarathonError and KeyboardInterrupt."""
    link = Channel.connect(ranks)
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


def _broken_off(link: Channel, pulse: Pulse) -> int | None:
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
