"""Names the values of a column as texts, so that results and reports can list them.

A value's name is its text, so that 1 and "1" are one value, as data sets write ids both ways. Null, true and false are
values of their own: where a column also has a text such as "None" or "True", their names say which they are.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

#: JSON's words for the values that a text of the column may look like.
_WORDS = {None: "null", True: "true", False: "false"}


def value_key(value: Any) -> Hashable:
    """Return what tells a column's values apart: null, true and false as they are, all others as texts."""
    return value if value is None or isinstance(value, bool) else str(value)


def value_labels(keys: Iterable[Hashable], null: str = "None") -> Mapping[Hashable, str]:
    """Return a name for each of the keys of one column, no two alike; `null` is the name of a missing value."""
    kept = list(dict.fromkeys(keys))
    texts = {key for key in kept if isinstance(key, str)}
    labels: dict[Hashable, str] = {}
    for key in kept:
        text = null if key is None else str(key)
        labels[key] = text if isinstance(key, str) or text not in texts else f"{text} ({_WORDS[_word(key)]})"
    return labels


def _word(key: Hashable) -> bool | None:
    return key if isinstance(key, bool) else None
