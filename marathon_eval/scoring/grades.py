"""Defines the filter and the metrics of graded answers: what one or several judges gave on a scale or in labels.

judge_grade            filter: all grades of the row as JSON, a list of votes (`Vote`), one per judge, rater and order

grade                  grade of the answer: mean over criteria, then mean, vote or median (`combine`) over votes; an unanswered row has the lowest grade
other_grade            the same of the answer that it is compared with
grade_win_rate         share of votes in which the answer's grade is strictly above the other's
grade_position_bias    the answer's grade in second place minus its grade in first place
grade_flip_rate        share of judges and raters whose win, tie or loss depends on the order
grade_agreement        Krippendorff's alpha (interval) between the judges and raters of a row: 1 is full agreement,
                       0 what chance gives; over rows with several. Source: K. Krippendorff, Computing Krippendorff's
                       Alpha-Reliability (2011), https://repository.upenn.edu/asc_papers/43
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, median, multimode
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.filter import FilterStep
from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.errors import unknown
from marathon_eval.scoring.judge import verdict_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Where the answer stands in the prompt: without another one, behind it, or before it.
AnswerOrder = Literal["alone", "second", "first"]
#: The criterion of a task that names none.
OVERALL = "grade"


@dataclass(frozen=True)
class Vote:
    """Holds the grades that one judge gave in one reply, by criterion; `other` is empty without a second answer."""

    judge: str
    rater: int
    order: AnswerOrder
    answer: Mapping[str, float]
    other: Mapping[str, float]

    def grade(self, criterion: str | None = None) -> float:
        """Return the answer's grade by one criterion, or the mean over all."""
        return mean(self.answer.values()) if criterion is None else self.answer[criterion]

    def other_grade(self) -> float:
        """Return the mean grade of the other answer over all criteria."""
        return mean(self.other.values())


def votes_text(votes: Sequence[Vote]) -> str:
    """Return the text that a sample stores."""
    return json.dumps([vars(vote) for vote in votes], ensure_ascii=False)


def votes_of(row: ScoredRow) -> list[Vote]:
    """Return the votes of a row; none for an unanswered one, and for a text that `votes_text` did not write."""
    return votes_in(row.answer.value)


def votes_in(text: str | None) -> list[Vote]:
    """Return the votes that `votes_text` wrote; none for another text."""
    try:
        votes = [Vote(**vote) for vote in json.loads(text or "[]")]
    except (ValueError, TypeError, RecursionError):
        return []
    whole = all(_are_grades(vote.answer) and vote.answer and _are_grades(vote.other) for vote in votes)
    return votes if whole else []


def vote_words(vote: Vote) -> str:
    """Return `grade 2`, `correctness 2, detail 3`, or `grade 2 against 4` of a vote on two answers."""
    own, other = (", ".join(f"{name} {n:g}" for name, n in of.items()) for of in (vote.answer, vote.other))
    return f"{own} against {other}" if other else own


def grades_in_words(answer: str | None) -> str | None:
    """Return the grades of a graded row in words, with the judges' names where there are several; else the answer."""
    if answer is None or not answer.startswith("[{"):
        return answer
    votes = votes_in(answer)
    named = len({vote.judge for vote in votes}) > 1
    words = [f"{vote.judge}: {vote_words(vote)}" if named else vote_words(vote) for vote in votes]
    return "; ".join(words) or answer


def _are_grades(grades: Any) -> bool:
    """Return whether this maps criteria to numbers; a stored text may come from other people."""
    return isinstance(grades, dict) and all(
        isinstance(number, (int, float)) and abs(number) < 1e12 for number in grades.values()
    )


def voted(grades: Sequence[float]) -> float:
    """Return the most frequent grade; of equally frequent ones the lowest, so that a tie is no success."""
    return min(multimode(grades))


#: How the grades of a row make one, by the name that a task's `combine` has.
COMBINED: dict[str, Callable[[Sequence[float]], float]] = {"mean": mean, "vote": voted, "median": median}


def judge_grade() -> FilterStep:
    """Return a filter whose answer is all grades of the row."""
    return verdict_of("grade")


def grade(
    criterion: str | None = None, judge: str | None = None, lowest: float = 0.0, combine: str = "mean"
) -> Metric:
    """Build the mean grade; of one criterion or one judge only if it is named. An unanswered row has `lowest`.

    The evaluator sets `lowest` to the lower end of the task's scale, and `combine`, by which the grades that a row got from
    judges and raters make one: `mean`, `vote` or `median`.
    """
    if combine not in COMBINED:
        raise unknown("metric grade", "combine", combine, COMBINED)
    combined = COMBINED[combine]

    def score(row: ScoredRow) -> float | None:
        if row.answer.value is None:
            return lowest
        grades = [
            vote.grade(criterion)
            for vote in votes_of(row)
            if judge in (None, vote.judge) and (criterion is None or criterion in vote.answer)
        ]
        return combined(grades) if grades else None

    return Mean("grade" if criterion is None else f"grade_{criterion}", score)


def other_grade() -> Metric:
    """Build the mean grade of the other answer; an unanswered row has none."""
    return Mean("other_grade", _mean_of_votes(lambda vote: vote.other_grade()))


def grade_win_rate() -> Metric:
    """Build the share of votes in which the answer is strictly better than the other; an unanswered row loses."""

    def score(row: ScoredRow) -> float | None:
        won = _mean_of_votes(lambda vote: float(vote.grade() > vote.other_grade()))(row)
        return 0.0 if row.answer.value is None else won

    return Mean("grade_win_rate", score, share=True)


def grade_position_bias() -> Metric:
    """Build the answer's grade in second place minus that in first; above 0, the judges favour the second; 0 is best."""

    def score(row: ScoredRow) -> float | None:
        differences = [second.grade() - first.grade() for first, second in _swapped(row)]
        return mean(differences) if differences else None

    return Mean("grade_position_bias", score, higher_is_better=None)


def grade_flip_rate() -> Metric:
    """Build the share of judges and raters whose win, tie or loss depends on the order."""

    def score(row: ScoredRow) -> float | None:
        flips = [float(_sign(first) != _sign(second)) for first, second in _swapped(row)]
        return mean(flips) if flips else None

    return Mean("grade_flip_rate", score, higher_is_better=False, share=True)


def _mean_of_votes(number: Callable[[Vote], float]) -> Callable[[ScoredRow], float | None]:
    def score(row: ScoredRow) -> float | None:
        numbers = [number(vote) for vote in votes_of(row) if vote.other]
        return mean(numbers) if numbers else None

    return score


def _sign(vote: Vote) -> int:
    return (vote.grade() > vote.other_grade()) - (vote.grade() < vote.other_grade())


def _swapped(row: ScoredRow) -> Iterable[tuple[Vote, Vote]]:
    """Yield each judge's and rater's votes with the answer in first and in second place."""
    by_place: dict[tuple[str, int], dict[str, Vote]] = defaultdict(dict)
    for vote in votes_of(row):
        by_place[vote.judge, vote.rater][vote.order] = vote
    return [
        (votes["first"], votes["second"])
        for votes in by_place.values()
        if {"first", "second"} <= votes.keys()
    ]


#: The share of a sum of squares below which a difference is rounding.
_ROUNDING = 1e-12


class KrippendorffAlpha(Metric):
    """Computes Krippendorff's alpha for interval data between the judges and raters of each row.

    Counts per row are [m, sum, sum of squares, disagreement], with m grades; all zero where fewer than two graded.
    """

    def __init__(self) -> None:
        self.name = "grade_agreement"

    def score(self, row: ScoredRow) -> float | None:
        """Return None, because alpha is a property of all rows together."""
        return None

    def tally(self) -> Tally:
        return NumberTally(4, lambda row, score: alpha_counts(_grades_by_judge(votes_of(row))))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        n, total, squares, disagreement = (sums[:, column] for column in range(4))
        spread = n * squares - total**2
        # grades that are all equal leave a rest of rounding, and alpha has no value there
        expected = ratio(2 * spread * (spread > _ROUNDING * n * squares), n - 1)
        alpha: NDArray[Any] = 1 - ratio(disagreement, expected)
        return alpha


def grade_agreement() -> Metric:
    """Build Krippendorff's alpha between judges and raters."""
    return KrippendorffAlpha()


def _grades_by_judge(votes: Sequence[Vote]) -> list[float]:
    grades: dict[tuple[str, int], list[float]] = defaultdict(list)
    for vote in votes:
        grades[vote.judge, vote.rater].append(vote.grade())
    return [mean(of_judge) for of_judge in grades.values()]


def alpha_counts(grades: Sequence[float]) -> tuple[float, float, float, float]:
    """Return what one row adds to Krippendorff's alpha: number, sum, sum of squares and disagreement of its grades."""
    m = len(grades)
    if m < 2:
        return 0.0, 0.0, 0.0, 0.0
    center = mean(grades)
    disagreement = 2 * m * sum((x - center) ** 2 for x in grades) / (m - 1)
    return float(m), float(sum(grades)), float(sum(x * x for x in grades)), disagreement


GRADE_FILTERS: dict[str, Callable[..., FilterStep]] = {"judge_grade": judge_grade}
GRADE_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory
    for factory in (grade, other_grade, grade_win_rate, grade_position_bias, grade_flip_rate, grade_agreement)
}
