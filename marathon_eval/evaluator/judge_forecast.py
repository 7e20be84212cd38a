"""Counts what a run's judge would be asked, for a dry run: its prompts are filled in, and nothing is sent.

Where the cache has the model's answer, the judge's own call is built and looked up, with the further attempts after a
reply that cannot be read. Every other row counts with a placeholder in the place of its answer, and with the most tokens
that the answer may have. Answers that are put together from windows or turns count as such rows too.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from marathon_eval.api.model import Model, Request, Response
from marathon_eval.api.same_failures import NEVER_SENT
from marathon_eval.cache.entry import response_from
from marathon_eval.errors import MarathonError, RowError
from marathon_eval.evaluator.budget import JudgeShare, price_of, text_tokens
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.judge_prompts import Call, JudgeKind
from marathon_eval.evaluator.preflight import RunBeforeStart
from marathon_eval.scoring.reasoning import Parted, parted
from marathon_eval.task.judged_readings import judge_kinds

if TYPE_CHECKING:
    from marathon_eval.evaluator.judge import Judge
    from marathon_eval.task.task import Task


@dataclass(frozen=True)
class JudgeCost:
    """Estimates what one judge would be asked: calls in the cache, missing ones, and the most tokens these take."""

    name: str
    hits: int
    misses: int
    input_tokens: int
    output_tokens: int


def judge_costs(plan: RunBeforeStart) -> list[JudgeCost]:
    """Estimate the requests to each of the run's judges; empty for a run without a judged task."""
    judged = {
        name: task
        for name, task in plan.tasks.items()
        if task.config.judge is not None and task.has_gold and not plan.config.predict_only
    }
    if plan.judge is None or not judged:
        return []
    from marathon_eval.evaluator.evaluator import judge_with

    judge = judge_with(plan.judge, plan.cache, plan.config.judge_gen_kwargs)
    assert judge is not None
    calls: list[Call] = []
    tokens_to_come = 0
    for model in plan.models:
        for name, task in judged.items():
            found, tokens = _calls_of_task(plan, model, name, task)
            calls += found
            tokens_to_come += tokens
    return [_cost(judge, name, member, calls, tokens_to_come) for name, member in judge.members.items()]


def share_of(costs: Sequence[JudgeCost], prices: Mapping[str, Mapping[str, float]]) -> JudgeShare:
    """Return what all judges may take together; `prices` are theirs, by their names."""
    return JudgeShare(
        sum(cost.misses for cost in costs),
        sum(cost.input_tokens for cost in costs),
        sum(cost.output_tokens for cost in costs),
        sum(price_of(prices.get(cost.name, {}), cost.input_tokens, cost.output_tokens, 0) for cost in costs),
    )


def _calls_of_task(plan: RunBeforeStart, model: Model, name: str, task: Task) -> tuple[list[Call], int]:
    """Return the calls about a task's rows, and the most tokens of the answers that are still to come in them."""
    kinds = [JudgeKind(kind, spec, task) for kind, spec in judge_kinds(task.config).items()]
    items = [item for item in plan.pool.doc_requests[name] if item.error is None and item.requests]
    known = plan.cache.known(model, [item.requests[0] for item in items if _is_plain(plan, item)])
    calls: list[Call] = []
    tokens = 0
    for item in items:
        request = item.requests[0]
        entry = known.get(request)
        if entry is not None:
            response = response_from(entry.value["response"])
            if response.status in ("ok", "unverified"):
                calls += _calls_about(kinds, item, response.text)
            continue
        found = _calls_about(kinds, item, None)
        calls += found
        tokens += request.generation.max_new_tokens * len(found)
    return calls, tokens


def _is_plain(plan: RunBeforeStart, item: DocRequests) -> bool:
    """Whether the cache holds the text that is judged as it is: that of no window and no dialogue."""
    return item.dialogue is None and item.requests[0] not in plan.pool.splits


def _calls_about(kinds: Sequence[JudgeKind], item: DocRequests, text: str | None) -> list[Call]:
    """Return the calls about one row's answer, or about the placeholder of an answer to come."""
    calls: list[Call] = []
    for kind in kinds:
        try:
            if text is None:
                # unlike for each row, as answers are: equal prompts are asked once
                to_come = Parted("", f"(the answer to row {item.doc.doc_id} of {kind.task.name})")
                calls += kind.calls(item.doc, to_come)
            elif kind.settled(item.doc, parted(text), text) is None:
                calls += kind.calls(item.doc, parted(text))
        except RowError:  # a row without a column of the prompt is not judged
            continue
    return calls


def _cost(judge: Judge, name: str, member: Model, calls: Sequence[Call], tokens_to_come: int) -> JudgeCost:
    missing: list[Request] = []

    def noted(_: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
        missing.extend(requests)
        for request in requests:
            yield request, Response.failed(f"{NEVER_SENT}a dry run")

    judge.through = lambda _, __: noted
    distinct = {call.request for call in calls}
    try:
        judge.cache.knows(member.fingerprint)
    except MarathonError:  # the check of its weights reports why the judge has no fingerprint
        missing = list(distinct)
    else:
        judge.ask_one(member, calls)
    return JudgeCost(
        name=name,
        hits=len(distinct) - len(missing),
        misses=len(missing),
        input_tokens=text_tokens(missing) + tokens_to_come,
        output_tokens=sum(request.generation.max_new_tokens + member.thinking_room for request in missing),
    )
