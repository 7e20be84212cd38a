"""Hands units of requests to Ray actors that hold a model each, and takes back what an actor that died was given.

Ray could restart an actor and its calls by itself (`max_restarts`), but on that actor alone: what a lost machine was asked
would wait for a new one while other workers have nothing to do. https://docs.ray.io/en/latest/ray-core/actors.html
"""

from __future__ import annotations

import re
import sys
import time
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Self

from marathon_eval.api.model import Model, Request, Response
from marathon_eval.api.same_failures import SameFailures
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.requests import undecodable
from marathon_eval.evaluator.sweep import units
from marathon_eval.evaluator.workers.actor import RayWorker
from marathon_eval.evaluator.workers.asking import Send
from marathon_eval.evaluator.workers.cluster import LOOK_SECONDS, Cluster, WorkerPlan
from marathon_eval.evaluator.workers.worker import Given, Job, Unit, cache_of

#: Requests whose worker died so often are not asked again in this run.
MOST_DEATHS = 3
#: Units that a worker is given: the one that it answers, and the one that it takes up next.
AHEAD = 2
#: How long a pool waits for a machine while it has none.
WAIT_SECONDS = 300.0
#: How Ray says why a process ended; advice of several lines follows.
_EXIT = re.compile(r"Worker exit type: (\w+ Worker exit detail: [^.\n]*)")


def in_pool(plan: WorkerPlan) -> Send:
    """Return the function that sends a job's requests to workers: the first ones first, in units of whole clips."""

    def send(job: Job, models: Sequence[Model], lacking: Mapping[Request, Sequence[int]]) -> Iterator[Given]:
        with Pool(plan, job, models, lacking) as pool:
            yield from pool.answers()

    return send


class _Stops:
    """Counts failures over all units and cells, as one process does: a worker counts those of its unit alone."""

    def __init__(self, models: Sequence[Model], requests: Iterable[Request]) -> None:
        self._failures = SameFailures.of(models[0])
        self._facts, _ = cache_of(models[0]).facts(audio for request in requests for audio in request.audios)

    def note(self, request: Request, response: Response) -> None:
        """Count a response. Raises MarathonError where ten in a row failed with one reason."""
        if not undecodable(request, self._facts):
            self._failures.note(response.error if response.status == "error" else None)


class _Call(NamedTuple):
    """Pairs the reference of a call with the requests of its unit; none for the call that builds the worker's model."""

    ref: Any
    requests: list[Request]


class _Ended(NamedTuple):
    """Says that the worker of a call is gone, and why."""

    reason: str


class Pool:
    """Starts as many workers as the plan asks for and the cluster has room for, and gives them units."""

    def __init__(
        self,
        plan: WorkerPlan,
        job: Job,
        models: Sequence[Model],
        lacking: Mapping[Request, Sequence[int]],
    ) -> None:
        self._plan, self._job, self._models, self._lacking = plan, job, models, lacking
        at_once = int(getattr(models[0].settings, "concurrency", None) or 1)
        self._waiting = deque(units(models, lacking, at_once))
        self._cluster = Cluster(plan, job.model_args)
        self._ray = self._cluster.ray
        #: The calls of each actor in the order in which it executes them.
        self._calls: dict[Any, deque[_Call]] = {}
        #: How many workers died while they answered a unit, by its first request; 0 where they may have.
        self._deaths: Counter[Request] = Counter()
        self._failed_starts = 0
        self._notes: set[str] = set()
        self._stops = _Stops(models, lacking)
        self._alone_since = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for actor in self._calls:
            self._kill(actor)

    def answers(self) -> Iterator[Given]:
        """Yield every response with the number of its cell, in any order; failed ones say why there is none.

        Raises MarathonError where no worker can start, and, after the answers before it, as the model does or where ten
        requests in a row fail with one reason.
        """
        for given in self._answers():
            yield given
            self._stops.note(given.request, given.response)

    def _answers(self) -> Iterator[Given]:
        while self._waiting or any(call.requests for calls in self._calls.values() for call in calls):
            self._start_workers()
            self._give()
            stopped: str | None = None
            for actor in self._finished():
                result = self._result(self._calls[actor][0])
                if isinstance(result, _Ended):
                    yield from self._lose(actor, result)
                    continue
                requests = self._calls[actor].popleft().requests
                if not requests:
                    self._failed_starts = 0
                    continue
                for key, value in result.entries.items():
                    cache_of(self._models[0]).put(key, value)
                self._print_notes(result.notes)
                yield from (one.of(requests) for one in result.answers)
                stopped = stopped or result.stopped
            if stopped is not None:  # after what other workers have finished
                raise MarathonError(stopped)

    def _ready(self) -> dict[Any, deque[_Call]]:
        """Return the actors that have built their model, with their calls."""
        return {actor: calls for actor, calls in self._calls.items() if not calls or calls[0].requests}

    def _start_workers(self) -> None:
        room = self._cluster.room()
        for _ in range(room - len(self._calls)):
            # one that dies is not restarted by Ray, so that the pool knows what it was asked
            actor = self._ray.remote(RayWorker).options(**self._cluster.resources, max_restarts=0).remote()
            self._calls[actor] = deque([_Call(actor.start.remote(self._job), [])])
        # a worker that starts may still wait for room on a machine that is gone
        if self._ready() or (room and self._calls):
            self._alone_since = time.monotonic()
        # machines may join a cluster; one machine stays as it is
        elif self._plan.address is None or time.monotonic() - self._alone_since > WAIT_SECONDS:
            raise MarathonError(f"--workers: {self._cluster.lack()}")

    def _give(self) -> None:
        """Give units to workers; a second one only while there are enough, or it would wait beside an idle worker."""
        ready = self._ready()
        for depth in range(1, AHEAD + 1):
            for actor, calls in ready.items():
                if not self._waiting or len(calls) >= depth:
                    continue
                if depth == 1 or (len(self._waiting) > len(ready) and not self._suspect(calls)):
                    requests = self._waiting.popleft()
                    unit = Unit.of(self._models, self._lacking, requests)
                    files = _files_of(requests) if self._plan.ship_audio else {}
                    calls.append(_Call(actor.answer.remote(unit, files), requests))

    def _suspect(self, calls: Sequence[_Call]) -> bool:
        """Return whether a worker died on the next unit or on these: it is asked alone, and a further death is known for its own."""
        return any(requests[0] in self._deaths for requests in (self._waiting[0], calls[0].requests))

    def _finished(self) -> list[Any]:
        """Return the actors whose present call has ended, after at most LOOK_SECONDS."""
        present = {calls[0].ref: actor for actor, calls in self._calls.items() if calls}
        if not present:
            time.sleep(LOOK_SECONDS)
            return []
        refs = list(present)
        done = self._ray.wait(refs, num_returns=len(refs), timeout=0)[0]
        return [present[ref] for ref in done or self._ray.wait(refs, timeout=LOOK_SECONDS)[0]]

    def _result(self, call: _Call) -> Any:
        """Return what the call returned, or _Ended where its worker or its machine is gone. Raises what it raised."""
        try:
            return self._ray.get(call.ref)
        except self._ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, MarathonError):
                raise error.cause from None
            raise
        except self._ray.exceptions.RayError as error:
            found = _EXIT.search(str(error))
            return _Ended(found[1] if found else str(error).strip().splitlines()[0][:200])

    def _lose(self, actor: Any, end: _Ended) -> Iterator[Given]:
        """Forget an actor that ended, and let others answer its units; yield failed responses for one that ended too many.

        Raises MarathonError where workers end while they start.
        """
        lost = [call.requests for call in self._calls.pop(actor) if call.requests]
        self._kill(actor)
        if not lost:
            self._failed_starts += 1
            if self._failed_starts >= MOST_DEATHS and not self._ready():
                raise MarathonError(f"--workers: workers end while they start: {end.reason}")
            return
        _say(f"marathon-eval: a worker ended ({end.reason}); another one is asked what it had not answered")
        # where the answers to the first were still on their way, it died of the second
        self._deaths.update({requests[0]: requests is lost[0] for requests in lost})
        if self._deaths[lost[0][0]] >= MOST_DEATHS:
            said = f"not answered: {MOST_DEATHS} workers ended while they answered it ({end.reason})"
            failed = Response.failed(said)
            yield from (Given(cell, one, failed) for one in lost.pop(0) for cell in self._lacking[one])
        self._waiting.extendleft(reversed(lost))

    def _kill(self, actor: Any) -> None:
        """Kill an actor, which frees its GPU."""
        with suppress(self._ray.exceptions.RayError):  # it is gone already, or the cluster is
            self._ray.kill(actor)

    def _print_notes(self, notes: Sequence[str]) -> None:
        """Print what a worker noted, each line once, however many workers note it."""
        for note in notes:
            if note not in self._notes:
                self._notes.add(note)
                _say(note)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _files_of(requests: Sequence[Request]) -> dict[str, bytes]:
    """Read the requests' audio files for a machine without them; a missing one is left out."""
    found: dict[str, bytes] = {}
    for path in {audio.path for request in requests for audio in request.audios}:
        with suppress(OSError):  # the worker reports it as this process would
            found[path] = Path(path).read_bytes()
    return found
