"""Builds a budget from the flags of `run` and `score`, and checks what each of them needs."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from marathon_eval.api.model import Model
from marathon_eval.errors import MarathonError, did_you_mean, unknown
from marathon_eval.evaluator.budget import Budget
from marathon_eval.evaluator.config import RunConfig
from marathon_eval.evaluator.judge_names import judge_name

#: What has a price, per million tokens. Without `audio`, audio tokens cost as others that go in.
PRICED = ("in", "out", "audio")
_JUDGE_FLAG = "--judge_prices"


def run_budget(config: RunConfig, judge: Model | None) -> Budget:
    """Return the budget of a run, whose judge is None if no task has one. Raises MarathonError."""
    by_judge = judge_prices(config, judge)
    budget = checked_budget(config.max_requests, config.max_tokens_total, config.max_cost, config.prices)
    if budget.max_cost is not None and judge is not None:
        _check_judge_cost(judge, by_judge)
    return replace(budget, judge_prices=by_judge)


def score_budget(config: RunConfig, judge: Model | None) -> Budget:
    """Return the budget of scoring a run again, which asks the judge alone. Raises MarathonError."""
    by_judge = judge_prices(config, judge)
    budget = replace(
        limited_budget(config.max_requests, config.max_tokens_total, config.max_cost), judge_prices=by_judge
    )
    if judge is None and budget.limited:
        flags = ("max_requests", "max_tokens_total", "max_cost")
        given = next(f"--{name}" for name in flags if getattr(config, name) is not None)
        raise MarathonError(f"{given}: needs --judge_model: scoring asks no other model")
    if budget.max_cost is not None and judge is not None:
        if not by_judge:
            raise MarathonError(f"--max_cost: needs {_form(judge)}, per million tokens")
        _check_judge_cost(judge, by_judge)
    return budget


def checked_budget(
    max_requests: int | None, max_tokens_total: int | None, max_cost: float | None, prices: Mapping[str, Any]
) -> Budget:
    """Return the budget that the flags describe. Raises MarathonError that names the flag and what is allowed."""
    budget = limited_budget(max_requests, max_tokens_total, max_cost)
    checked = checked_prices(prices, "--prices")
    if max_cost is not None and not {"in", "out"} <= set(checked):
        raise MarathonError("--max_cost: needs --prices in=X,out=Y (and audio=Z), per million tokens")
    return replace(budget, prices=checked)


def limited_budget(max_requests: int | None, max_tokens_total: int | None, max_cost: float | None) -> Budget:
    """Return the budget with these limits and no prices. Raises MarathonError that names the flag and what is allowed."""
    for flag, limit in (("--max_requests", max_requests), ("--max_tokens_total", max_tokens_total)):
        if limit is not None and limit < 1:
            raise MarathonError(f"{flag}: must be a whole number from 1, got {limit}")
    if max_cost is not None and not 0 < max_cost < math.inf:
        raise MarathonError(f"--max_cost: must be a number above 0, got {max_cost:g}")
    return Budget(max_requests, max_tokens_total, max_cost)


def checked_prices(prices: Mapping[str, Any], flag: str) -> dict[str, float]:
    """Return the prices per million tokens that a flag gives. Raises MarathonError."""
    for name, price in prices.items():
        if name not in PRICED:
            raise MarathonError(
                f"{flag}: no price '{name}'.{did_you_mean(name, PRICED)} Prices, per million tokens: {', '.join(PRICED)}"
            )
        if isinstance(price, bool) or not isinstance(price, int | float) or not 0 <= price < math.inf:
            raise MarathonError(f"{flag}: {name} must be a number from 0, got {price!r}")
    return {name: float(price) for name, price in prices.items()}


def judge_prices(config: RunConfig, judge: Model | None) -> dict[str, dict[str, float]]:
    """Return the prices of each judge by its name: of one judge the flag's own, of several those given for each.

    Without a judge the prices are checked, and the names are not. Raises MarathonError.
    """
    given: Mapping[str, Any] = config.judge_prices
    if not given:
        return {}
    if config.judge_model is None:
        raise MarathonError(f"{_JUDGE_FLAG}: needs --judge_model")
    names = [] if judge is None else [judge_name(member) for member in judge.members]
    if not any(isinstance(prices, Mapping) for prices in given.values()):
        checked = checked_prices(given, _JUDGE_FLAG)
        if judge is not None and len(names) > 1:
            raise MarathonError(
                f"{_JUDGE_FLAG}: there are {len(names)} judges, and their prices may differ: give {_form(judge)}"
            )
        return {name: checked for name in names or [""]}
    if wrong := next((name for name in given if judge is not None and name not in names), None):
        raise unknown(_JUDGE_FLAG, "judge", wrong, names)
    if lacking := next((name for name in names if name not in given), None):
        raise MarathonError(f"{_JUDGE_FLAG}: {lacking}: has no prices (in=0 and out=0 if it costs nothing)")
    return {name: _of_judge(name, prices) for name, prices in given.items()}


def _of_judge(name: str, prices: Any) -> dict[str, float]:
    if not isinstance(prices, Mapping):
        raise MarathonError(
            f'{_JUDGE_FLAG}: {name}: must be prices such as {{"in": 1, "out": 4}}, got {prices!r}'
        )
    return checked_prices(prices, f"{_JUDGE_FLAG}: {name}")


def _form(judge: Model) -> str:
    """Return how the prices of this judge are written."""
    names = [judge_name(member) for member in judge.members]
    if len(names) == 1:
        return f"{_JUDGE_FLAG} in=X,out=Y"
    inside = ", ".join(f'{json.dumps(name, ensure_ascii=False)}: {{"in": X, "out": Y}}' for name in names)
    return f"{_JUDGE_FLAG} '{{{inside}}}'"


def _check_judge_cost(judge: Model, by_judge: Mapping[str, Mapping[str, float]]) -> None:
    """Raise MarathonError if the judge's cost counts and is not known; a judge on this machine may go without prices."""
    from marathon_eval.backends.http.adapter import APIAudio

    served = [stage.name() for stage in judge.stages() if isinstance(stage, APIAudio)]
    known = bool(by_judge) and all({"in", "out"} <= set(prices) for prices in by_judge.values())
    if (served or by_judge) and not known:
        raise MarathonError(
            f"--max_cost: the cost of the judge ({', '.join(served) or judge.name()}) counts too: give "
            f"{_form(judge)}, per million tokens (in and out 0 for a server of your own)"
        )
