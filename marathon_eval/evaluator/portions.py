"""Asks a run's requests, for very many documents portion by portion; each portion is scored and freed before the next.

Documents that are in memory anyway (a list) are not divided: such tasks are in the first portion. Within a portion the longest
clips come first, as they do in a run of one portion.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.model import Model, Request, Response, Through
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import Progress, RequestPool, RunResponses, ask

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc, DocSet
    from marathon_eval.task.task import Task

#: Documents of a task in one portion; with its requests and responses each takes about 2 KB.
PORTION_ROWS = 16_384


class Portion(NamedTuple):
    """Holds the number of a portion from 0, how many there are (`of`), and how many documents come after it."""

    number: int
    of: int
    remaining: int

    def __str__(self) -> str:
        return f"part {self.number + 1} of {self.of}"


class Portions:
    """Makes the pool of each portion when it is asked for."""

    def __init__(
        self,
        docs: Mapping[str, DocSet],
        pool_of: Callable[[dict[str, DocSet]], RequestPool],
        divided: bool,
    ) -> None:
        self.docs = dict(docs)
        self._pool_of = pool_of
        self._divided = {
            name for name, docset in docs.items() if divided and not isinstance(docset.docs, list)
        }
        longest = max((len(docs[name].docs) for name in self._divided), default=0)
        self.count = max(1, -(-longest // PORTION_ROWS))

    def portion(self, number: int) -> Portion:
        """Describe a portion."""
        end = (number + 1) * PORTION_ROWS
        left = sum(max(0, len(self.docs[name].docs) - end) for name in self._divided)
        return Portion(number, self.count, left)

    def pool(self, number: int) -> RequestPool:
        """Build the requests of a portion. Raises MarathonError."""
        if self.count == 1:
            return self._pool_of(self.docs)
        first = number * PORTION_ROWS
        docs: dict[str, Sequence[Doc]] = {
            name: docset.docs[first : first + PORTION_ROWS]
            if name in self._divided
            else (docset.docs if number == 0 else [])
            for name, docset in self.docs.items()
        }
        return self._pool_of({name: replace(self.docs[name], docs=part) for name, part in docs.items()})


class Asker:
    """Asks one model a run's portions one after the other. After Ctrl-C it takes only what the cache has."""

    def __init__(
        self,
        tasks: Mapping[str, Task],
        model: Model,
        judge: Model | None,
        cache: ResponseCache,
        config: RunConfig,
        through: Through,
    ) -> None:
        self._tasks = tasks
        self._model = model
        self._judge = judge
        self._cache = cache
        self._config = config
        self._through = through
        self._checked = self._interrupted = False

    def responses(self, pool: RequestPool, portion: Portion, progress: Progress) -> RunResponses:
        """Return the responses to a portion's pool.

        Raises MarathonError if a preflight check fails, and re-raises a MarathonError of the model.
        """

        def check_before_loading_weights(misses: int) -> None:
            if not self._checked and not self._interrupted:
                self._check(pool, misses + portion.remaining)

        if portion.of > 1:
            progress.portion(str(portion))
        responses = ask(
            pool,
            self._model,
            self._cache,
            Progress() if self._interrupted else progress,
            self._config.retry_errors,
            _nothing if self._interrupted else self._through,
            check_before_loading_weights,
        )
        self._interrupted |= responses.interrupted
        return responses

    def _check(self, pool: RequestPool, answers: int) -> None:
        from marathon_eval.evaluator.preflight import RunBeforeStart, run_checks
        from marathon_eval.evaluator.score_run import load_scoring

        plan = RunBeforeStart(self._tasks, pool, (self._model,), self._judge, self._config, self._cache)
        run_checks(plan, answers)
        load_scoring()
        self._checked = True


def _nothing(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
    """Answer no request: a stand-in for the model of an interrupted run."""
    return iter(())
