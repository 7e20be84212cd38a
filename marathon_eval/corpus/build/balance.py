"""Limits the number of files of each class, or draws equally many files of every class."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marathon_eval.corpus.build.item import Item


def at_most(items: Sequence[Item], limits: Mapping[str, int]) -> list[Item]:
    """Keep at most `limits[field]` files of each value of a field: the first ones."""
    remaining = list(items)
    for name, limit in limits.items():
        seen: Counter[Any] = Counter()
        chosen = []
        for item in remaining:
            seen[item.fields[name]] += 1
            if seen[item.fields[name]] <= limit:
                chosen.append(item)
        remaining = chosen
    return remaining


def balanced_files(items: Sequence[Item], by: str, seed: int) -> list[Item]:
    """Draw from every class, sorted by path, as many files as the smallest class has, with the seed."""
    classes: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.audio):
        classes.setdefault(str(item.fields[by]), []).append(item)
    smallest = min(map(len, classes.values()), default=0)
    drawn = []
    for name, members in sorted(classes.items()):
        drawn += random.Random(f"{seed}:balance:{name}").sample(members, smallest)
    return sorted(drawn, key=lambda item: item.audio)
