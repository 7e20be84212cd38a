"""Describes a run's budget of requests, tokens and money, with the prices of the model and of its judge.

The limits hold for both together; spending.py counts against them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.model import Model, Request
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.evaluator.config import RunConfig

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
    #: Prices of the judge's tokens; the judges of a panel share them.
    judge_prices: Mapping[str, float] = field(default_factory=dict)

    @property
    def given(self) -> bool:
        """Whether anything is limited or priced."""
        return bool(self.prices) or bool(self.judge_prices) or self.limited

    @property
    def limited(self) -> bool:
        """Whether anything is limited."""
        return any(limit is not None for limit in (self.max_requests, self.max_tokens_total, self.max_cost))

    def cost(self, input_tokens: int, output_tokens: int, audio_tokens: int | None) -> float:
        """Return the price of one request to the model; see `price_of`."""
        return price_of(self.prices, input_tokens, output_tokens, audio_tokens)


def price_of(
    prices: Mapping[str, float], input_tokens: int, output_tokens: int, audio_tokens: int | None
) -> float:
    """Return the price of one request.

    `input_tokens` include the audio's. Where their number is not known, all tokens that went in cost the higher
    of both prices, so that a budget is never exceeded for want of a count.
    """
    text_price = prices.get("in", 0.0)
    audio_price = prices.get("audio", text_price)
    if audio_tokens is None:
        cost_in = input_tokens * max(text_price, audio_price)
    else:
        audio = min(audio_tokens, input_tokens)
        cost_in = audio * audio_price + (input_tokens - audio) * text_price
    return (cost_in + output_tokens * prices.get("out", 0.0)) / PER


class JudgeShare(NamedTuple):
    """Counts what the judge's missing requests may take at most: requests, tokens in and tokens out."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0


class BudgetEstimate(NamedTuple):
    """Holds what the missing requests of a run's model and judge may take at most, before they are asked.

    `assumed` says that the model's audio tokens per second are not known; 32 are assumed. `judge_requests` is the
    judge's part of `requests`, of which a retry after an unreadable reply is none.
    """

    requests: int
    tokens: int
    cost: float | None
    assumed: bool
    exceeded: list[str]
    judge_requests: int = 0


def budget_estimate(
    budget: Budget,
    requests: Sequence[Request],
    audio_seconds: float,
    rate: float | None,
    judge: JudgeShare = JudgeShare(),  # noqa: B008 - never changed
) -> BudgetEstimate:
    """Estimate tokens and cost of requests with so many seconds of audio, each with its longest answer, and of a judge's."""
    audio = math.ceil(audio_seconds * (ASSUMED_AUDIO_RATE if rate is None else rate))
    into = audio + text_tokens(requests)
    out = sum(request.generation.max_new_tokens for request in requests)
    count, tokens = len(requests) + judge.requests, into + out + judge.input_tokens + judge.output_tokens
    judged = price_of(budget.judge_prices, judge.input_tokens, judge.output_tokens, 0)
    cost = budget.cost(into, out, audio) + judged if budget.prices or budget.judge_prices else None
    limits = {
        "--max_requests": (budget.max_requests, count),
        "--max_tokens_total": (budget.max_tokens_total, tokens),
        "--max_cost": (budget.max_cost, cost or 0.0),
    }
    exceeded = [
        f"{flag} {limit:g}"
        for flag, (limit, needed) in limits.items()
        if limit is not None and needed > limit
    ]
    rounded = None if cost is None else round(cost, 6)
    return BudgetEstimate(count, tokens, rounded, rate is None, exceeded, judge.requests)


def text_tokens(requests: Sequence[Request]) -> int:
    """Return about how many tokens the texts of requests have."""
    characters = sum(len(request.prompt) + len(request.system or "") for request in requests)
    return math.ceil(characters / CHARACTERS_PER_TOKEN)


def checked_budget(
    max_requests: int | None, max_tokens_total: int | None, max_cost: float | None, prices: Mapping[str, Any]
) -> Budget:
    """Return the budget that the flags describe. Raises MarathonError that names the flag and what is allowed."""
    for flag, limit in (("--max_requests", max_requests), ("--max_tokens_total", max_tokens_total)):
        if limit is not None and limit < 1:
            raise MarathonError(f"{flag}: must be a whole number from 1, got {limit}")
    if max_cost is not None and not 0 < max_cost < math.inf:
        raise MarathonError(f"--max_cost: must be a number above 0, got {max_cost:g}")
    checked = checked_prices(prices, "--prices")
    if max_cost is not None and not {"in", "out"} <= set(checked):
        raise MarathonError("--max_cost: needs --prices in=X,out=Y (and audio=Z), per million tokens")
    return Budget(max_requests, max_tokens_total, max_cost, checked)


def checked_prices(prices: Mapping[str, Any], flag: str) -> dict[str, float]:
    """Return the prices per million tokens that a flag gives. Raises MarathonError."""
    for name, price in prices.items():
        if name not in PRICED:
            raise MarathonError(
                f"{flag}: no price '{name}'.{did_you_mean(name, PRICED)} Prices, per million tokens: {', '.join(PRICED)}"
            )
        if isinstance(price, bool) or not isinstance(price, int | float) or price < 0:
            raise MarathonError(f"{flag}: {name} must be a number from 0, got {price!r}")
    return {name: float(price) for name, price in prices.items()}


def run_budget(config: RunConfig, judge: Model | None) -> Budget:
    """Return the budget of a run, whose judge is None if no task has one. Raises MarathonError."""
    prices = checked_prices(config.judge_prices, "--judge_prices")
    if prices and config.judge_model is None:
        raise MarathonError("--judge_prices: needs --judge_model")
    budget = checked_budget(config.max_requests, config.max_tokens_total, config.max_cost, config.prices)
    if budget.max_cost is not None and judge is not None and not {"in", "out"} <= set(prices):
        from marathon_eval.backends.http.adapter import APIAudio

        served = [stage.name() for stage in judge.stages() if isinstance(stage, APIAudio)]
        if served or prices:
            raise MarathonError(
                f"--max_cost: the cost of the judge ({', '.join(served) or judge.name()}) counts too: give "
                "--judge_prices in=X,out=Y, per million tokens (in=0,out=0 for a server of your own)"
            )
    return replace(budget, judge_prices=prices)
