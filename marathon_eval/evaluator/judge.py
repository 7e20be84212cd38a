"""Asks a judge (LLM-as-judge): any `Model` may judge responses, and its replies are cached like other responses.

The first attempt is greedy. If a reply cannot be parsed, the judge is asked again, at most three times, at
temperature 0.3 with seed + attempt. Each attempt has its own cache key and is counted and stored in the sample. A reply
that is never parsed, a refusal and a failure leave the row out of the judge's own readings, and change no other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.complete import complete
from marathon_eval.api.filter import Answer
from marathon_eval.api.model import Response, Through
from marathon_eval.api.same_failures import never_sent
from marathon_eval.api.secrets import without_all_secrets
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.evaluator.judge_names import judge_name
from marathon_eval.evaluator.judge_prompts import Call, JudgeKind, check_judge_columns
from marathon_eval.evaluator.spending import UncountedTokens
from marathon_eval.files import sha256_of
from marathon_eval.scoring.judge import (
    FAILED_MARK,
    JUDGE_FAILED,
    JUDGE_NOT_ASKED,
    JUDGE_VERDICTS_FIELD,
    OFF_SCALE,
    OFF_SCALE_MARK,
    UNPARSED,
)
from marathon_eval.scoring.reasoning import parted
from marathon_eval.task.judged_readings import judge_kinds

if TYPE_CHECKING:
    from collections.abc import Hashable

    from marathon_eval.api.model import Model, Request
    from marathon_eval.evaluator.spending import Spending
    from marathon_eval.task.task import Doc, Task

#: Attempts after the first for a reply that cannot be parsed.
RETRIES = 3
#: Sampling temperature of these attempts.
RETRY_TEMPERATURE = 0.3


@dataclass
class JudgeReply:
    """Holds the outcome of one call: the parsed value, the texts of all attempts, and what is wrong with them or the judge's error."""

    value: Any = None
    texts: tuple[str, ...] = ()
    #: Replies from the cache and requests that the judge was sent; several calls that share one are counted once.
    cached: int = 0
    asked: int = 0
    error: str | None = None
    #: Which grade of the last attempt the task does not have, as in `7 is outside 1 to 5`.
    off_scale: str | None = None


class JudgedRow(NamedTuple):
    """Holds one row's verdicts by kind of judging, and their record for the sample: all texts, and what failed."""

    answers: Mapping[str, Answer]
    record: Mapping[str, Any]


class Judged(NamedTuple):
    """Holds the verdicts of one task by doc_id, and the facts about the judge that results.json stores."""

    verdicts: Mapping[int, JudgedRow]
    facts: Mapping[str, Any]


class Judge:
    """Asks a judging model, with the cache that stores its replies."""

    def __init__(
        self, model: Model, cache: ResponseCache, generation: Mapping[str, Any] | None = None
    ) -> None:
        self.model = model
        #: The judging models by the names that their grades carry: one, or those of a panel.
        self.members = {judge_name(member): member for member in model.members}
        self.cache = cache
        for member in (model, *model.members):
            member.cache = cache
        #: Returns what sends a judge's calls to it; several processes replace it.
        self.through: Callable[[Judge, Model], Through] = lambda judge, member: complete
        #: Overrides the tasks' generation settings: a judge that reasons needs more tokens than its verdict.
        self.generation = dict(generation or {})

    def bound(self, spending: Spending) -> None:
        """Count the calls of every judge against the run's budget, which ends them."""
        sent = self.through
        self.through = lambda judge, member: spending.judge_through(sent(judge, member), judge_name(member))

    @property
    def name(self) -> str:
        """Return the name that judged metrics carry, as in `metric[name]`."""
        return judge_name(self.model)

    def ask(self, calls: Sequence[Call]) -> dict[tuple[str, Hashable], JudgeReply]:
        """Return every judge's reply to every call, by the judge's name and the call's key."""
        return {
            (name, key): reply
            for name, member in self.members.items()
            for key, reply in self.ask_one(member, calls).items()
        }

    def ask_one(self, member: Model, calls: Sequence[Call]) -> dict[Hashable, JudgeReply]:
        """Return one judge's replies by the call's key; calls with an unparsed reply are asked again."""
        replies: dict[Hashable, JudgeReply] = {call.key: JudgeReply() for call in calls}
        unanswered = list(calls)
        for attempt in range(RETRIES + 1):
            requests = [(call, self._request(member, call, attempt)) for call in unanswered]
            self._ask_once(member, requests, replies)
            unanswered = [
                call
                for call in unanswered
                if replies[call.key].value is None and replies[call.key].error is None
            ]
        if len(self.members) > 1:  # the next judge needs the memory
            member.close()
        return replies

    def _request(self, member: Model, call: Call, attempt: int) -> Request:
        """Build the request of an attempt; after the first it is sampled, so that the reply can differ."""
        request = replace(
            call.request,
            generation=replace(call.request.generation, **self.generation),
            reply_schema=call.schema if member.takes_reply_schema else None,
        )
        if attempt == 0:
            return request
        seed = (request.generation.seed or 0) + attempt
        return replace(
            request, generation=replace(request.generation, temperature=RETRY_TEMPERATURE, seed=seed)
        )

    def _ask_once(
        self,
        member: Model,
        requests: Sequence[tuple[Call, Request]],
        replies: dict[Hashable, JudgeReply],
    ) -> None:
        """Ask each distinct request once and record its response for every call that shares it.

        What stops the judge (its server is down, its key is refused) fails the calls that are left: the model's answers
        have readings without a judge.
        """
        calls_by_request: dict[Request, list[Call]] = {}
        for call, request in requests:
            calls_by_request.setdefault(request, []).append(call)
        if not calls_by_request:
            return
        left = dict(calls_by_request)
        try:
            for request, response, cached in self.cache.answer(
                member, list(calls_by_request), through=self.through(self, member)
            ):
                first, *sharing = left.pop(request)
                _count(replies[first.key], response, cached)
                for call in (first, *sharing):
                    note_response(replies[call.key], response, call)
        except UncountedTokens:
            raise
        except MarathonError as error:
            reason = without_all_secrets(str(error), member.secrets())
            for call in (call for group in left.values() for call in group):
                note_response(replies[call.key], Response.failed(reason), call)


def _count(reply: JudgeReply, response: Response, cached: bool) -> None:
    """Count a response among those from the cache, or among those that the judge was asked for."""
    if cached:
        reply.cached += 1
    elif not never_sent(response):
        reply.asked += 1


def note_response(reply: JudgeReply, response: Response, call: Call) -> None:
    """Store one judge response in `reply`. A refusal counts as unparsed (asked again); an error ends the call."""
    if response.status == "error":
        reply.error = f"{FAILED_MARK}{response.error}"
        return
    reply.texts = (
        *reply.texts,
        response.text if response.status != "refused" else f"refused: {response.error}",
    )
    # the verdict of a judge that reasons stands after its reasoning
    answer = parted(response.text).answer if response.status != "refused" else None
    reply.value = None if answer is None else call.read(answer)
    reply.off_scale = None
    if answer is not None and reply.value is None and call.off_scale is not None:
        reply.off_scale = call.off_scale(answer)


def judge_task(task: Task, rows: Iterable[tuple[Doc, Sequence[Response]]], judge: Judge) -> Judged:
    """Judge every row that has a response; of several responses to a row, the first is judged.

    Raises MarathonError for a name in a prompt that no row has: a stored run that is judged later has no other check.
    """
    rows = list(rows)
    check_judge_columns(task, [doc for doc, _ in rows])
    kinds = [JudgeKind(name, spec, task) for name, spec in judge_kinds(task.config).items()]
    answered = {
        doc.doc_id: (doc, responses[0].text)
        for doc, responses in rows
        if doc.error is None and responses and responses[0].status in ("ok", "unverified")
    }
    judgings = {
        (number, kind.name): _judging(kind, doc, text)
        for number, (doc, text) in answered.items()
        for kind in kinds
    }
    replies = judge.ask([call for judging in judgings.values() for call in judging.calls])
    verdicts: dict[int, JudgedRow] = {}
    for number, (doc, _) in answered.items():
        answers: dict[str, Answer] = {}
        record: dict[str, Any] = {}
        for kind in kinds:
            judging = judgings[number, kind.name]
            by_judge = {name: [replies[name, call.key] for call in judging.calls] for name in judge.members}
            answers[kind.name] = judging.settled or _verdict(kind, doc, by_judge)
            record[kind.name] = [_texts(reply) for of_judge in by_judge.values() for reply in of_judge]
            record[kind.name] += judging.reasons
        verdicts[number] = JudgedRow(answers, record)
    return Judged(verdicts, _facts(judge, kinds, replies.values(), verdicts))


class _Judging(NamedTuple):
    """Holds the calls about one row, or the verdict if there is nothing to ask, with the reason if it cannot be asked."""

    calls: Sequence[Call]
    settled: Answer | None = None
    reasons: list[list[str]] = []  # noqa: RUF012 - never changed


def _judging(kind: JudgeKind, doc: Doc, text: str) -> _Judging:
    response = parted(text)
    try:
        settled = kind.settled(doc, response, text)
        return _Judging(kind.calls(doc, response) if settled is None else (), settled)
    except RowError as error:
        return _Judging(
            (), Answer(None, JUDGE_NOT_ASKED), [[f"not asked: row {doc.doc_id}: judge: {kind.name}: {error}"]]
        )


def _verdict(kind: JudgeKind, doc: Doc, replies: Mapping[str, Sequence[JudgeReply]]) -> Answer:
    """Combine the replies about one row; one failed call leaves the row out, since asking again may succeed."""
    if any(reply.error for of_judge in replies.values() for reply in of_judge):
        return Answer(None, JUDGE_FAILED)
    verdict = kind.verdict(
        doc, {name: [reply.value for reply in of_judge] for name, of_judge in replies.items()}
    )
    unread = [reply for of_judge in replies.values() for reply in of_judge if reply.value is None]
    if verdict.rule == UNPARSED and unread[0].off_scale is not None:
        return Answer(None, OFF_SCALE)
    return verdict


def _texts(reply: JudgeReply) -> list[str]:
    off_scale = None if reply.off_scale is None else OFF_SCALE_MARK + reply.off_scale
    return [*reply.texts, *(said for said in (reply.error, off_scale) if said)]


def with_verdict(doc: Doc, verdict: JudgedRow) -> Doc:
    """Return the document with the verdicts in the field that judged readings read (JUDGE_VERDICTS_FIELD)."""
    return replace(doc, fields={**doc.fields, JUDGE_VERDICTS_FIELD: verdict.answers})


def _facts(
    judge: Judge, kinds: Sequence[JudgeKind], replies: Iterable[JudgeReply], verdicts: Mapping[int, JudgedRow]
) -> dict[str, Any]:
    all_replies = list(replies)
    return {
        "name": judge.name,
        "fingerprint_sha256": sha256_of(judge.model.fingerprint),
        "prompts_sha256": {kind.name: sha256_of(kind.hashed()) for kind in kinds},
        "scales": {kind.name: sorted(kind.grading.spec.bounds()) for kind in kinds if kind.grading},
        "n_judged": sum(
            not any(answer.left_out for answer in verdict.answers.values()) for verdict in verdicts.values()
        ),
        "n_calls": sum(len(reply.texts) for reply in all_replies),
        "n_cached": sum(reply.cached for reply in all_replies),
        "n_asked": sum(reply.asked for reply in all_replies),
        "n_retries": sum(max(0, len(reply.texts) - 1) for reply in all_replies),
        "n_unparsed": sum(reply.value is None and reply.error is None for reply in all_replies),
        "n_failed": sum(reply.error is not None for reply in all_replies),
        "failure": next((reply.error for reply in reversed(all_replies) if reply.error), None),
    }
