"""Tests asynchronous requests behind an ordinary iterator, and limits per minute."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator

import pytest

from marathon_eval.backends.http.loop import Pace, as_finished, from_async
from marathon_eval.errors import MarathonError


async def after(seconds: float) -> float:
    await asyncio.sleep(seconds)
    return seconds


def test_results_come_as_they_finish_and_no_more_run_at_once_than_allowed() -> None:
    running, most = 0, 0

    async def work(seconds: float) -> float:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(seconds)
        running -= 1
        return seconds

    delays = [0.2, 0.01, 0.02, 0.03, 0.04]
    assert list(from_async(as_finished(work, delays, limit=2))) == [0.01, 0.02, 0.03, 0.04, 0.2]
    assert most == 2


def test_a_result_is_out_before_the_next_is_there_and_requests_go_on_while_the_caller_works() -> None:
    began = time.monotonic()
    results = from_async(as_finished(after, [0.01, 0.3], limit=2))
    assert next(results) == 0.01
    assert time.monotonic() - began < 0.25
    time.sleep(0.35)  # the second one finishes meanwhile, in its thread
    asked = time.monotonic()
    assert next(results) == 0.3
    assert time.monotonic() - asked < 0.1


def test_it_works_inside_a_running_loop_as_in_a_notebook() -> None:
    async def cell() -> list[float]:
        return list(from_async(as_finished(after, [0.0, 0.0], limit=1)))

    assert asyncio.run(cell()) == [0.0, 0.0]


def test_leaving_early_cancels_what_runs_and_ends_the_thread() -> None:
    cancelled: list[bool] = []

    async def work(seconds: float) -> float:
        try:
            return await after(seconds)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    results = from_async(as_finished(work, [0.0, 60.0, 60.0], limit=3))
    next(results)
    results.close()  # type: ignore[attr-defined]  # a generator
    assert cancelled == [True, True]
    assert not [thread for thread in threading.enumerate() if thread.name == "requests in flight"]


def test_what_the_work_raises_reaches_the_caller() -> None:
    async def broken() -> AsyncGenerator[int, None]:
        yield 1
        raise MarathonError("no server")

    results = from_async(broken())
    assert next(results) == 1
    with pytest.raises(MarathonError, match="no server"):
        next(results)


def test_pace_spreads_evenly_and_settles_estimates() -> None:
    async def starts(pace: Pace, correction: float) -> list[float]:
        began, at = time.monotonic(), []
        for _ in range(3):
            await pace.wait(10)
            at.append(time.monotonic() - began)
            pace.correct(correction)
        return at

    at = asyncio.run(starts(Pace(6000), 0))  # 10 units every 0.1 s
    assert at == pytest.approx([0.0, 0.1, 0.2], abs=0.05)
    at = asyncio.run(starts(Pace(6000), 10))  # each cost twice what was thought
    assert at == pytest.approx([0.0, 0.2, 0.4], abs=0.06)
    assert asyncio.run(starts(Pace(None), 10))[-1] < 0.05


@pytest.mark.parametrize("limit", [1, 3])
def test_nothing_new_starts_while_the_caller_holds_an_item(limit: int) -> None:
    begun: list[int] = []

    async def work(item: int) -> int:
        begun.append(item)
        return item

    for taken, _ in enumerate(from_async(as_finished(work, range(12), limit))):
        time.sleep(0.01)
        assert len(begun) <= taken + limit
    assert begun == list(range(12))
