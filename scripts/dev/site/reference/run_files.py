"""Makes the reference of a run's files from the types by which they are checked when read."""

from __future__ import annotations

import re
from typing import Annotated, Any, NotRequired, get_args, get_origin, get_type_hints

from marathon_eval.results import shape
from reference.tables import code, table, words

FILES = {
    "results.json": ("Results", "Task", "Metric", "Headline", "Selection", "Fingerprint", "Press"),
    "samples_<task>.jsonl, one line per document": ("Sample", "Reading", "Clip"),
}


def pages() -> dict[str, str]:
    """Return the page by its place in the site."""
    parts = [
        (
            "# Files of a run\n\nTypes of the values that every verb relies on; `null` is allowed where it is named. "
            "What the values mean stands in [Results](../results.md). Further keys may be there.\n"
        )
    ]
    for file, kinds in FILES.items():
        parts.append(f"## {file.replace('<', '&lt;')}\n")
        parts += [_section(name) for name in kinds]
    return {"reference/results.md": "\n".join(parts)}


def _section(name: str) -> str:
    kind = getattr(shape, f"_{name}")
    about = words((kind.__doc__ or "").partition("\n")[0])
    hints = get_type_hints(kind, include_extras=True)
    rows = [
        [code(key), _words_of(hint), "" if key in kind.__required_keys__ else "may be absent"]
        for key, hint in hints.items()
        if not key.startswith("__")
    ]
    return f"### {name.lower()}\n\n{about}\n\n{table(['key', 'type', ''], rows)}"


def _words_of(hint: Any) -> str:
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (NotRequired, Annotated):
        return "whole number, 0 or more" if hint == shape._Count else _words_of(inner[0])
    if origin is list:
        return f"list of {_words_of(inner[0])}"
    if origin is dict:
        return f"mapping of {_words_of(inner[1])}"
    if inner:
        return " or ".join(_words_of(part) for part in inner)
    plain = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    return plain.get(hint, "any" if hint is Any else re.sub("^_", "", hint.__name__).lower())
