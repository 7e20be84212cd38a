"""How many files of each class stay."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from marathon_eval.corpus.build.item import Item


def at_most(items: Sequence[Item], limits: Mapping[str, int]) -> list[Item]:
    """The first so many files of each value of a field."""
    kept = list(items)
    for name, limit in limits.items():
        seen: Counter[Any] = Counter()
        chosen = []
        for item in kept:
            seen[item.fields[name]] += 1
            if seen[item.fields[name]] <= limit:
                chosen.append(item)
        kept = chosen
    return kept


def balanced_files(items: Sequence[Item], by: str, seed: int) -> list[Item]:
    """As many files of every class as the smallest has: drawn with the seed from each class sorted by path."""
    classes: dict[str, list[Item]] = {}
    for item in sorted(items, key=lambda item: item.audio):
        classes.setdefault(str(item.fields[by]), []).append(item)
    smallest = min(map(len, classes.values()), default=0)
    kept = []
    for name, members in sorted(classes.items()):
        kept += random.Random(f"{seed}:balance:{name}").sample(members, smallest)
    return sorted(kept, key=lambda item: item.audio)
