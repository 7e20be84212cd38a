"""From documents to answers: the requests of all tasks in one pool, equal ones asked once, clips kept together."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.model import CachedResponse, Model, Request, Through, complete
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import RowError
from marathon_eval.evaluator.compressed_responses import Responses
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.gc_pause import seldom_collected
from marathon_eval.files import default_folder

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.task.task import Doc, DocSet, Task


class Progress:
    """What is told while a run goes on; this one is silent, progress.py has the terminal's."""

    def start(self, hits: int, misses: int, seconds: float) -> None:
        """It is known what must be asked: `misses` requests, `seconds` of audio."""

    def advance(self, answered: CachedResponse, seconds: float) -> None:
        """The model finished one request on `seconds` of audio."""

    def stop(self) -> None:
        """The end, also of an interrupted run."""


class DocRequests(NamedTuple):
    """One document with its requests (one per repeat), or why it has none."""

    doc: Doc
    requests: list[Request]
    error: str | None


class RequestPool(NamedTuple):
    """All documents of all tasks, with the requests that they need."""

    docs: dict[str, DocSet]
    asked: dict[str, list[DocRequests]]

    def requests(self) -> list[Request]:
        """Every different request once."""
        return list(
            dict.fromkeys(r for asked in self.asked.values() for item in asked for r in item.requests)
        )

    def size(self) -> int:
        """How many requests there are, equal ones counted as often as they occur."""
        return sum(len(item.requests) for asked in self.asked.values() for item in asked)


class RunResponses(NamedTuple):
    """What a pool was answered, and what of it the cache had; `interrupted` says that Ctrl-C left some out."""

    by_request: Responses
    cached: set[Request]
    facts: dict[Audio, AudioFacts]
    interrupted: bool


def cache_folder(config: RunConfig) -> Path | None:
    """Where answers are kept; None with --no_cache."""
    if config.no_cache:
        return None
    return Path(config.use_cache) if config.use_cache else default_folder()


def requests_of_tasks(tasks: Mapping[str, Task], config: RunConfig, model_name: str) -> RequestPool:
    """Every task's documents and their requests; a bad row keeps its reason."""
    docs: dict[str, DocSet] = {}
    asked: dict[str, list[DocRequests]] = {}
    with seldom_collected():
        for name, task in tasks.items():
            docs[name] = docs_of(task, config)
            asked[name] = [_one_doc(task, doc, config, model_name) for doc in docs[name].docs]
    return RequestPool(docs, asked)


def docs_of(task: Task, config: RunConfig) -> DocSet:
    """The task's documents as this run asks them. Raises MarathonError."""
    chosen = config.samples or {}
    docs = task.docs(
        config.data_dir,
        subset=config.subset,
        limit=config.limit,
        samples=chosen.get(task.name, chosen.get(task.name.partition("~")[0])),
    )
    if config.no_audio is None and not config.swap_audio and config.permute_choices is None:
        return docs
    from marathon_eval.evaluator.controls import controlled

    folder = cache_folder(config) or Path(tempfile.gettempdir()) / "marathon_eval"
    return controlled(docs, task, config.no_audio, config.swap_audio, folder / "silence")


def _one_doc(task: Task, doc: Doc, config: RunConfig, model_name: str) -> DocRequests:
    if doc.error is not None:
        return DocRequests(doc, [], doc.error)
    try:
        requests = task.requests(doc, model_name, seed=config.seed)
    except RowError as error:
        return DocRequests(doc, [], str(error))
    return DocRequests(doc, [_overridden(request, config) for request in requests], None)


def _overridden(request: Request, config: RunConfig) -> Request:
    """The request with --gen_kwargs laid over it, and a seed wherever an answer is sampled."""
    generation = request.generation
    if config.gen_kwargs:
        from marathon_eval.task.yaml.config import generation_settings

        generation = replace(generation, **generation_settings(config.gen_kwargs, "--gen_kwargs"))
    if generation.temperature > 0 and generation.seed is None:
        generation = replace(generation, seed=config.seed)
    if config.transform:
        audios = tuple(replace(audio, transform=config.transform) for audio in request.audios)
        return replace(request, generation=generation, audios=audios)
    return request if generation is request.generation else replace(request, generation=generation)


def ask(
    pool: RequestPool,
    model: Model,
    cache: ResponseCache,
    progress: Progress,
    retry_errors: bool,
    through: Through = complete,
    before: Callable[[int], None] = lambda misses: None,
) -> RunResponses:
    """An answer for every request of the pool, until all are there or Ctrl-C.

    `before` hears how many must be asked, before the first weight loads, and may refuse the run; `through` asks them.
    """
    requests, facts = ordered(pool, cache)
    answers = RunResponses(Responses(), set(), facts, False)
    interrupted = False
    try:
        _collect(requests, model, cache, answers, progress, through, before)
        if retry_errors:
            failed = [one for one, answer in answers.by_request.items() if answer.status == "error"]
            _collect(failed, model, cache, answers, progress, through)
    except KeyboardInterrupt:
        interrupted = True
    finally:
        progress.stop()
    return answers._replace(interrupted=interrupted)


def ordered(pool: RequestPool, cache: ResponseCache) -> tuple[list[Request], dict[Audio, AudioFacts]]:
    """Every different request once, clip by clip, and what is known of the clips."""
    requests = pool.requests()
    facts, _ = cache.facts(audio for request in requests for audio in request.audios)
    requests.sort(key=lambda request: _clip_order(request, facts))
    return requests, facts


def _collect(
    requests: list[Request],
    model: Model,
    cache: ResponseCache,
    answers: RunResponses,
    progress: Progress,
    through: Through,
    before: Callable[[int], None] = lambda misses: None,
) -> None:
    waiting: set[Request] = set()

    def begin(misses: list[Request]) -> None:
        before(len(misses))
        as_usual()  # what a model leaves behind may be large
        waiting.update(misses)
        progress.start(
            len(requests) - len(misses), len(misses), sum(seconds_of(miss, answers.facts) for miss in misses)
        )

    with seldom_collected() as as_usual:
        for item in cache.answer(model, requests, on_misses=begin, known=answers.facts, through=through):
            answers.by_request[item.request] = item.response
            if item.cached:
                answers.cached.add(item.request)
            elif item.request in waiting:
                progress.advance(item, seconds_of(item.request, answers.facts))


def _known(request: Request, facts: Mapping[Audio, AudioFacts]) -> Iterator[AudioFacts]:
    return (facts[audio] for audio in request.audios if audio in facts)


def seconds_of(request: Request, facts: Mapping[Audio, AudioFacts]) -> float:
    """Seconds of audio that a request holds."""
    return sum(fact.seconds for fact in _known(request, facts))


def _clip_order(request: Request, facts: Mapping[Audio, AudioFacts]) -> tuple[float, str, str]:
    """Longest clips first (an out-of-memory shows at once), questions on one clip side by side."""
    return (
        -seconds_of(request, facts),
        "".join(fact.sha256 for fact in _known(request, facts)),
        request.prompt,
    )
