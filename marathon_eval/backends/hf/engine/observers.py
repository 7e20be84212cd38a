"""What a shared prefill must note, so that each press of a sweep finds what it would have seen alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from marathon_eval.api.press import EvictionPress, Press
from marathon_eval.backends.hf.engine.eviction_context import Context, Observed


def watching(press: EvictionPress, presses: Iterable[Press]) -> EvictionPress:
    """The press's own class with eyes for what any of the presses wants to see of a context."""
    others = [one for one in presses if isinstance(one, EvictionPress) and not one.needs_module]
    eyes = _Eyes(ratio=press.ratio, window=max([press.window, *(one.window for one in others)]))
    object.__setattr__(eyes, "needs_queries", press.needs_queries or any(one.needs_queries for one in others))
    return eyes


@dataclass(frozen=True)
class _Eyes(EvictionPress):
    """Only says what to watch; at ratio 0 it is never asked for more."""

    def score(self, view: Any) -> Tensor:
        raise NotImplementedError("this press watches for others and scores nothing")


#: Evicts nothing.
WHOLE = _Eyes(ratio=0.0)


def observed_part(context: Context, press: EvictionPress) -> Context:
    """The context with what the press asks for, and nothing more."""

    def part(one: Observed) -> Observed:
        queries = one.queries[:, -press.window :] if press.window and one.queries is not None else None
        return Observed(
            queries,
            one.unrotated if press.needs_queries else None,
            queries_s=one.queries_s if press.window else 0.0,
            unrotated_s=one.unrotated_s if press.needs_queries else 0.0,
        )

    return replace(context, observed=[part(one) for one in context.observed])


def looking_s(context: Context) -> float:
    """Seconds that went into noting what presses want to see."""
    return sum(one.queries_s + one.unrotated_s for one in context.observed)
