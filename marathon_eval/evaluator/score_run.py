"""From answers to samples, and to what a task's result is made of: one document after the other."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.model import Request, Response
from marathon_eval.api.results import Sample
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.requests import DocRequests, RunResponses
from marathon_eval.files import sha256_of
from marathon_eval.results.compressed_samples import CompressedSamples
from marathon_eval.scoring.aggregation import Aggregation

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.evaluator.judge import Judge, Judged, JudgedRow
    from marathon_eval.task.task import Doc, Task


class TaskScores(NamedTuple):
    """A task's samples, what its result is made of, and what the judge of its answers has to say of itself."""

    samples: CompressedSamples
    aggregation: Aggregation
    facts: dict[str, Any]


def scored_task(
    task: Task,
    asked: list[DocRequests],
    answers: RunResponses,
    config: RunConfig,
    judge: Judge | None,
    emptied: bool = False,
) -> TaskScores:
    """Every document scored, and judged where the task has a judge.

    With `emptied`, what was asked and answered is given up document by document: nobody else needs it.
    """
    rows = ((item.doc, _responses(item, answers.by_request.get)) for item in asked)
    judged = None if config.predict_only else judged_by(judge, task, rows)
    verdicts = judged.verdicts if judged else {}
    scores = TaskScores(CompressedSamples(), task.aggregation(), {"judge": judged.facts} if judged else {})
    found = answers.by_request.take if emptied else answers.by_request.get
    for item in _emptied(asked) if emptied else asked:
        responses = _responses(item, found)
        sample = _sample(task, item, responses, answers, verdicts.get(item.doc.doc_id), config.predict_only)
        scores.samples.append(sample)
        scores.aggregation.add(sample, item.doc)
    return scores


def _emptied(items: list[DocRequests]) -> Iterator[DocRequests]:
    items.reverse()
    while items:
        yield items.pop()


def _sample(
    task: Task,
    item: DocRequests,
    responses: Sequence[Response],
    answers: RunResponses,
    verdict: JudgedRow | None,
    predict_only: bool,
) -> Sample:
    """A document's sample. One without an answer is an error row, never a wrong answer."""
    first = item.requests[0] if item.requests else None
    return replace(
        scored_sample(task, item.doc, responses, verdict, predict_only),
        cached=bool(item.requests) and all(request in answers.cached for request in item.requests),
        prompt_sha256=sha256_of([first.system, first.prompt]) if first else None,
        audio=[_described(audio, answers.facts) for audio in (first.audios if first else item.doc.audio)],
    )


def _responses(item: DocRequests, found: Callable[[Request], Response | None]) -> list[Response]:
    if item.error is not None:
        return [Response.failed(item.error)]
    got = (found(request) for request in item.requests)
    return [Response.failed("not asked: interrupted") if one is None else one for one in got]


def scored_sample(
    task: Task,
    doc: Doc,
    responses: Sequence[Response],
    verdict: JudgedRow | None = None,
    predict_only: bool = False,
) -> Sample:
    """One document's sample; a judge's verdict stands beside its fields, a judge's failure makes an error row."""
    if verdict is None:
        return task.score(doc, responses, predict_only=predict_only)
    if verdict.error is not None:
        responses = [replace(one, status="error", error=verdict.error) for one in responses]
    from marathon_eval.evaluator.judge import with_verdict

    sample = task.score(with_verdict(doc, verdict), responses)
    return replace(sample, judge=dict(verdict.record))


def judged_by(
    judge: Judge | None, task: Task, rows: Iterable[tuple[Doc, Sequence[Response]]]
) -> Judged | None:
    """The rows judged; None where nobody judges, or the task asks for no judge."""
    if judge is None or task.config.judge is None:
        return None
    from marathon_eval.evaluator.judge import judge_task

    return judge_task(task, rows, judge)


def _described(audio: Audio, facts: Mapping[Audio, AudioFacts]) -> dict[str, Any]:
    """An audio reference as a sample's line keeps it: never the data itself."""
    known = facts.get(audio)
    return {
        "path": audio.path,
        "start": audio.start,
        "stop": audio.stop,
        "transform": audio.transform,
        "seconds": round(known.seconds, 3) if known else None,
        "sha256": known.sha256 if known else None,
    }
