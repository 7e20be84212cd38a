"""Merges the verdicts of several reviewers on one sample, and measures their agreement by Cohen's kappa.

Source: Cohen 1960, https://doi.org/10.1177/001316446002000104.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from marathon_eval.corpus.audit.review import ReviewVerdict
from marathon_eval.errors import MarathonError

Verdicts = Mapping[tuple[str, str], ReviewVerdict]


class ReviewersAgree(NamedTuple):
    """Holds the agreement of two reviewers on the rows that both judged; kappa is None where it is undefined."""

    rows: int
    same: int
    kappa: float | None


class MergedVerdicts(NamedTuple):
    """Holds one verdict per row, the agreement of each pair of reviewers, and the rows on which they differ."""

    verdicts: dict[tuple[str, str], ReviewVerdict]
    agreements: list[ReviewersAgree]
    disputed: list[tuple[str, str]]


def merge_reviews(reviews: Sequence[Verdicts]) -> MergedVerdicts:
    """Merge the verdicts: rows on which reviewers differ become `unsure`, so that nothing is changed by one alone.

    A row that one reviewer judged alone keeps that verdict. Raises MarathonError if two reviewers have no row in common.
    """
    merged: dict[tuple[str, str], ReviewVerdict] = {}
    disputed = []
    for key in dict.fromkeys(key for review in reviews for key in review):
        given = [review[key] for review in reviews if key in review]
        if len({(verdict.verdict, verdict.answer) for verdict in given}) == 1:
            merged[key] = given[0]
            continue
        disputed.append(key)
        said = "; ".join(" ".join(filter(None, (one.verdict, one.answer, one.reason))) for one in given)
        merged[key] = ReviewVerdict("unsure", f"reviewers differ: {said}")
    pairs = [(one, other) for place, one in enumerate(reviews) for other in reviews[place + 1 :]]
    return MergedVerdicts(merged, [_agreement(one, other) for one, other in pairs], disputed)


def _agreement(one: Verdicts, other: Verdicts) -> ReviewersAgree:
    both = [(one[key].verdict, other[key].verdict) for key in one if key in other]
    if not both:
        raise MarathonError(
            "--verdicts: two reviewers judged no row in common; both need the page of one --seed"
        )
    same = sum(first == second for first, second in both)
    counts = Counter(first for first, _ in both), Counter(second for _, second in both)
    chance = sum(counts[0][name] * counts[1][name] for name in counts[0]) / len(both) ** 2
    kappa = None if chance == 1 else (same / len(both) - chance) / (1 - chance)
    return ReviewersAgree(len(both), same, kappa)
