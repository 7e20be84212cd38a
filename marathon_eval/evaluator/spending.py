"""Stops a run that has spent its budget of requests, tokens or money; its answers and grades are kept.

Counted are the requests that the model and the judge answer in this run, not those that the cache holds. A request that is
in flight when the budget is spent is cancelled, and may be charged all the same: at most `concurrency=` of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, cast

from marathon_eval.api.model import Model, Request, Response, Through, Usage
from marathon_eval.api.same_failures import NEVER_SENT, never_sent
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.budget import Budget, price_of


class UncountedTokens(MarathonError):
    """Says that a model reports no token counts, so that no budget of tokens or money can be kept."""


@dataclass
class Account:
    """Counts what the requests to one side took: the model's or the judge's."""

    prices: Mapping[str, float]
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    audio_tokens: int = 0
    cost: float = 0.0
    uncounted: int = 0

    def add(self, request: Request, usage: Usage) -> bool:
        """Count one answered request; return whether its tokens are known."""
        self.requests += 1
        if usage.input_tokens is None and usage.output_tokens is None:
            self.uncounted += 1
            return False
        into, out = usage.input_tokens or 0, usage.output_tokens or 0
        self.input_tokens += into
        self.output_tokens += out
        self.audio_tokens += usage.audio_tokens or 0
        # where the audio tokens are not known, a request of text alone had none
        audio = 0 if usage.audio_tokens is None and not request.audios else usage.audio_tokens
        self.cost += price_of(self.prices, into, out, audio)
        return True

    def as_json(self) -> dict[str, Any]:
        """Return the counts as results.json has them; `cost` only where there are prices."""
        counts: dict[str, Any] = {
            "requests": self.requests,
            "input_tokens": self.input_tokens,
            "audio_tokens": self.audio_tokens,
            "output_tokens": self.output_tokens,
            "requests_without_counts": self.uncounted,
        }
        priced = {"cost": round(self.cost, 6), "prices": dict(self.prices)}
        return counts | (priced if self.prices else {})


@dataclass
class Spending:
    """Counts what a run's requests took, and stops asking when its budget is spent."""

    budget: Budget
    model: Account = field(init=False)
    #: Those of each judge by its name; one without prices is added when it is asked.
    judges: dict[str, Account] = field(init=False)
    #: The limit that kept requests from being asked.
    reached: str | None = None

    def __post_init__(self) -> None:
        self.model = Account(self.budget.prices)
        self.judges = {name: Account(prices) for name, prices in self.budget.judge_prices.items()}

    def through(self, inner: Through) -> Through:
        """Return a function that sends the model's requests by `inner` as long as the budget lasts.

        Every other request gets a failed response that names the limit. The function raises UncountedTokens when
        tokens are limited and the model reports none.
        """
        return self._through(inner, self.model)

    def judge_through(self, inner: Through, name: str) -> Through:
        """Return the function of `through` for the requests to the judge of this name, which the same limits bound."""
        return self._through(inner, self.judges.setdefault(name, Account({})))

    def _through(self, inner: Through, account: Account) -> Through:
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
                        self._note(request, response, model, account)
                        if self.spent() is not None:
                            break
            if waiting:
                self.reached = self.spent() or "the model gave no answer"
            for request in waiting:
                yield request, Response.failed(f"{NEVER_SENT}{self.reached}")

        return send

    def spent(self) -> str | None:
        """Return which limit is reached, or None."""
        budget, accounts = self.budget, self._accounts()
        tokens = sum(account.input_tokens + account.output_tokens for account in accounts)
        cost = sum(account.cost for account in accounts)
        if budget.max_requests is not None and self._requests_left() == 0:
            return f"--max_requests {budget.max_requests} is reached"
        if budget.max_tokens_total is not None and tokens >= budget.max_tokens_total:
            return f"--max_tokens_total {budget.max_tokens_total} is reached, with {tokens} tokens"
        if budget.max_cost is not None and cost >= budget.max_cost:
            return f"--max_cost {budget.max_cost:g} is reached, with {cost:.4f}"
        return None

    def as_json(self, judged: bool = False) -> dict[str, Any]:
        """Return the entry `spent` of results.json; `reached` is the limit that ended the asking.

        The counts are the model's; with `judged`, those of all judges stand under `judge`, and of several judges those of
        each under `judges` there.
        """
        judge = {"judge": self._judged()} if judged else {}
        return {**self.model.as_json(), "reached": self.reached, **judge}

    def of_scoring(self) -> dict[str, Any] | None:
        """Return the entry `spent` of responses that are scored again, which asks the judge alone; None without a budget."""
        return self.as_json(judged=True) if self.budget.given else None

    def _judged(self) -> dict[str, Any]:
        each = {name: account.as_json() for name, account in self.judges.items()}
        if len(each) < 2:
            return next(iter(each.values()), Account({}).as_json())
        counted = [name for name in Account({}).as_json()]
        total = {name: sum(counts[name] for counts in each.values()) for name in counted}
        priced = [counts["cost"] for counts in each.values() if "cost" in counts]
        return total | ({"cost": round(sum(priced), 6)} if priced else {}) | {"judges": each}

    def _accounts(self) -> list[Account]:
        return [self.model, *self.judges.values()]

    def _requests_left(self) -> int | None:
        limit = self.budget.max_requests
        return None if limit is None else max(0, limit - sum(each.requests for each in self._accounts()))

    def _note(self, request: Request, response: Response, model: Model, account: Account) -> None:
        if never_sent(response):
            return
        # a request that the content filter of the server refused was not answered by the model, and has no counts
        if account.add(request, response.usage) or response.status in ("error", "refused"):
            return
        budget = self.budget
        # a judge without prices is one on this machine (budget_flags.py): its tokens cost nothing
        if budget.max_tokens_total is not None or (budget.max_cost is not None and account.prices):
            flag = "--max_cost" if budget.max_cost is not None else "--max_tokens_total"
            raise UncountedTokens(
                f"{flag}: {model.flags.model} {model.name()} reports no token counts, so the budget can't be kept; "
                "--max_requests can (answers so far are in the cache)"
            )
