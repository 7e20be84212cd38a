"""Builds a filter from a user's file `filters/NAME.py`: a function, or a callable class, of a text and its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.api.own_code import OwnCode
from marathon_eval.errors import RowError


def own_filter(code: OwnCode, options: Mapping[str, Any], where: str) -> FilterStep:
    """Build the filter. It takes the text, the FilterContext if it has a second argument, and the entry's options.

    It returns the answer, or None where it finds none. Raises MarathonError that begins with `where` for options that
    it does not take; a call that fails raises RowError.
    """
    function = code.callable_with(options, 2, f"{where}: filter '{code.name}'")

    def one(held: Held, context: FilterContext) -> Held:
        if not held.found:
            return held
        value = function(held.text, context)
        if value is not None and not isinstance(value, str):
            raise RowError(f"{code.file}: must return a text or None, got {value!r:.80}")
        return Held("", f"no_{code.name}", False) if value is None else Held(value, code.name)

    def step(texts: Sequence[Held], context: FilterContext) -> list[Held]:
        return [one(held, context) for held in texts]

    return step
