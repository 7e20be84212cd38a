"""Checks the options of a filter or metric in a task file and builds it."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from marathon_eval.errors import MarathonError, did_you_mean


@lru_cache(maxsize=64)
def _checked(factory: Callable[..., Any]) -> Callable[..., Any]:
    """Return the factory with a check of its arguments, which takes 1 ms to build; many tasks name the same metrics."""
    from pydantic import ConfigDict, validate_call

    return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(factory)


def built(factory: Callable[..., Any], options: Mapping[str, Any], where: str) -> Any:
    """Return `factory(**options)` after checking the options against its annotations.

    Raises MarathonError, which begins with `where` and names the option; for an unknown one also the nearest name.
    """
    parameters = inspect.signature(factory).parameters.values()
    names = [
        parameter.name for parameter in parameters if parameter.kind is not inspect.Parameter.VAR_KEYWORD
    ]
    if surplus := [key for key in options if key not in names and len(names) == len(parameters)]:
        raise MarathonError(
            f"{where} takes no '{surplus[0]}'.{did_you_mean(surplus[0], names)} It takes: {', '.join(names) or 'nothing'}"
        )
    try:
        if not options and not any(parameter.default is inspect.Parameter.empty for parameter in parameters):
            return factory()  # nothing to check, and a validator takes 2 ms to build
    except MarathonError as error:
        raise MarathonError(f"{where}: {error}") from None
    from pydantic import ValidationError

    try:
        return _checked(factory)(**options)
    except MarathonError as error:
        raise MarathonError(f"{where}: {error}") from None
    except (
        OverflowError,
        RecursionError,
    ) as error:  # while compiling a pattern: pydantic catches re.error alone
        raise MarathonError(f"{where}: a pattern that cannot be compiled ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        raise MarathonError(f"{where}: {option}: {first['msg']}, got {first['input']!r}") from None
