"""Keeps the text of a number on the command line, for arguments that are declared as text (`name=007`)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args


class TypedInt(int):
    """Holds a whole number whose text is not `str` of it, such as `007`."""

    typed: str


class TypedFloat(float):
    """Holds a number whose text is not `str` of it, such as `1.50` or `1e3`."""

    typed: str


def typed_number(number: float, text: str) -> float:
    """Return the number, with its text wherever `str` would give another one."""
    if str(number) == text:
        return number
    kept = TypedInt(number) if isinstance(number, int) else TypedFloat(number)
    kept.typed = text
    return kept


def as_declared(args: Mapping[str, Any], declared: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments, with numbers and booleans as text where `declared` (name to annotation) allows text only."""
    return {
        name: _text(value) if isinstance(value, int | float) and _is_text(declared.get(name)) else value
        for name, value in args.items()
    }


def _text(value: float) -> str:
    return str(value).lower() if isinstance(value, bool) else getattr(value, "typed", str(value))


def _is_text(annotation: Any) -> bool:
    # Imported here, because `run --help` reads this module too and pydantic would double its time.
    from pydantic import SecretStr

    kinds = {annotation, *get_args(annotation)} - {type(None)}
    return bool(kinds & {str, SecretStr}) and not kinds & {int, float, bool}
