"""Scores a task's responses document by document: makes the samples, and adds each to the task's aggregation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from importlib import import_module
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Request, Response
from marathon_eval.api.results import NOT_REACHED, Sample
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.requests import RunResponses
from marathon_eval.results.asked import PromptsHash
from marathon_eval.results.compressed_samples import CompressedSamples
from marathon_eval.scoring.scorer import Scored

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.evaluator.judge import Judge, Judged, JudgedRow
    from marathon_eval.task.task import Doc, Task


def load_scoring() -> None:
    """Import what scoring imports on first use; called before the model is asked.

    Where memory is capped, importing numpy beside loaded weights may fail or hang, and all answers would wait for it.
    """
    for name in ("numpy", "marathon_eval.scoring.bootstrap_t", "marathon_eval.scoring.intervals"):
        import_module(name)


class TaskScores:
    """Collects a task's samples and their aggregation, from all its documents at once or a portion after the other."""

    def __init__(self, task: Task, config: RunConfig, judge: Judge | None = None) -> None:
        self.samples = CompressedSamples()
        self.aggregation = task.aggregation()
        self._task = task
        self._predict_only = config.predict_only
        self._judge = None if config.predict_only or not task.has_gold else judge
        self._asked = AskedFacts()
        self._judged: Judged | None = None

    def add(self, doc_requests: list[DocRequests], responses: RunResponses, emptied: bool = False) -> None:
        """Score these documents. If the task has a judge, pass all its documents in one call; they are judged first.

        With `emptied`, requests and responses are freed as each document is scored, to bound memory: `doc_requests`
        is empty afterwards.
        """
        asked = ((item.doc, _doc_responses(item, responses.by_request.get)) for item in doc_requests)
        self._judged = judged_by(self._judge, self._task, asked)
        verdicts = self._judged.verdicts if self._judged else {}
        response_for = responses.by_request.take if emptied else responses.by_request.get
        for item in _removed_in_order(doc_requests) if emptied else doc_requests:
            doc_responses = _doc_responses(item, response_for)
            verdict = verdicts.get(item.doc.doc_id)
            sample, rows = _scored(self._task, item, doc_responses, responses, verdict, self._predict_only)
            self._asked.add(sample, item)
            self.samples.append(sample)
            self.aggregation.add(sample, item.doc, rows)

    def facts(self) -> dict[str, Any]:
        """Return what the task's manifest says of how it was asked, of its own code, and of its judge."""
        code = {"code": own} if (own := self._task.own_code) else {}
        judge = {"judge": self._judged.facts} if self._judged else {}
        return {**self._asked.facts(), **code, **judge}


class AskedFacts:
    """Collects how a task was asked: a hash of its prompts, and its generation arguments without the seed.

    Two runs of a task with the same facts, on the same rows, asked the same questions.
    """

    def __init__(self) -> None:
        self._prompts = PromptsHash()
        self._generation: dict[str, Any] | None = None

    def add(self, sample: Sample, item: DocRequests) -> None:
        """Add one document with its requests."""
        self._prompts.add(sample.doc_id, sample.prompt_sha256)
        if self._generation is None and item.requests:
            repeats = 1 if item.dialogue else len(item.requests)
            self._generation = {**asdict(item.requests[0].generation), "repeats": repeats}
            del self._generation["seed"]

    def facts(self) -> dict[str, Any]:
        """Return the entries of the task's manifest."""
        return {"prompts_sha256": self._prompts.hexdigest(), "generation": self._generation}


def _removed_in_order(items: list[DocRequests]) -> Iterator[DocRequests]:
    """Yield the items in order; each one is removed from the list."""
    items.reverse()
    while items:
        yield items.pop()


def _scored(
    task: Task,
    item: DocRequests,
    doc_responses: Sequence[Response],
    responses: RunResponses,
    verdict: JudgedRow | None,
    predict_only: bool,
) -> Scored:
    """Make a document's sample. A document without a response becomes an error row, never a wrong answer."""
    first = item.recorded
    if verdict is None:
        scored = task.scored(item.doc, doc_responses, predict_only)
    else:  # the aggregation builds the rows of the document itself, without the verdict
        scored = Scored(scored_sample(task, item.doc, doc_responses, verdict, predict_only), {})
    sample = scored.sample
    sample.cached = bool(item.requests) and responses.cached.issuperset(item.requests)
    sample.prompt_sha256 = first.prompt_sha256 if first else None
    sample.turns_sha256 = [request.prompt_sha256 for request in item.requests] if item.dialogue else []
    sample.audio = [
        _audio_record(audio, responses.facts) for audio in (first.audios if first else item.doc.audio)
    ]
    return scored


def sample_of(task: Task, item: DocRequests, responses: RunResponses, predict_only: bool) -> Sample:
    """Return a document's sample before any judge was asked."""
    found = _doc_responses(item, responses.by_request.get)
    return _scored(task, item, found, responses, None, predict_only).sample


def _doc_responses(item: DocRequests, response_for: Callable[[Request], Response | None]) -> list[Response]:
    """Return the responses to a document's requests; an error and a missing response become failed responses."""
    if item.error is not None:
        return [Response.failed(item.error)]
    found = [response_for(request) for request in item.requests]
    responses = [Response.failed(NOT_REACHED) if response is None else response for response in found]
    if item.dialogue is not None:
        # Ctrl-C may have ended the run between two turns
        responses += [Response.failed(NOT_REACHED)] * item.dialogue.lacks_turns(responses)
    return responses


def scored_sample(
    task: Task,
    doc: Doc,
    responses: Sequence[Response],
    verdict: JudgedRow | None = None,
    predict_only: bool = False,
) -> Sample:
    """Score one document. Judged readings read the judge's verdict, or leave the row out where there is none."""
    if verdict is None:
        return task.score(doc, responses, predict_only=predict_only)
    from marathon_eval.evaluator.judge import with_verdict

    sample = task.score(with_verdict(doc, verdict), responses)
    return replace(sample, judge=dict(verdict.record))


def judged_by(
    judge: Judge | None, task: Task, rows: Iterable[tuple[Doc, Sequence[Response]]]
) -> Judged | None:
    """Have the judge judge the rows; return None without a judge, or if the task uses none."""
    if judge is None or task.config.judge is None:
        return None
    from marathon_eval.evaluator.judge import judge_task

    return judge_task(task, rows, judge)


def _audio_record(audio: Audio, facts: Mapping[Audio, AudioFacts]) -> dict[str, Any]:
    """Return an audio reference as samples_<task>.jsonl stores it, without the audio itself."""
    measured = facts.get(audio)
    return {
        "path": audio.path,
        "start": audio.start,
        "stop": audio.stop,
        "transform": audio.transform,
        "seconds": round(measured.seconds, 3) if measured else None,
        "sha256": measured.sha256 if measured else None,
    }
