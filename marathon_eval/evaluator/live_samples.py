"""Writes samples while the model is asked, so that `show` in another terminal can look at a run that goes on."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.api.model import CachedResponse, Request
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.requests import Progress, RequestPool, RunResponses
from marathon_eval.evaluator.score_run import sample_of
from marathon_eval.results.unfinished import PartialSamples, delete_killed

if TYPE_CHECKING:
    from marathon_eval.evaluator.config import RunConfig
    from marathon_eval.task.task import DocSet, Task


class LiveSamples(Progress):
    """Passes progress on, and writes each document's sample when all its responses are there.

    Nothing is written for a run whose responses are all in the cache. Readings of a judge are absent, because the judge
    is asked later, and so are dialogues and documents whose clip is sent in windows. An error while writing ends the writing
    with a warning, and never the run.
    """

    def __init__(
        self, inner: Progress, config: RunConfig, tasks: Mapping[str, Task], docs: Mapping[str, DocSet]
    ) -> None:
        self.inner = inner
        self._config, self._tasks, self._docs = config, tasks, docs
        self._pool = RequestPool({}, {})
        self._responses: RunResponses | None = None
        self._failed = False
        self._file: PartialSamples | None = None
        #: The documents that wait for a response, by request.
        self._waiting: dict[Request, list[tuple[str, DocRequests]]] = {}

    def portion(self, name: str) -> None:
        self.inner.portion(name)

    def opened(self, pool: RequestPool, responses: RunResponses) -> None:
        if not self._failed:
            self._pool, self._responses = pool, responses
            self._waiting.clear()
            if self._file is not None:
                self._guarded(self._add_all)
        self.inner.opened(pool, responses)

    def refused(self, rows: int) -> None:
        self.inner.refused(rows)

    def start(self, hits: int, misses: int, seconds: float) -> None:
        if misses and self._file is None and self._responses is not None:
            self._guarded(self._begin)
        self.inner.start(hits, misses, seconds)

    def advance(self, answered: CachedResponse, seconds: float) -> None:
        self.inner.advance(answered, seconds)
        for name, item in self._waiting.pop(answered.request, ()):
            self._guarded(self._add, name, item)

    def stop(self) -> None:
        self.inner.stop()
        self._pool, self._responses = RequestPool({}, {}), None

    def close(self) -> None:
        """Delete the files: the results take their place."""
        self._waiting.clear()
        if self._file is not None:
            self._file.delete()
            self._file = None

    def _begin(self) -> None:
        """Create the files, and write the documents that need nothing more from the model."""
        facts = {
            "model": self._config.model,
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "tasks": {
                name: {
                    "headline": task.scorer.headline,
                    "readings": list(task.readings),
                    "metrics": task.metric_entries,
                    "n_loaded": len(self._docs[name].docs),
                }
                for name, task in self._tasks.items()
            },
        }
        self._file = PartialSamples(Path(self._config.output_path or ""), facts)
        self._add_all()

    def _add_all(self) -> None:
        """Write the documents that are asked now and need nothing more from the model; the others wait for it."""
        for name, items in self._pool.doc_requests.items():
            for item in items:
                self._add(name, item)

    def _add(self, name: str, item: DocRequests) -> None:
        """Write the document's sample, or let it wait for the first of its responses that is not there."""
        responses = self._responses
        if self._file is None or responses is None:
            return
        if item.dialogue is not None or any(request in self._pool.splits for request in item.requests):
            return
        absent = next((each for each in item.requests if responses.by_request.get(each) is None), None)
        if absent is not None:
            self._waiting.setdefault(absent, []).append((name, item))
            return
        sample = sample_of(self._tasks[name], item, responses, self._config.predict_only)
        self._file.add(name, sample.line())
        if sample.status == "error" and item.requests and self._config.retry_errors:
            for request in item.requests:  # it may be asked again; the last line of a document counts
                self._waiting.setdefault(request, []).append((name, item))

    def _guarded(self, step: object, *arguments: object) -> None:
        """Call a step; its error ends the writing, and is printed."""
        assert callable(step)
        try:
            step(*arguments)
        except Exception as error:  # noqa: BLE001 - the run must not end because of it
            # a user's metric may raise anything; scoring reports it in full when the run ends
            print(
                f"marathon-eval: warning: no samples are written while the run goes on: {error}",
                file=sys.stderr,
            )
            self.close()
            self._responses, self._failed = None, True


@contextmanager
def live_samples(
    progress: Progress, config: RunConfig, tasks: Mapping[str, Task], docs: Mapping[str, DocSet]
) -> Iterator[Progress]:
    """Yield a Progress that also writes samples below --output_path until the block ends; without it the same one."""
    if config.output_path is None or not config.log_samples:
        yield progress
        return
    live = LiveSamples(progress, config, tasks, docs)
    try:
        yield live
    finally:
        live.close()
        # also those of a run whose remaining responses were all in the cache
        delete_killed(Path(config.output_path))
