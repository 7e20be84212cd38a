"""Builds a filter from a user's file `filters/NAME.py`: a function, or a callable class, of a text and its row."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.api.own_code import OwnCode
from marathon_eval.api.task_functions import called
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


def custom_filter(code: OwnCode) -> FilterStep:
    """Build lm-eval's filter `custom` of a task's `filter_fn`, called with one row's texts and columns."""

    def step(texts: Sequence[Held], context: FilterContext) -> list[Held]:
        kept = [held for held in texts if held.found]
        made = [*called(code, [[held.text for held in kept]], [dict(context.doc)])]
        if len(made) != 1:
            raise RowError(f"{code.file}: {code.name} must return one list per row, got {len(made)}")
        answers = [made[0]] if isinstance(made[0], str) else made[0]
        return [Held(str(text), code.name) for text in answers]

    return step
