"""Runs asynchronous requests behind an ordinary iterator, which yields each response as soon as it arrives."""

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

#: The limit for closing connections, which takes milliseconds: one that hangs must not delay saving responses.
JOIN_SECONDS = 10.0


def from_async(source: AsyncGenerator[_T, None]) -> Iterator[_T]:
    """Yield everything that `source` yields; `source` runs in a thread with its own event loop.

    The thread lets requests in flight go on while the caller stores a response, and works in a notebook, whose own event
    loop is already running. `source` goes on only when the caller asks for the next item, so that a budget which ends
    with this item is not overrun by requests that start meanwhile. Leaving the iterator early (Ctrl-C, `close()`) cancels requests in flight. Raises what
    `source` raises.
    """
    messages: SimpleQueue[tuple[_T] | BaseException | None] = SimpleQueue()
    started: Future[tuple[asyncio.AbstractEventLoop, asyncio.Task[None], asyncio.Event]] = Future()
    thread = Thread(
        target=_drain, args=(source, messages.put, started), daemon=True, name="requests in flight"
    )
    thread.start()
    try:
        while (message := messages.get()) is not None:
            if isinstance(message, BaseException):
                raise message
            yield message[0]
            loop, _, taken = started.result()
            loop.call_soon_threadsafe(taken.set)
    finally:
        loop, task, _ = started.result()
        with suppress(RuntimeError):  # the loop is closed because all work is done
            loop.call_soon_threadsafe(task.cancel)
        thread.join(JOIN_SECONDS)


def _drain(source: AsyncGenerator[_T, None], put: Callable[[Any], None], started: Future[Any]) -> None:
    async def drain() -> None:
        taken = asyncio.Event()
        started.set_result((asyncio.get_running_loop(), asyncio.current_task(), taken))
        async with aclosing(source):
            async for item in source:
                taken.clear()
                put((item,))
                await taken.wait()

    try:
        asyncio.run(drain())
    except BaseException as error:  # noqa: BLE001 - from_async raises it again in the caller's thread
        put(error)
    else:
        put(None)


async def as_finished(
    work: Callable[[_T], Awaitable[R]], items: Iterable[_T], limit: int
) -> AsyncGenerator[R, None]:
    """Start `work(item)` for the items in order, at most `limit` at once, and yield each result when it is done."""
    remaining = iter(items)
    running: set[asyncio.Future[R]] = set()
    try:
        while True:
            running.update(
                asyncio.ensure_future(work(item)) for item in islice(remaining, limit - len(running))
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
    """Limits calls to `per_minute` units, spread evenly because servers also count in shorter windows."""

    def __init__(self, per_minute: float | None) -> None:
        self._seconds_each = 60.0 / per_minute if per_minute else 0.0
        self._free_at = 0.0

    async def wait(self, units: float = 1.0) -> None:
        """Wait until the next `units` may be sent; callers proceed in the order of their calls."""
        now = time.monotonic()
        turn = max(now, self._free_at)
        self._free_at = turn + units * self._seconds_each
        await asyncio.sleep(turn - now)

    def correct(self, units: float) -> None:
        """Correct an estimate that was too low by `units` (too high when negative): later callers wait longer."""
        self._free_at += units * self._seconds_each
