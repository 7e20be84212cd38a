"""What a run would cost, and whether it could: its rows, hours, tokens and time, without a question asked."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Model, Request, Usage
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.cache.database import TABLE, read_only
from marathon_eval.cache.entry import response_from
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.eta import Forecast
from marathon_eval.evaluator.preflight import Check, RunBeforeStart, checks
from marathon_eval.evaluator.requests import RequestPool, ordered, seconds_of
from marathon_eval.files import sha256_of

if TYPE_CHECKING:
    from marathon_eval.api.audio import Audio, AudioFacts

#: Answers of the same model that its forecast is made from.
ANSWERS_READ = 500


@dataclass(frozen=True)
class TaskCost:
    """One task's rows; `error` is the first reason why one cannot be asked. Hours are of its different clips."""

    rows: int
    errors: int
    error: str | None
    clips: int
    hours: float
    requests: int


@dataclass(frozen=True)
class Cost:
    """What one model, with one press and ratio, would be asked; seconds and tokens are those of the misses alone.

    `audio_tokens` None: the model's rate is not known. `forecast_s` None: nothing of this model was timed yet.
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


@dataclass(frozen=True)
class DryRun:
    """All that `--dry_run` prints."""

    tasks: dict[str, TaskCost]
    costs: list[Cost]
    clips: int
    hours: float
    checks: list[Check]
    sample: dict[str, Any] | None

    @property
    def faults(self) -> list[str]:
        """What would stop the run: nothing does where every answer is in the cache."""
        if not any(cost.misses for cost in self.costs):
            return []
        return [check.fault for check in self.checks if check.fault]

    def as_json(self) -> dict[str, Any]:
        """The same as JSON."""
        found = asdict(self)
        found["checks"] = [check._asdict() for check in self.checks]
        return {"dry_run": True, **found}


def dry_run(plan: RunBeforeStart, labels: Sequence[str] = ("",)) -> DryRun:
    """Count and check; `labels` name `plan.models` where there are several. Loads no weights. Raises MarathonError."""
    requests, facts = ordered(plan.pool, plan.cache)
    costs = [
        _cost(label, model, requests, facts, plan.cache)
        for label, model in zip(labels, plan.models, strict=True)
    ]
    found = list(checks(plan, sum(cost.misses for cost in costs)))
    return DryRun(
        {name: _task_cost(plan.pool, name, facts) for name in plan.tasks},
        costs,
        len({fact.sha256 for fact in facts.values()}),
        _hours(facts, [audio for request in requests for audio in request.audios]),
        found,
        _sample(plan.pool),
    )


def _task_cost(pool: RequestPool, name: str, facts: Mapping[Audio, AudioFacts]) -> TaskCost:
    asked = pool.asked[name]
    audios = [audio for item in asked for request in item.requests for audio in request.audios]
    unheard = [f"{audio.path}: cannot be heard" for audio in dict.fromkeys(audios) if audio not in facts]
    errors = [item.error for item in asked if item.error is not None]
    return TaskCost(
        rows=len(asked),
        errors=len(errors)
        + sum(any(a not in facts for r in item.requests[:1] for a in r.audios) for item in asked),
        error=next(iter([*errors, *unheard]), None),
        clips=len({facts[audio].sha256 for audio in audios if audio in facts}),
        hours=_hours(facts, audios),
        requests=sum(len(item.requests) for item in asked),
    )


def _hours(facts: Mapping[Audio, AudioFacts], audios: Sequence[Audio]) -> float:
    """Hours of the different clips."""
    heard = {facts[audio].sha256: facts[audio].seconds for audio in audios if audio in facts}
    return round(sum(heard.values()) / 3600, 4)


def _cost(
    label: str,
    model: Model,
    requests: Sequence[Request],
    facts: Mapping[Audio, AudioFacts],
    cache: ResponseCache,
) -> Cost:
    fingerprint = sha256_of(model.fingerprint)
    keyed, failed = cache.keyed(fingerprint, requests)
    stored = cache.get_many(entry.key for entry in keyed.values())
    misses = [request for request, entry in keyed.items() if entry.key not in stored]
    seconds = sum(seconds_of(request, facts) for request in misses)
    usages = list(known_usages(cache, fingerprint))
    rate = _rate(model, usages)
    forecast, timed = _forecast(usages, model)
    left = forecast.left(len(misses), seconds) if timed or not misses else None
    at_once = int(getattr(model.settings, "concurrency", 1))
    return Cost(
        label=label,
        hits=len(keyed) - len(misses),
        misses=len(misses),
        unheard=len(failed),
        audio_hours=round(seconds / 3600, 4),
        token_rate=rate,
        audio_tokens=None if rate is None else round(rate * seconds),
        most_output_tokens=sum(request.generation.max_new_tokens for request in misses),
        forecast_s=None if left is None else round(left / at_once, 1),
        timed=timed,
    )


def known_usages(cache: ResponseCache, fingerprint: str) -> Iterator[Usage]:
    """What up to 500 answers of this very model have cost."""
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
        except (
            ValueError,
            KeyError,
            TypeError,
        ):  # a damaged answer is no measure; the run would ask it again
            continue


def _rate(model: Model, usages: Sequence[Usage]) -> float | None:
    """Audio tokens per second: the adapter's word, else what its answers counted."""
    told = getattr(model, "token_rate", None) or getattr(model.settings, "audio_tokens_per_second", None)
    if told:
        return float(told)
    counted = [
        (use.audio_tokens, use.heard_seconds) for use in usages if use.audio_tokens and use.heard_seconds
    ]
    tokens, seconds = sum(one[0] for one in counted), sum(one[1] for one in counted)
    return round(tokens / seconds, 3) if seconds else None


def _forecast(usages: Sequence[Usage], model: Model) -> tuple[Forecast, int]:
    """Seconds per answer by seconds heard, from answers whose stages were timed; how many they are."""
    forecast, timed = Forecast(), 0
    for usage in usages:
        stages = [part for part in (usage.encode_s, usage.prefill_s, usage.decode_s) if part is not None]
        if stages and usage.heard_seconds:
            forecast.add(usage.heard_seconds, sum(stages))
            timed += 1
    return forecast, timed


def _sample(pool: RequestPool) -> dict[str, Any] | None:
    """The first request as the model would get it."""
    for name, asked in pool.asked.items():
        for item in asked:
            for request in item.requests:
                return {
                    "task": name,
                    "doc_id": item.doc.doc_id,
                    "system": request.system,
                    "prompt": request.prompt,
                    "audio": [audio.path for audio in request.audios],
                    "generation": asdict(request.generation),
                    "target": item.doc.target,
                }
    return None
