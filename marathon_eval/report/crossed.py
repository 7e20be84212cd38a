"""Counts right rows by two columns of numbers, such as a clip's length and the depth of what is asked about in it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: A column with more different values than this has no axis in a heat map.
MOST_VALUES = 30


@dataclass(frozen=True)
class Crossed:
    """Holds (right, n) for every pair of values: `cells` has a row per entry of `ys` and a column per entry of `xs`.

    `x` and `y` are the names of the columns; their values are in the order of the numbers, as the rows spell them.
    """

    x: str
    y: str
    xs: tuple[str, ...]
    ys: tuple[str, ...]
    cells: tuple[tuple[tuple[int, int], ...], ...]


def crossed(rows: Sequence[tuple[Mapping[str, Any], bool]], columns: Sequence[str]) -> Crossed | None:
    """Cross the first two `columns` of the rows, (fields, right), that hold different numbers only; None without two."""
    values: dict[str, dict[str, float]] = {}
    for name in columns:
        numbers = {str(fields.get(name)): _number(fields.get(name)) for fields, _ in rows}
        known = {text: number for text, number in numbers.items() if number is not None}
        if 1 < len(numbers) <= MOST_VALUES and len(known) == len(numbers):
            values[name] = known
    if len(values) < 2:
        return None
    x, y = list(values)[:2]
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for fields, right in rows:
        place = str(fields[x]), str(fields[y])
        before = counts.get(place, (0, 0))
        counts[place] = (before[0] + right, before[1] + 1)
    xs, ys = (tuple(sorted(values[name], key=values[name].__getitem__)) for name in (x, y))
    return Crossed(x, y, xs, ys, tuple(tuple(counts.get((a, b), (0, 0)) for a in xs) for b in ys))


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
