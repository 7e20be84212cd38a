"""Fills names in braces from fields: `{scene}_{part:03}` gives `park_007`. No attributes, calls or nesting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marathon_eval.errors import MarathonError, did_you_mean

_NAME = re.compile(r"\{(\w+)(?::0(\d))?\}")


def filled(template: str, fields: Mapping[str, Any], where: str) -> str:
    """Fill a template; `:03` pads a number with zeros to three digits. Raises MarathonError for an unknown name."""
    return _NAME.sub(lambda match: str(_value(match, fields, where)).zfill(int(match[2] or 0)), template)


def fill_value(template: Any, fields: Mapping[str, Any], where: str) -> Any:
    """Fill as `filled` does, but return the value itself, such as a list, if the template is a single name.

    The values of a dict are filled one by one; other values are returned unchanged.
    """
    if isinstance(template, dict):
        return {key: fill_value(value, fields, where) for key, value in template.items()}
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    return _value(whole, fields, where) if whole and not whole[2] else filled(template, fields, where)


def _value(match: re.Match[str], fields: Mapping[str, Any], where: str) -> Any:
    name = match[1]
    if name not in fields:
        names = ", ".join(sorted(fields))
        raise MarathonError(f"{where}: no field '{name}'.{did_you_mean(name, fields)} Known: {names}")
    return fields[name]
