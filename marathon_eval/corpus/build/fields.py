"""Names in braces filled from fields: `{scene}_{part:03}`. No attributes, no calls, no nesting."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marathon_eval.errors import MarathonError, did_you_mean

_NAME = re.compile(r"\{(\w+)(?::0(\d))?\}")


def filled(template: str, fields: Mapping[str, Any], where: str) -> str:
    """The template's text; `:03` pads a number with zeros. Raises MarathonError for an unknown name."""
    return _NAME.sub(lambda found: str(_value(found, fields, where)).zfill(int(found[2] or 0)), template)


def fill_value(template: Any, fields: Mapping[str, Any], where: str) -> Any:
    """As `fill`, but a template that is one name alone gives the value itself: a list stays a list."""
    if isinstance(template, dict):
        return {key: fill_value(value, fields, where) for key, value in template.items()}
    if not isinstance(template, str):
        return template
    whole = _NAME.fullmatch(template)
    return _value(whole, fields, where) if whole and not whole[2] else filled(template, fields, where)


def _value(found: re.Match[str], fields: Mapping[str, Any], where: str) -> Any:
    name = found[1]
    if name not in fields:
        known = ", ".join(sorted(fields))
        raise MarathonError(f"{where}: no field '{name}'.{did_you_mean(name, fields)} Known: {known}")
    return fields[name]
