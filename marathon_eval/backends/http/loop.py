"""Asynchronous work behind an ordinary iterator: many requests in flight, each answer out as soon as it is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import aclosing, suppress
from itertools import islice
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

_T = TypeVar("_T")
R = TypeVar("R")

#: Closing connections takes milliseconds; one that hangs must not keep the finished answers from being saved.
JOIN_SECONDS = 10.0


def from_async(source: AsyncGenerator[_T, None]) -> Iterator[_T]:
    """Everything that `source` yields, produced in a thread with an event loop of its own.

    A thread, because requests must go on while the caller writes an answer down, and because a notebook has a
    loop running already. Leaving early (Ctrl-C, `close()`) cancels what is in flight. Raises what `source` raises.
    """
    messages: SimpleQueue[tuple[_T] | BaseException | None] = SimpleQueue()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]] = Future()
    thread = Thread(
        target=_drain, args=(source, messages.put, started), daemon=True, name="requests in flight"
    )
    thread.start()
    try:
        while (message := messages.get()) is not None:
            if isinstance(message, BaseException):
                raise message
            yield message[0]
    finally:
        loop, task = started.result()
        with suppress(RuntimeError):  # the loop is closed: all was done
            loop.call_soon_threadsafe(task.cancel)
        thread.join(JOIN_SECONDS)


def _drain(source: AsyncGenerator[_T, None], put: Callable[[Any], None], started: Future[Any]) -> None:
    async def drain() -> None:
        started.set_result((asyncio.get_running_loop(), asyncio.current_task()))
        async with aclosing(source):
            async for item in source:
                put((item,))

    try:
        asyncio.run(drain())
    except BaseException as error:  # noqa: BLE001 - raised again where the answers are read
        put(error)
    else:
        put(None)


async def as_finished(
    work: Callable[[_T], Awaitable[R]], items: Iterable[_T], limit: int
) -> AsyncGenerator[R, None]:
    """`await work(item)` for every item, at most `limit` at once and taken in order, each result when it is done."""
    waiting = iter(items)
    running: set[asyncio.Future[R]] = set()
    try:
        while True:
            running.update(
                asyncio.ensure_future(work(item)) for item in islice(waiting, limit - len(running))
            )
            if not running:
                return
            done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            for future in done:
                yield future.result()
    finally:
        for future in running:
            future.cancel()
        await asyncio.gather(*running, return_exceptions=True)


class Pace:
    """At most `per_minute` units a minute, spread evenly, for servers count in windows shorter than a minute too."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    async def wait(self, units: float = 1.0) -> None:
        """Return when it is this caller's turn; callers are served in the order of their calls."""
        now = time.monotonic()
        turn = max(now, self._free_at)
        self._free_at = turn + units * self._seconds_each
        await asyncio.sleep(turn - now)

    def correct(self, units: float) -> None:
        """An estimate was too low by `units` (too high when negative): what comes later waits for it."""
        self._free_at += units * self._seconds_each
