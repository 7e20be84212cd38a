"""Wraps Jinja2's filters and tests, so that what they get is checked before they run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def checked_filter(
    filter_: Callable[..., Any], check: Callable[[Any, tuple[Any, ...]], None]
) -> Callable[..., Any]:
    """Wrap a filter to run the check first. Some filters take jinja2's context as an argument before the value."""
    mark = getattr(filter_, "jinja_pass_arg", None)
    before = 0 if mark is None else 1

    def checked(*args: Any, **kwargs: Any) -> Any:
        check(args[before], (*args[before + 1 :], *kwargs.values()))
        return filter_(*args, **kwargs)

    if mark is not None:
        vars(checked)["jinja_pass_arg"] = mark
    return checked
