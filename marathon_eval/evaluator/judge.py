"""LLM-as-judge: any `Model` judges answers, and its replies are cached like any other answer.

The first try is greedy. A reply that cannot be read is asked again, at most three times, at temperature 0.3 with seed + i:
each try has its own cache key, is counted and shown, and is never scored. A judge that fails makes an error row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.filter import Answer
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.evaluator.judge_prompts import Call, JudgeKind, check_judging
from marathon_eval.files import sha256_of
from marathon_eval.scoring.judge import JUDGE_VERDICTS_FIELD
from marathon_eval.scoring.reasoning import parted
from marathon_eval.task.task import Task

if TYPE_CHECKING:
    from collections.abc import Hashable

    from marathon_eval.api.model import Model, Request, Response
    from marathon_eval.task.task import Doc

RETRIES = 3
RETRY_TEMPERATURE = 0.3


@dataclass
class JudgeReply:
    """What came of one call: its reading, every text on the way there, or why the judge gave none."""

    value: Any = None
    texts: tuple[str, ...] = ()
    cached: int = 0
    error: str | None = None


class JudgedRow(NamedTuple):
    """One row's verdicts by kind, what the sample keeps of them, or why the row could not be judged."""

    answers: Mapping[str, Answer]
    record: Mapping[str, Any]
    error: str | None = None


class Judged(NamedTuple):
    """One task's rows judged, and what results.json keeps of the judging."""

    verdicts: Mapping[int, JudgedRow]
    facts: Mapping[str, Any]


class Judge:
    """A model that judges, with the cache that keeps its replies."""

    def __init__(
        self, model: Model, cache: ResponseCache, generation: Mapping[str, Any] | None = None
    ) -> None:
        self.model = model
        self.cache = cache
        model.cache = cache
        #: Laid over the tasks' own settings: a judge that reasons needs more tokens than its verdict.
        self.generation = dict(generation or {})

    @property
    def name(self) -> str:
        """What its metrics are called by."""
        return judge_name(self.model)

    def ask(self, calls: Sequence[Call]) -> dict[Hashable, JudgeReply]:
        """A reply to every call, unreadable ones asked again."""
        replies: dict[Hashable, JudgeReply] = {call.key: JudgeReply() for call in calls}
        waiting = list(calls)
        for attempt in range(RETRIES + 1):
            self._ask_once([(call, self._request(call, attempt)) for call in waiting], replies)
            waiting = [
                call
                for call in waiting
                if replies[call.key].value is None and replies[call.key].error is None
            ]
        return replies

    def _request(self, call: Call, attempt: int) -> Request:
        """The request of a try; later ones are sampled a little, so that they can come out otherwise."""
        made = replace(call.request, generation=replace(call.request.generation, **self.generation))
        if attempt == 0:
            return made
        seed = (made.generation.seed or 0) + attempt
        return replace(made, generation=replace(made.generation, temperature=RETRY_TEMPERATURE, seed=seed))

    def _ask_once(self, asked: Sequence[tuple[Call, Request]], replies: dict[Hashable, JudgeReply]) -> None:
        """Equal requests of several calls are asked once."""
        by_request: dict[Request, list[Call]] = {}
        for call, request in asked:
            by_request.setdefault(request, []).append(call)
        for request, response, cached in (
            self.cache.answer(self.model, list(by_request)) if by_request else ()
        ):
            for call in by_request[request]:
                note_response(replies[call.key], response, call, cached)


def note_response(reply: JudgeReply, response: Response, call: Call, cached: bool) -> None:
    """Note one response. A refusal is a reply that cannot be read; a failure is the end of the call."""
    if response.status == "error":
        reply.error = f"the judge failed: {response.error}"
        return
    reply.texts = (
        *reply.texts,
        response.text if response.status != "refused" else f"refused: {response.error}",
    )
    reply.cached += cached
    # a judge that reasons is read after its thoughts
    spoken = parted(response.text).answer if response.status != "refused" else None
    reply.value = None if spoken is None else call.read(spoken)


def judge_name(model: Model) -> str:
    """The judging model's own name where its arguments say one (a folder's last part), else its adapter's."""
    settings = model.settings.model_dump(mode="json")
    named = (settings.get(key) for key in ("identity", "model", "pretrained"))
    name = next((str(name) for name in named if name), model.name())
    return Path(name).name if Path(name).is_dir() else name


def with_judge_named(task: Task, name: str | None) -> Task:
    """The task as it is scored with this judge, or with none: judged metrics carry the judge's name.

    Without a judge, readings that are optional are left out. Raises MarathonError where a judge is needed.
    """
    kinds = task.config.judge
    if kinds is None:
        return task
    check_judging(task)
    readings: dict[str, bool] = {}
    for kind in dict(kinds).values():
        if kind is not None:
            readings |= dict.fromkeys(_listed(kind.readings), kind.optional)
    if name is None and not all(readings.values()):
        where = task.document.where("judge")
        raise MarathonError(f"{where}: {task.name} is scored by a judge: give --judge_model and --judge_args")
    return renamed(task, set(readings), name)


def renamed(task: Task, judged: set[str], name: str | None) -> Task:
    """The same YAML with `metric[judge]` in the judged readings; with no name, without these readings."""
    values = dict(task.document.values)
    every = [spec["name"] for spec in task.config.filter_list]
    metrics: list[dict[str, Any]] = []
    for spec in task.config.metric_list:
        wanted = _listed(spec.get("filter_list", every))
        plain, ours = [r for r in wanted if r not in judged], [r for r in wanted if r in judged]
        if plain:
            metrics.append({**spec, "filter_list": plain})
        if ours and name is not None:
            metrics.append(
                {**spec, "filter_list": ours, "name": f"{_metric_name(task, spec, ours[0])}[{name}]"}
            )
    values["metric_list"] = metrics
    headline = task.config.headline
    if name is None:
        values["filter_list"] = [spec for spec in task.config.filter_list if spec["name"] not in judged]
    elif headline is not None and headline.reading in judged:
        values["headline"] = {**headline.model_dump(), "metric": f"{headline.metric}[{name}]"}
    return Task(replace(task.document, values=values))


def judge_task(task: Task, rows: Iterable[tuple[Doc, Sequence[Response]]], judge: Judge) -> Judged:
    """Every answered row judged. A row with several answers is judged by its first."""
    kinds = [JudgeKind(name, spec, task) for name, spec in task.config.judge or () if spec is not None]
    said = {
        doc.doc_id: (doc, parted(responses[0].text))
        for doc, responses in rows
        if doc.error is None and responses and responses[0].status in ("ok", "unverified")
    }
    calls: dict[tuple[int, str], list[Call]] = {}
    errors: dict[int, str] = {}
    for number, (doc, words) in said.items():
        for kind in kinds:
            try:
                if kind.settled(doc, words) is None:
                    calls[number, kind.name] = kind.calls(doc, words)
            except RowError as error:
                errors[number] = f"row {number}: judge: {kind.name}: {error}"
    replies = judge.ask([call for group in calls.values() for call in group])
    verdicts: dict[int, JudgedRow] = {}
    for number, (doc, words) in said.items():
        answers: dict[str, Answer] = {}
        record: dict[str, Any] = {}
        for kind in kinds:
            settled = kind.settled(doc, words)
            got = [replies[call.key] for call in calls.get((number, kind.name), ())]
            failed = next((reply.error for reply in got if reply.error), None)
            if failed is not None:
                errors.setdefault(number, f"row {number}: {failed}")
            elif number not in errors:
                answers[kind.name] = settled or kind.verdict(doc, [reply.value for reply in got])
            record[kind.name] = [list(reply.texts) for reply in got]
        verdicts[number] = JudgedRow(answers, record, errors.get(number))
    return Judged(verdicts, _facts(judge, kinds, replies.values(), verdicts))


def with_verdict(doc: Doc, verdict: JudgedRow) -> Doc:
    """The document with its verdicts where the judged readings look for them."""
    return replace(doc, fields={**doc.fields, JUDGE_VERDICTS_FIELD: verdict.answers})


def _facts(
    judge: Judge, kinds: Sequence[JudgeKind], replies: Iterable[JudgeReply], verdicts: Mapping[int, JudgedRow]
) -> dict[str, Any]:
    every = list(replies)
    return {
        "name": judge.name,
        "fingerprint_sha256": sha256_of(judge.model.fingerprint),
        "prompts_sha256": {kind.name: sha256_of([kind.spec.system, kind.spec.prompt]) for kind in kinds},
        "n_judged": sum(verdict.error is None for verdict in verdicts.values()),
        "n_calls": sum(len(reply.texts) for reply in every),
        "n_cached": sum(reply.cached for reply in every),
        "n_retries": sum(max(0, len(reply.texts) - 1) for reply in every),
        "n_unparsed": sum(reply.value is None and reply.error is None for reply in every),
        "n_failed": sum(reply.error is not None for reply in every),
    }


def _metric_name(task: Task, spec: Mapping[str, Any], reading: str) -> str:
    """The name that the metric has without a judge: the one of the built metric at the same place."""
    from marathon_eval.scoring.metrics.build import build_metric

    return build_metric({key: value for key, value in spec.items() if key != "filter_list"}, reading).name


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
