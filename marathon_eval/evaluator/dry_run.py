"""Estimates what a run would cost (rows, hours, tokens, time) and checks that it could start; asks no model."""

from __future__ import annotations

import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Model, Request, Usage
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.database import TABLE, read_only
from marathon_eval.cache.entry import response_from
from marathon_eval.cache.keys import to_be_sent
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget import Budget, BudgetEstimate, budget_estimate
from marathon_eval.evaluator.doc_requests import DocRequests
from marathon_eval.evaluator.eta import answer_forecast
from marathon_eval.evaluator.judge_forecast import JudgeCost, judge_costs, share_of
from marathon_eval.evaluator.notes_forecast import Combining, combining_requests
from marathon_eval.evaluator.preflight import Check, RunBeforeStart, checks, rows_too_long
from marathon_eval.evaluator.requests import RequestPool, ordered, seconds_of
from marathon_eval.files import sha256_of
from marathon_eval.results.failures import FailureKind, failure_kinds
from marathon_eval.scoring.intervals import has_interval, too_few
from marathon_eval.scoring.power import least_loss

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts
    from marathon_eval.task.task import Task

#: At most this many cached responses of a model are read for its forecast.
ANSWERS_READ = 500


@dataclass(frozen=True)
class TaskCost:
    """Counts one task's rows, requests and distinct clips (with their hours); `error` is the first error of a row.

    `n_length` counts the rows that --min_seconds and --max_seconds leave out.

    `least_loss` is the smallest loss of the headline, in its points, that a paired comparison on these rows shows with
    80 % power; `no_loss` is the reason why there is none.
    """

    rows: int
    errors: int
    error: str | None
    clips: int
    hours: float
    requests: int
    least_loss: float | None = None
    no_loss: str | None = None
    n_length: int = 0


@dataclass(frozen=True)
class Cost:
    """Estimates the cost of one model with one press and ratio. Hours, tokens and seconds count cache misses only.

    `unheard` counts requests whose audio cannot be decoded. `audio_tokens` is None if the model's tokens per second
    are not known; `forecast_s` is None if the cache has no timed response of this model. `timed` counts the timed
    responses. `padded_to` is the number of seconds to whose multiples the encoder pads each clip, which `audio_tokens`
    include; None if padding takes no tokens. `combining` of the misses combine the notes on windows, without audio and
    with at most `combining_tokens` of text.
    """

    label: str
    hits: int
    misses: int
    unheard: int
    audio_hours: float
    token_rate: float | None
    audio_tokens: int | None
    most_output_tokens: int
    forecast_s: float | None
    timed: int
    padded_to: float | None = None
    combining: int = 0
    combining_tokens: int = 0


@dataclass(frozen=True)
class DryRun:
    """Holds everything that `--dry_run` prints."""

    tasks: dict[str, TaskCost]
    costs: list[Cost]
    clips: int
    hours: float
    checks: list[Check]
    sample: dict[str, Any] | None
    #: What the missing requests of the first model and of the judge may take, where a budget or prices were given.
    estimate: BudgetEstimate | None = None
    #: Why rows cannot be asked, as a run groups the errors of failed rows.
    unasked: Sequence[FailureKind] = ()
    #: Rows that would fail: those that cannot be asked, and those with more audio than a model takes.
    would_fail: int = 0
    #: What each judge would be asked.
    judge: Sequence[JudgeCost] = ()

    @property
    def faults(self) -> list[str]:
        """Return the faults that would stop the run; none if every response is in the cache."""
        if not sum(cost.misses for cost in self.costs) + sum(cost.misses for cost in self.judge):
            return []
        return [check.fault for check in self.checks if check.fault]

    def as_json(self) -> dict[str, Any]:
        """Return the dry run as a JSON object."""
        values = asdict(self)
        values["checks"] = [check._asdict() for check in self.checks]
        if self.estimate is None:
            del values["estimate"]
        else:
            values["estimate"] = self.estimate._asdict()
        return {"dry_run": True, **values}


def dry_run(plan: RunBeforeStart, labels: Sequence[str] = ("",), budget: Budget | None = None) -> DryRun:
    """Estimate the cost of a run and check it, without weights; `labels` name `plan.models`. Raises MarathonError."""
    requests, facts = ordered(plan.pool, plan.cache)
    combining = [combining_requests(plan.pool, model, plan.cache) for model in plan.models]
    costs = [
        _cost(label, model, requests, facts, plan.cache, further)
        for label, model, further in zip(labels, plan.models, combining, strict=True)
    ]
    unheard = _unheard(plan.pool, facts, plan.cache)
    unasked = [row for name in plan.tasks for row in _unasked(plan.pool, name, unheard)]
    judges = judge_costs(plan)
    run_checks = list(checks(plan, sum(cost.misses for cost in costs)))
    return DryRun(
        {
            name: replace(
                _task_cost(plan.pool, name, facts, unheard), **_power(task, plan.pool.doc_requests[name])
            )
            for name, task in plan.tasks.items()
        },
        costs,
        len({facts[audio].sha256 for audio in _clips(plan.pool) if audio in facts}),
        _hours(facts, [audio for request in requests for audio in request.audios]),
        run_checks,
        _sample_request(plan.pool),
        _estimate(plan, requests, facts, (costs[0], judges, combining[0]), budget),
        failure_kinds(unasked),
        len({(name, doc_id) for name, doc_id, _ in unasked} | rows_too_long(plan)),
        judges,
    )


def _unheard(pool: RequestPool, facts: Mapping[Audio, AudioFacts], cache: ResponseCache) -> dict[Audio, str]:
    """Return why clips cannot be decoded, with their paths."""
    lacking = [audio for audio in _clips(pool) if audio not in facts]
    return cache.facts(lacking)[1] if lacking else {}


def _unasked(
    pool: RequestPool, name: str, unheard: Mapping[Audio, str]
) -> Iterator[tuple[str, int, str | None]]:
    """Yield (task, row, reason) of each row that cannot be asked."""
    for item in pool.doc_requests[name]:
        audios = (audio for request in item.requests[:1] for audio in request.audios)
        reason = item.error or next((unheard[audio] for audio in audios if audio in unheard), None)
        if reason is not None:
            yield name, item.doc.doc_id, reason


def _estimate(
    plan: RunBeforeStart,
    requests: Sequence[Request],
    facts: Mapping[Audio, AudioFacts],
    costs: tuple[Cost, Sequence[JudgeCost], Combining],
    budget: Budget | None,
) -> BudgetEstimate | None:
    if budget is None or not budget.given:
        return None
    misses = [*_missing(plan.models[0], requests, plan.cache), *costs[2].missing]
    seconds = sum(encoded_seconds(plan.models[0], request, facts) for request in misses)
    judged = share_of(costs[1], budget.judge_prices)
    to_come = costs[2].tokens_to_come
    room = plan.models[0].thinking_room
    return budget_estimate(budget, misses, seconds, costs[0].token_rate, judged, to_come, room)


def encoded_seconds(model: Model, request: Request, facts: Mapping[Audio, AudioFacts]) -> float:
    """Return the seconds of audio that take tokens: each clip's own, with the padding of the model's encoder."""
    window: float | None = getattr(model, "padded_to", None)
    if window is None:
        return seconds_of(request, facts)
    # a clip of exactly one window must not count as two because of its last bit
    windows = (
        max(1, math.ceil(round(facts[audio].seconds / window, 6)))
        for audio in request.audios
        if audio in facts
    )
    return window * sum(windows)


def _missing(model: Model, requests: Sequence[Request], cache: ResponseCache) -> list[Request]:
    """Return the requests that the cache lacks."""
    keyed, _ = cache.keyed(sha256_of(model.fingerprint), requests)
    return to_be_sent(keyed, cache.get_many(entry.key for entry in keyed.values()))


def _task_cost(
    pool: RequestPool, name: str, facts: Mapping[Audio, AudioFacts], unheard: Mapping[Audio, str]
) -> TaskCost:
    items = pool.doc_requests[name]
    audios = [audio for item in items for request in item.requests for audio in request.audios]
    reasons = [reason for _, _, reason in _unasked(pool, name, unheard)]
    return TaskCost(
        rows=len(items),
        errors=len(reasons),
        error=next(iter(reasons), None),
        clips=len({facts[audio].sha256 for audio in audios if audio in facts}),
        hours=_hours(facts, audios),
        requests=sum(_sent(pool, request) for item in items for request in item.requests),
        n_length=pool.docs[name].n_length,
    )


def _clips(pool: RequestPool) -> set[Audio]:
    """Return the clips of all rows, whole."""
    items = [item for items in pool.doc_requests.values() for item in items]
    return {audio for item in items for request in item.requests for audio in request.audios}


def _sent(pool: RequestPool, request: Request) -> int:
    """Return how many requests are sent for one: its windows, where its clip is cut, and what combines their notes."""
    split = pool.splits.get(request)
    return 1 if split is None else len(split.parts) + (split.windows.combine == "map_reduce")


def _power(task: Task, items: Sequence[DocRequests]) -> dict[str, Any]:
    """Return the fields of TaskCost on the loss that a press must cost to be seen."""
    headline = task.scorer.headline
    reading = task.scorer.readings.get(headline["reading"]) if headline else None
    metrics = [] if reading is None or headline is None else reading.metrics
    metric = next((each for each in metrics if each.name == headline["metric"]), None) if headline else None
    if metric is None or headline is None:
        return {"no_loss": "the task has no headline"}
    clusters = task.scorer.clusters([item.doc for item in items if item.error is None])
    counts = len(set(clusters)), len(clusters), metric.share and metric.rowwise
    if not has_interval(*counts):
        return {"no_loss": f"no difference will have an interval: {too_few(*counts)}"}
    if not metric.share:
        return {"no_loss": "known only for headlines that are shares, such as accuracy and F1"}
    loss = least_loss(clusters)
    if loss is None:
        return {"no_loss": f"not even the loss of all is shown by so few rows ({len(clusters)})"}
    return {"least_loss": round(loss * headline.get("scale", 1.0), 3)}


def _hours(facts: Mapping[Audio, AudioFacts], audios: Sequence[Audio]) -> float:
    """Return the hours of the distinct clips."""
    seconds_by_hash = {facts[audio].sha256: facts[audio].seconds for audio in audios if audio in facts}
    return round(sum(seconds_by_hash.values()) / 3600, 4)


def _cost(
    label: str,
    model: Model,
    requests: Sequence[Request],
    facts: Mapping[Audio, AudioFacts],
    cache: ResponseCache,
    combining: Combining,
) -> Cost:
    fingerprint = sha256_of(model.fingerprint)
    keyed, failed = cache.keyed(fingerprint, requests)
    stored = cache.get_many(entry.key for entry in keyed.values())
    asked = to_be_sent(keyed, stored)
    hits, misses = len(keyed) - len(asked) + combining.hits, asked + combining.missing
    seconds = sum(seconds_of(request, facts) for request in misses)
    usages = list(known_usages(cache, fingerprint))
    rate = _rate(model, usages)
    forecast = answer_forecast(usages)
    left = forecast.left(len(misses), seconds) if forecast.timed or not misses else None
    at_once = int(getattr(model.settings, "concurrency", 1))
    return Cost(
        label=label,
        hits=hits,
        misses=len(misses),
        unheard=len(failed),
        audio_hours=round(seconds / 3600, 4),
        token_rate=rate,
        audio_tokens=None
        if rate is None
        else round(rate * sum(encoded_seconds(model, request, facts) for request in misses)),
        most_output_tokens=sum(request.generation.max_new_tokens + model.thinking_room for request in misses),
        forecast_s=None if left is None else round(left / at_once, 1),
        timed=forecast.timed,
        padded_to=getattr(model, "padded_to", None),
        combining=len(combining.missing),
        combining_tokens=combining.input_tokens,
    )


def known_usages(cache: ResponseCache, fingerprint: str) -> Iterator[Usage]:
    """Yield the usage of up to ANSWERS_READ cached responses of one model. Raises MarathonError."""
    if cache.path is None:
        return
    query = (
        f"SELECT value FROM {TABLE} WHERE key >= 'response/' AND key < 'response0' "
        "AND instr(CAST(value AS TEXT), ?) LIMIT ?"
    )
    try:
        with closing(read_only(cache.path)) as connection:
            rows = connection.execute(query, (f'"fingerprint":"{fingerprint}"', ANSWERS_READ)).fetchall()
    except sqlite3.Error as error:
        raise MarathonError(f"{cache.path}: cannot read the cache ({error})") from None
    for (text,) in rows:
        try:
            yield response_from(json.loads(text)["response"]).usage
        except (ValueError, KeyError, TypeError):  # a damaged entry is skipped; the run would ask again
            continue


def _rate(model: Model, usages: Sequence[Usage]) -> float | None:
    """Return audio tokens per second: as the adapter declares, else as measured in cached responses."""
    declared = getattr(model, "token_rate", None) or getattr(model.settings, "audio_tokens_per_second", None)
    if declared:
        return float(declared)
    counted = [
        (use.audio_tokens, use.heard_seconds) for use in usages if use.audio_tokens and use.heard_seconds
    ]
    tokens, seconds = sum(count for count, _ in counted), sum(heard for _, heard in counted)
    return round(tokens / seconds, 3) if seconds else None


def _sample_request(pool: RequestPool) -> dict[str, Any] | None:
    """Return the first request as the model would get it."""
    for name, items in pool.doc_requests.items():
        for item in items:
            if (request := item.recorded) is not None:
                return {
                    "task": name,
                    "doc_id": item.doc.doc_id,
                    "system": request.system,
                    "prompt": request.shown(),
                    "audio": [audio.path for audio in request.audios],
                    "generation": asdict(request.generation),
                    "target": item.doc.target,
                }
    return None
