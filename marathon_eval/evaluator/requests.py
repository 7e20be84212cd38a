"""Builds the requests of all tasks and gets their responses; equal requests are asked once.

The requests on one clip are sent together, so that a model decodes and encodes the clip once.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.complete import complete
from marathon_eval.api.model import CachedResponse, Model, Request, Through
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import RowError
from marathon_eval.evaluator.compressed_responses import Responses
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.doc_requests import DialoguePlan, DocRequests, ask_later_turns
from marathon_eval.evaluator.gc_pause import seldom_collected
from marathon_eval.evaluator.split import Split
from marathon_eval.evaluator.window_answers import combine_answers
from marathon_eval.files import default_folder

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.task.task import Doc, DocSet, Task


class Progress:
    """Receives the progress of a run. This base class shows nothing; evaluator/progress.py shows it in the terminal."""

    def opened(self, pool: RequestPool, responses: RunResponses) -> None:
        """Receive the pool and its response map, which fills during the run.

        A run of very many rows is asked in portions, and calls every method of this class for each: `portion` first,
        then this one.
        """

    def portion(self, name: str) -> None:
        """Take the name of the portion that is asked next; not called for a run of one portion."""

    def start(self, hits: int, misses: int, seconds: float) -> None:
        """Start: the cache has `hits` responses; the model must answer `misses` requests on `seconds` of audio."""

    def cells(self, told: str) -> None:
        """Take what is said of a sweep's complete and begun cells; called before start."""

    def refused(self, rows: int) -> None:
        """Count rows that have failed already, for a bad row or a clip that cannot be decoded; called before start."""

    def advance(self, answered: CachedResponse, seconds: float) -> None:
        """Count one request, on `seconds` of audio, that the model answered."""

    def stop(self) -> None:
        """Stop; also called when a run is interrupted."""


class RequestPool(NamedTuple):
    """Holds the documents of all tasks and their requests, by task name."""

    docs: dict[str, DocSet]
    doc_requests: dict[str, list[DocRequests]]
    #: The windows that are sent in place of a request on a long clip.
    splits: Mapping[Request, Split] = MappingProxyType({})

    def asked(self) -> list[Request]:
        """Return every distinct request of the documents once, also those that are sent window by window."""
        by_document = (item.requests for items in self.doc_requests.values() for item in items)
        return list(dict.fromkeys(request for requests in by_document for request in requests))

    def requests(self) -> list[Request]:
        """Return every distinct request to send, with windows in place of split requests."""
        if not self.splits:
            return self.asked()
        sent = (self.splits[one].parts if one in self.splits else (one,) for one in self.asked())
        return list(dict.fromkeys(request for requests in sent for request in requests))

    def size(self) -> int:
        """Count the requests of all documents; equal requests are each counted."""
        return sum(len(item.requests) for items in self.doc_requests.values() for item in items)


class RunResponses(NamedTuple):
    """Holds the responses to a pool, which of them came from the cache, and the facts (seconds, hash) of the audio.

    `interrupted`: Ctrl-C ended the run, and some requests have no response.
    """

    by_request: Responses
    cached: set[Request]
    facts: dict[Audio, AudioFacts]
    interrupted: bool


def cache_folder(config: RunConfig) -> Path | None:
    """Return the folder of the response cache, or None with --no_cache."""
    if config.no_cache:
        return None
    return Path(config.use_cache) if config.use_cache else default_folder()


def docs_of_tasks(tasks: Mapping[str, Task], config: RunConfig) -> dict[str, DocSet]:
    """Read every task's documents. Raises MarathonError."""
    with seldom_collected():
        return {name: docs_of(task, config) for name, task in tasks.items()}


def requests_of_docs(
    tasks: Mapping[str, Task], docs: dict[str, DocSet], config: RunConfig, model_name: str
) -> RequestPool:
    """Build the requests of every task's documents; a row that cannot be asked keeps its error. Raises MarathonError."""
    with seldom_collected():
        doc_requests = {
            name: [requests_of_doc(task, doc, config, model_name) for doc in docs[name].docs]
            for name, task in tasks.items()
        }
    return RequestPool(docs, doc_requests)


def docs_of(task: Task, config: RunConfig, sounds_needed: bool = True) -> DocSet:
    """Read the documents that the run selects (limit, samples), with its controls applied. Raises MarathonError.

    Without `sounds_needed` (a finished run is scored) a missing sound file makes no error.
    """
    from marathon_eval.task.data.selection import RowLengths

    row_numbers = config.samples or {}
    docs = task.docs(
        config.data_dir,
        subset=config.subset,
        limit=config.limit,
        samples=row_numbers.get(task.name, row_numbers.get(task.name.partition("~")[0])),
        lengths=RowLengths(config.min_seconds, config.max_seconds),
        sounds_needed=sounds_needed,
    )
    if config.no_audio is None and not config.swap_audio and config.permute_choices is None:
        return docs
    from marathon_eval.evaluator.controls import controlled

    folder = cache_folder(config) or Path(tempfile.gettempdir()) / "marathon_eval"
    return controlled(docs, task, config.no_audio, config.swap_audio, folder / "silence")


def requests_of_doc(task: Task, doc: Doc, config: RunConfig, model_name: str) -> DocRequests:
    """Build a document's requests, one per repeat, as the run sends them; an error of the document is kept."""
    if doc.error is not None:
        return DocRequests(doc, [], doc.error)
    try:
        requests = task.requests(doc, model_name, seed=config.seed)
        plan = _dialogue_plan(task, doc, config, model_name) if task.has_turns else None
    except RowError as error:
        return DocRequests(doc, [], str(error))
    return DocRequests(doc, [_with_run_settings(request, config) for request in requests], None, plan)


def _dialogue_plan(task: Task, doc: Doc, config: RunConfig, model_name: str) -> DialoguePlan:
    def next_turn(answers: Sequence[str]) -> Request | None:
        request = task.next_turn(doc, answers, model_name, seed=config.seed)
        return None if request is None else _with_run_settings(request, config)

    whole = task.whole_dialogue(doc, model_name, seed=config.seed)
    return DialoguePlan(next_turn, _with_run_settings(whole, config))


def _with_run_settings(request: Request, config: RunConfig) -> Request:
    """Apply --system_instruction, --gen_kwargs and --transform, and set the seed if the response is sampled."""
    if config.no_audio == "none":
        request = request.without_audio()
    if config.system_instruction is not None:
        request = replace(request, system=config.system_instruction)
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
    """Get a response for every request of the pool, from the cache or from the model; stops at Ctrl-C.

    `before` is called with the number of requests that the cache lacks, before weights load; it may raise to refuse
    the run. `through` sends the requests to the model. With `retry_errors`, failed requests are asked once more.
    """
    requests, facts = ordered(pool, cache)
    responses = RunResponses(Responses(), set(), facts, False)

    def ask_more(more: list[Request]) -> None:
        _collect(more, model, cache, responses, progress, through)

    def ask_turns(more: list[Request]) -> None:
        cache.commit()  # later turns are built from these responses
        ask_more(more)

    interrupted = False
    try:
        progress.opened(pool, responses)
        progress.refused(_failed_rows(pool, facts))
        _collect(requests, model, cache, responses, progress, through, before)
        again = partial(_retried, responses, ask_more) if retry_errors else ask_nothing
        again(list(responses.by_request))
        ask_later_turns(pool.doc_requests, responses.by_request, ask_turns, again)
        combine_answers(pool.splits, responses.by_request, responses.cached, pool.asked, ask_more)
    except KeyboardInterrupt:
        interrupted = True
        combine_answers(pool.splits, responses.by_request, responses.cached, pool.asked, ask_nothing)
    finally:
        progress.stop()
    return responses._replace(interrupted=interrupted)


def _retried(
    responses: RunResponses, ask_more: Callable[[list[Request]], None], requests: list[Request]
) -> None:
    """Ask those of the requests once more that failed."""
    by_request = responses.by_request
    ask_more([one for one in requests if one in by_request and by_request[one].status == "error"])


def ask_nothing(requests: list[Request]) -> None:
    """Ask nothing more: windows whose answers need further requests stay without a combined answer."""


def _failed_rows(pool: RequestPool, facts: Mapping[Audio, AudioFacts]) -> int:
    """Count the rows that the model is never sent: those with an error, and those whose audio cannot be decoded."""
    return sum(
        not item.requests or any(undecodable(request, facts) for request in item.requests[:1])
        for items in pool.doc_requests.values()
        for item in items
    )


def undecodable(request: Request, facts: Mapping[Audio, AudioFacts]) -> bool:
    """Return whether a request has audio that cannot be decoded; such a request is never sent."""
    return any(audio not in facts for audio in request.audios)


def ordered(pool: RequestPool, cache: ResponseCache) -> tuple[list[Request], dict[Audio, AudioFacts]]:
    """Return every distinct request, sorted so that a clip's requests are adjacent, and the facts of the clips."""
    requests = pool.requests()
    whole = pool.splits.keys()
    dialogues = [
        item.dialogue.whole for items in pool.doc_requests.values() for item in items if item.dialogue
    ]
    facts, _ = cache.facts(audio for request in (*requests, *whole, *dialogues) for audio in request.audios)
    requests.sort(key=lambda request: _clip_order(request, facts))
    return requests, facts


def _collect(
    requests: list[Request],
    model: Model,
    cache: ResponseCache,
    responses: RunResponses,
    progress: Progress,
    through: Through,
    before: Callable[[int], None] = lambda misses: None,
) -> None:
    """Add the responses to `requests` to `responses`, and report progress for those that the model gives."""
    sent: set[Request] = set()
    hits = 0

    def start_asking(misses: list[Request]) -> None:
        before(len(misses))
        restore_gc()  # a model may leave large objects in reference cycles
        sent.update(misses)
        audio_seconds = sum(seconds_of(request, responses.facts) for request in misses)
        progress.start(hits, len(misses), audio_seconds)

    with seldom_collected() as restore_gc:
        for item in cache.answer(
            model, requests, on_misses=start_asking, known=responses.facts, through=through
        ):
            responses.by_request[item.request] = item.response
            if item.cached:
                hits += 1
                responses.cached.add(item.request)
            elif item.request in sent:
                progress.advance(item, seconds_of(item.request, responses.facts))


def _audio_facts(request: Request, facts: Mapping[Audio, AudioFacts]) -> list[AudioFacts]:
    return [found for audio in request.audios if (found := facts.get(audio)) is not None]


def seconds_of(request: Request, facts: Mapping[Audio, AudioFacts]) -> float:
    """Return the seconds of audio in a request; audio without facts counts as 0."""
    return sum(fact.seconds for fact in _audio_facts(request, facts))


def _clip_order(request: Request, facts: Mapping[Audio, AudioFacts]) -> tuple[float, str, str]:
    """Return a sort key: longest clips first, so that out-of-memory errors show early, and clips kept together."""
    found = _audio_facts(request, facts)
    return -sum(fact.seconds for fact in found), "".join(fact.sha256 for fact in found), request.prompt
