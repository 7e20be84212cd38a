"""Hands units of requests to Ray actors that hold a model each, and takes back what an actor that died was given.

https://docs.ray.io/en/latest/ray-core/actors.html
"""

from __future__ import annotations

import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Self

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.workers.actor import Answered, Ended, RayWorker
from marathon_eval.evaluator.workers.cluster import LOOK_SECONDS, Cluster, WorkerPlan
from marathon_eval.evaluator.workers.worker import Job, Unit

#: A unit whose worker died so often is not asked again in this run.
MOST_DEATHS = 3
#: Units that a worker is given: the one that it answers, and the one that it takes up next.
AHEAD = 2
#: How long a pool waits for a machine while it has none.
WAIT_SECONDS = 300.0


class _Given(NamedTuple):
    """Pairs the reference of a call with the number of its unit."""

    call: Any
    unit: int


class Pool:
    """Starts as many workers as the plan asks for and the cluster has room for, and gives them units."""

    def __init__(
        self, plan: WorkerPlan, job: Job, fingerprints: Sequence[str], weights: dict[str, Any]
    ) -> None:
        self._cluster = Cluster(plan, job.model_args)
        self._job, self._fingerprints, self._weights = job, list(fingerprints), weights
        self._starting: dict[Any, Any] = {}
        self._given: dict[Any, deque[_Given]] = {}
        self._notes: set[str] = set()
        self._failed_starts = 0
        self._alone_since = time.monotonic()

    def __enter__(self) -> Self:
        self._cluster.start()
        return self

    def __exit__(self, *_: object) -> None:
        for actor in [*self._starting.values(), *self._given]:
            self._cluster.end(actor)

    def answered(self, count: int, unit_of: Callable[[int], Unit]) -> Iterator[tuple[int, Answered | str]]:
        """Yield each of `count` units by its number with its answers, or with the reason why it has none.

        Units are given out in order, and their answers come in any. Raises MarathonError where no worker can start, and
        as the model does.
        """
        waiting = deque(range(count))
        deaths: Counter[int] = Counter()
        while waiting or any(self._given.values()):
            self._start_workers()
            self._give(waiting, unit_of)
            for call in self._cluster.finished(self._calls(), LOOK_SECONDS):
                if call in self._starting:
                    self._started(call)
                    continue
                actor = next(one for one, given in self._given.items() if given and given[0].call == call)
                result = self._cluster.result(call)
                if not isinstance(result, Ended):
                    self._print_notes(answered := _raised(result))
                    yield self._given[actor].popleft().unit, answered
                    continue
                returned = [one.unit for one in self._lose(actor, result)]
                deaths[returned[0]] += 1
                if deaths[returned[0]] >= MOST_DEATHS:
                    reason = (
                        f"not answered: {MOST_DEATHS} workers ended while they answered it ({result.reason})"
                    )
                    yield returned.pop(0), reason
                waiting.extendleft(reversed(returned))

    def _calls(self) -> list[Any]:
        """Return what is waited for: starts, and of each worker the call that it executes."""
        return [*self._starting, *(given[0].call for given in self._given.values() if given)]

    def _start_workers(self) -> None:
        room = self._cluster.room()
        for _ in range(room - len(self._starting) - len(self._given)):
            actor = self._cluster.begin(RayWorker)
            self._starting[actor.start.remote(self._job, self._weights)] = actor
        # a worker that starts may still wait for room on a machine that is gone
        if self._given or (room and self._starting):
            self._alone_since = time.monotonic()
        elif not self._cluster.may_grow or time.monotonic() - self._alone_since > WAIT_SECONDS:
            raise MarathonError(f"--workers: {self._cluster.lack()}")

    def _started(self, call: Any) -> None:
        actor = self._starting.pop(call)
        found = self._cluster.result(call)
        if isinstance(found, Ended):
            self._cluster.end(actor)
            self._failed_starts += 1
            if self._failed_starts >= MOST_DEATHS and not self._given:
                raise MarathonError(f"--workers: workers end while they start: {found.reason}")
            return
        if _raised(found) != self._fingerprints:
            raise MarathonError(
                "--workers: a worker has another model than this process: the same packages, weights and settings "
                "are needed on every machine"
            )
        self._failed_starts = 0
        self._given[actor] = deque()

    def _give(self, waiting: deque[int], unit_of: Callable[[int], Unit]) -> None:
        """Give units to workers; a second one only while there are enough, or it would wait beside an idle worker."""
        for depth in range(1, AHEAD + 1):
            for actor, given in self._given.items():
                if waiting and len(given) < depth and (depth == 1 or len(waiting) > len(self._given)):
                    number = waiting.popleft()
                    files = self._cluster.files_of(unit := unit_of(number))
                    given.append(_Given(actor.answer.remote(unit, files), number))

    def _print_notes(self, answered: Answered) -> None:
        """Print what a worker noted, each line once, however many workers note it."""
        for note in answered.notes:
            if note not in self._notes:
                self._notes.add(note)
                print(note, file=sys.stderr, flush=True)

    def _lose(self, actor: Any, end: Ended) -> deque[_Given]:
        given = self._given.pop(actor)
        self._cluster.end(actor)
        print(
            f"marathon-eval: a worker ended ({end.reason}); another one is asked what it had not answered",
            file=sys.stderr,
            flush=True,
        )
        return given


def _raised(result: Any) -> Any:
    """Return a worker's result; raise the MarathonError that it returned instead of one."""
    if isinstance(result, MarathonError):
        raise result
    return result
