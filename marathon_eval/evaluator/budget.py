"""Stops a run that has spent its budget of requests, tokens or money; its answers are kept.

Counted are the requests that the model answers in this run, not those that the cache holds, and not the judge's. A request
that is in flight when the budget is spent is cancelled, and may be charged all the same: at most `concurrency=` of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

from marathon_eval.api.model import Model, Request, Response, Through, Usage
from marathon_eval.api.same_failures import NEVER_SENT
from marathon_eval.errors import MarathonError, did_you_mean

#: Audio tokens a second of a model whose rate is not known, in an estimate.
ASSUMED_AUDIO_RATE = 32.0
#: Characters of a prompt per token, in an estimate.
CHARACTERS_PER_TOKEN = 4
#: What has a price, per million tokens. Without `audio`, audio tokens cost as others that go in.
PRICED = ("in", "out", "audio")
PER = 1_000_000


@dataclass(frozen=True)
class Budget:
    """Holds the limits of a run, each None for no limit, and the prices per million tokens."""

    max_requests: int | None = None
    max_tokens_total: int | None = None
    max_cost: float | None = None
    prices: Mapping[str, float] = field(default_factory=dict)

    @property
    def given(self) -> bool:
        """Whether anything is limited or priced."""
        return bool(self.prices) or self.limited

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return any(limit is not None for limit in (self.max_requests, self.max_tokens_total, self.max_cost))

    @property
    def needs_tokens(self) -> bool:
        """Whether the limits need token counts."""
        return self.max_tokens_total is not None or self.max_cost is not None

    def cost(self, input_tokens: int, output_tokens: int, audio_tokens: int | None) -> float:
        """Return the price of one request.

        `input_tokens` include the audio's. Where their number is not known, all tokens that went in cost the higher
        of both prices, so that a budget is never exceeded for want of a count.
        """
        text_price = self.prices.get("in", 0.0)
        audio_price = self.prices.get("audio", text_price)
        if audio_tokens is None:
            cost_in = input_tokens * max(text_price, audio_price)
        else:
            audio = min(audio_tokens, input_tokens)
            cost_in = audio * audio_price + (input_tokens - audio) * text_price
        return (cost_in + output_tokens * self.prices.get("out", 0.0)) / PER


class BudgetEstimate(NamedTuple):
    """Holds what a run's missing requests may take at most, before they are asked.

    `assumed` says that the model's audio tokens per second are not known; 32 are assumed.
    """

    requests: int
    tokens: int
    cost: float | None
    assumed: bool
    exceeded: list[str]


def budget_estimate(
    budget: Budget, requests: Sequence[Request], audio_seconds: float, rate: float | None
) -> BudgetEstimate:
    """Estimate tokens and cost of requests with so many seconds of audio, each with its longest answer."""
    audio = math.ceil(audio_seconds * (ASSUMED_AUDIO_RATE if rate is None else rate))
    characters = sum(len(request.prompt) + len(request.system or "") for request in requests)
    into = audio + math.ceil(characters / CHARACTERS_PER_TOKEN)
    out = sum(request.generation.max_new_tokens for request in requests)
    cost = budget.cost(into, out, audio) if budget.prices else None
    limits = {
        "--max_requests": (budget.max_requests, len(requests)),
        "--max_tokens_total": (budget.max_tokens_total, into + out),
        "--max_cost": (budget.max_cost, cost or 0.0),
    }
    exceeded = [
        f"{flag} {limit:g}"
        for flag, (limit, needed) in limits.items()
        if limit is not None and needed > limit
    ]
    return BudgetEstimate(
        len(requests), into + out, None if cost is None else round(cost, 6), rate is None, exceeded
    )


def checked_budget(
    max_requests: int | None, max_tokens_total: int | None, max_cost: float | None, prices: Mapping[str, Any]
) -> Budget:
    """Return the budget that the flags describe. Raises MarathonError that names the flag and what is allowed."""
    for flag, limit in (("--max_requests", max_requests), ("--max_tokens_total", max_tokens_total)):
        if limit is not None and limit < 1:
            raise MarathonError(f"{flag}: must be a whole number from 1, got {limit}")
    if max_cost is not None and not 0 < max_cost < math.inf:
        raise MarathonError(f"--max_cost: must be a number above 0, got {max_cost:g}")
    for name, price in prices.items():
        if name not in PRICED:
            raise MarathonError(
                f"--prices: no price '{name}'.{did_you_mean(name, PRICED)} Prices, per million tokens: {', '.join(PRICED)}"
            )
        if isinstance(price, bool) or not isinstance(price, int | float) or price < 0:
            raise MarathonError(f"--prices: {name} must be a number from 0, got {price!r}")
    if max_cost is not None and not {"in", "out"} <= set(prices):
        raise MarathonError("--max_cost: needs --prices in=X,out=Y (and audio=Z), per million tokens")
    return Budget(
        max_requests, max_tokens_total, max_cost, {name: float(price) for name, price in prices.items()}
    )


@dataclass
class Spending:
    """Counts what a run's requests took, and stops asking when its budget is spent."""

    budget: Budget
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    audio_tokens: int = 0
    cost: float = 0.0
    uncounted: int = 0
    #: The limit that kept requests from being asked.
    reached: str | None = None

    def through(self, inner: Through) -> Through:
        """Return a function that sends requests by `inner` as long as the budget lasts.

        Every other request gets a failed response that names the limit. The function raises MarathonError when tokens
        are limited and the model reports none.
        """

        def send(model: Model, requests: Sequence[Request]) -> Iterator[tuple[Request, Response]]:
            waiting = dict.fromkeys(requests)
            left = self._requests_left()
            affordable = list(requests) if left is None else list(requests)[:left]
            if affordable and self.spent() is None:
                # a generator, in every case: closing it cancels what is in flight
                with closing(cast("Any", inner(model, affordable))) as answers:
                    for request, response in answers:
                        waiting.pop(request, None)
                        yield request, response  # first of all, so that it is kept whatever follows
                        self._note(response, model)
                        if self.spent() is not None:
                            break
            if waiting:
                self.reached = self.spent() or "the model gave no answer"
            for request in waiting:
                yield request, Response.failed(f"{NEVER_SENT}{self.reached}")

        return send

    def spent(self) -> str | None:
        """Return which limit is reached, or None."""
        budget = self.budget
        tokens = self.input_tokens + self.output_tokens
        if budget.max_requests is not None and self.requests >= budget.max_requests:
            return f"--max_requests {budget.max_requests} is reached"
        if budget.max_tokens_total is not None and tokens >= budget.max_tokens_total:
            return f"--max_tokens_total {budget.max_tokens_total} is reached, with {tokens} tokens"
        if budget.max_cost is not None and self.cost >= budget.max_cost:
            return f"--max_cost {budget.max_cost:g} is reached, with {self.cost:.4f}"
        return None

    def as_json(self) -> dict[str, Any]:
        """Return the entry `spent` of results.json; `reached` is the limit that ended the asking."""
        counts: dict[str, Any] = {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "audio_tokens": self.audio_tokens,
            "output_tokens": self.output_tokens,
            "requests_without_counts": self.uncounted,
            "reached": self.reached,
        }
        if self.budget.prices:
            counts |= {"cost": round(self.cost, 6), "prices": dict(self.budget.prices)}
        return counts

    def _requests_left(self) -> int | None:
        limit = self.budget.max_requests
        return None if limit is None else max(0, limit - self.requests)

    def _note(self, response: Response, model: Model) -> None:
        if response.status == "error" and (response.error or "").startswith(NEVER_SENT):
            return
        self.requests += 1
        usage: Usage = response.usage
        if usage.input_tokens is None and usage.output_tokens is None:
            self.uncounted += 1
            if self.budget.needs_tokens and response.status != "error":
                flag = "--max_cost" if self.budget.max_cost is not None else "--max_tokens_total"
                raise MarathonError(
                    f"{flag}: {model.flags.model} {model.name()} reports no token counts, so the budget can't be kept; "
                    "--max_requests can (answers so far are in the cache)"
                )
            return
        into, out = usage.input_tokens or 0, usage.output_tokens or 0
        self.input_tokens += into
        self.output_tokens += out
        self.audio_tokens += usage.audio_tokens or 0
        self.cost += self.budget.cost(into, out, usage.audio_tokens)
