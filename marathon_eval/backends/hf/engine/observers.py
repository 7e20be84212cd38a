"""Observes a shared prefill for all presses of a sweep, and gives each press what it would have observed alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from marathon_eval.api.press import EvictionPress, Press
from marathon_eval.backends.hf.engine.eviction_context import Context, Observed


def watching(press: EvictionPress, presses: Iterable[Press]) -> EvictionPress:
    """Return a press that observes what `press` or any of `presses` needs, and evicts nothing itself."""
    own = (other for other in presses if isinstance(other, EvictionPress) and len(other.parts) == 1)
    others = [other for other in own if not other.needs_module]
    observer = _Observer(ratio=press.ratio, window=max([press.window, *(other.window for other in others)]))
    needs_queries = press.needs_queries or any(other.needs_queries for other in others)
    object.__setattr__(observer, "needs_queries", needs_queries)
    needs_received = press.needs_received or any(other.needs_received for other in others)
    object.__setattr__(observer, "needs_received", needs_received)
    return observer


@dataclass(frozen=True)
class _Observer(EvictionPress):
    """Declares what to observe; it has no scores, and is never asked for any."""

    def score(self, view: Any) -> Tensor:
        raise NotImplementedError("this press observes for others and has no scores")


#: A press at ratio 0, which evicts nothing.
WHOLE = _Observer(ratio=0.0)


def observed_part(context: Context, press: EvictionPress) -> Context:
    """Return the context with only those observations that the press needs."""

    def part(layer: Observed) -> Observed:
        queries = layer.queries[:, -press.window :] if press.window and layer.queries is not None else None
        return Observed(
            queries,
            layer.unrotated if press.needs_queries else None,
            queries_s=layer.queries_s if press.window else 0.0,
            unrotated_s=layer.unrotated_s if press.needs_queries else 0.0,
            received=layer.received if press.needs_received else None,
            received_s=layer.received_s if press.needs_received else 0.0,
        )

    return replace(context, observed=[part(layer) for layer in context.observed])


def looking_s(context: Context) -> float:
    """Return the seconds of the prefill that observing took."""
    return sum(layer.queries_s + layer.unrotated_s + layer.received_s for layer in context.observed)
