"""Puts the lengths, depths and number of distractors of the command line into a recipe of position probes."""

from __future__ import annotations

import math

from marathon_eval.corpus.build.recipe import LONGEST_NEEDLE_SECONDS, Recipe
from marathon_eval.errors import MarathonError


def with_needle_flags(
    recipe: Recipe, lengths: str | None, depths: str | None, distractors: int | None
) -> Recipe:
    """Return the recipe with what the flags give: lengths in seconds, depths in per cent, a number of distractors.

    Raises MarathonError for a value that cannot be used, and for a recipe without `needle:`.
    """
    given = {"--lengths": lengths, "--depths": depths, "--distractors": distractors}
    flags = [flag for flag, value in given.items() if value is not None]
    if not flags:
        return recipe
    if recipe.needle is None:
        raise MarathonError(
            f"{flags[0]}: the recipe {recipe.recipe} has no `needle:`, so it makes no position probes; "
            "needle and needle_words do"
        )
    changed: dict[str, object] = {}
    if lengths is not None:
        found = _numbers(lengths, "--lengths", "seconds", LONGEST_NEEDLE_SECONDS)
        if 0 in found:
            raise MarathonError(f"--lengths: must be above 0, got {lengths!r}")
        changed["lengths_seconds"] = found
    if depths is not None:
        found = _numbers(depths, "--depths", "per cent", 100)
        changed["positions"] = {f"{depth:g}": depth / 100 for depth in found}
    if distractors is not None:
        if distractors < 0 or (distractors and recipe.needle.distractor is None):
            allowed = "0 or more" if distractors < 0 else f"0, because {recipe.recipe} names no `distractor`"
            raise MarathonError(f"--distractors: must be {allowed}, got {distractors}")
        changed["distractors"] = distractors
    return recipe.model_copy(update={"needle": recipe.needle.model_copy(update=changed)})


def _numbers(text: str, flag: str, unit: str, most: float) -> list[float]:
    """Read numbers separated by commas, sorted. Raises MarathonError for one that is no number, too large or twice."""
    numbers: list[float] = []
    for part in text.split(","):
        try:
            number = float(part)
        except ValueError:
            number = math.nan
        if not 0 <= number <= most:
            raise MarathonError(
                f"{flag}: must be numbers of {unit} from 0 to {most:g}, separated by commas, got {part.strip()!r}"
            )
        if number in numbers:
            raise MarathonError(f"{flag}: {part.strip()} is given twice")
        numbers.append(number)
    return sorted(numbers)
