"""Describes a run's budget of requests, tokens and money, with the prices of the model and of its judge.

The limits hold for both together; spending.py counts against them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from marathon_eval.api.model import Request

#: Audio tokens a second of a model whose rate is not known, in an estimate.
ASSUMED_AUDIO_RATE = 32.0
#: Characters of a prompt per token, in an estimate.
CHARACTERS_PER_TOKEN = 4
PER = 1_000_000


@dataclass(frozen=True)
class Budget:
    """Holds the limits of a run, each None for no limit, and the prices per million tokens."""

    max_requests: int | None = None
    max_tokens_total: int | None = None
    max_cost: float | None = None
    prices: Mapping[str, float] = field(default_factory=dict)
    #: Prices of each judge's tokens, by the judge's name.
    judge_prices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

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
    """Counts what the judges' missing requests may take at most: requests, tokens in and out, and their price."""

    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost: float = 0.0


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
    text_to_come: int = 0,
    thinking_room: int = 0,
) -> BudgetEstimate:
    """Estimate tokens and cost of requests with so many seconds of audio, each with its longest answer, and of a judge's.

    `text_to_come` are the tokens that the requests will have beside their text of now, `thinking_room` the most that the
    model may think on each of them.
    """
    audio = math.ceil(audio_seconds * (ASSUMED_AUDIO_RATE if rate is None else rate))
    into = audio + text_tokens(requests) + text_to_come
    out = sum(request.generation.max_new_tokens + thinking_room for request in requests)
    count, tokens = len(requests) + judge.requests, into + out + judge.input_tokens + judge.output_tokens
    cost = budget.cost(into, out, audio) + judge.cost if budget.prices or budget.judge_prices else None
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
