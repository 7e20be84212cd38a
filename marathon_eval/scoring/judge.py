"""A judge's verdicts as filters and metrics that a YAML names; judge.py asks for the verdicts and keeps them with the row.

judge_align     filter: the option that the judge says an answer means; "none" is no answer
judge_pair      filter: both passes' scores as text, "8 7 / 6 9": first the pass with the reference in front, then the
                one with the answer in front, each as the judge wrote it; "-" for a pass that never parsed.
                `both: true`: a row with one pass alone, or with scores off the scale, is no answer
judge_rubric    filter: the rating of an answer's reasoning, 0 to 1

judge_score, reference_score    the mean over the two passes of each pass's mean score (AIR-Bench, chat)
win_rate                        rows in which the answer beats the reference, likewise
position_bias                   the answer's score in second place minus in first place
flip_rate                       rows in which win, tie and loss depend on the order
judge_parse_rate                passes that parsed
rubric_score                    the mean rating
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.filter import Answer, FilterContext, FilterStep, Held
from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally, counted_score, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Where a row's verdicts stand among its fields: no column of a dataset and no name in a template is called so.
JUDGE_VERDICTS_FIELD = "judge verdicts"
SCALE = range(1, 11)
NO_SCORE = "-"
NOT_JUDGED = "not_judged"


class Pass(NamedTuple):
    """The two scores of one pass, by whose they are."""

    reference: int
    answer: int


class Pair(NamedTuple):
    """Both passes of a row; None where the judge's reply never parsed."""

    straight: Pass | None
    swapped: Pass | None

    @property
    def passes(self) -> list[Pass]:
        """Those that parsed."""
        return [one for one in self if one is not None]

    def text(self) -> str:
        """As a sample keeps it: each pass in the order in which the judge wrote."""
        written = (
            self.straight and f"{self.straight.reference} {self.straight.answer}",
            self.swapped and f"{self.swapped.answer} {self.swapped.reference}",
        )
        return " / ".join(one or NO_SCORE for one in written)

    @classmethod
    def of(cls, text: str) -> Pair:
        """The reverse of `text`."""
        straight, _, swapped = text.partition(" / ")
        first, second = _numbers(straight), _numbers(swapped)
        return cls(Pass(*first) if first else None, Pass(*reversed(second)) if second else None)

    @property
    def on_scale(self) -> bool:
        """Both passes there, and every score from 1 to 10."""
        return len(self.passes) == 2 and all(score in SCALE for one in self.passes for score in one)


def _numbers(text: str) -> list[int] | None:
    return None if text == NO_SCORE else [int(number) for number in text.split()]


def verdict_of(kind: str, accepted: Callable[[Answer], Answer] = lambda answer: answer) -> FilterStep:
    """The verdict that the judge gave; a row that no judge saw has no answer."""

    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        verdicts: Mapping[str, Answer] = context.doc.get(JUDGE_VERDICTS_FIELD, {})
        answer = accepted(verdicts.get(kind, Answer(None, NOT_JUDGED)))
        return [Held(answer.value or "", answer.rule, answer.value is not None) for _ in held[:1]]

    return step


def judge_align() -> FilterStep:
    """The option's text."""
    return verdict_of("align")


def judge_rubric() -> FilterStep:
    """The rating as text."""
    return verdict_of("rubric")


def judge_pair(both: bool = False) -> FilterStep:
    """The scores as text."""

    def accepted(answer: Answer) -> Answer:
        if not both or answer.value is None or Pair.of(answer.value).on_scale:
            return answer
        return Answer(None, "off_scale" if answer.rule == "both" else answer.rule)

    return verdict_of("pair", accepted)


class PassMean(Metric):
    """The mean of two means: of a number in each straight pass, and of it in each swapped pass that parsed."""

    def __init__(self, name: str, number: Callable[[Pass], float], higher_is_better: bool = True) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._number = number

    def score(self, row: ScoredRow) -> float | None:
        """The mean over the row's passes."""
        passes = pair_of(row).passes
        return sum(map(self._number, passes)) / len(passes) if passes else None

    def tally(self) -> Tally:
        """[sum, passes] of the straight and [sum, passes] of the swapped pass."""
        return NumberTally(4, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> Iterator[float]:
        for one in pair_of(row):
            yield from counted_score(None if one is None else self._number(one))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        mean: NDArray[Any] = (ratio(sums[:, 0], sums[:, 1]) + ratio(sums[:, 2], sums[:, 3])) / 2
        return mean


def pair_of(row: ScoredRow) -> Pair:
    return Pair(None, None) if row.answer.value is None else Pair.of(row.answer.value)


def judge_score() -> Metric:
    """The answer's score."""
    return PassMean("judge_score", lambda one: one.answer)


def reference_score() -> Metric:
    """The reference's score."""
    return PassMean("reference_score", lambda one: one.reference)


def win_rate() -> Metric:
    """Passes in which the answer is strictly above the reference."""
    return PassMean("win_rate", lambda one: float(one.answer > one.reference))


def position_bias() -> Metric:
    """Above 0: the judge favours what comes second."""

    def score(row: ScoredRow) -> float | None:
        pair = pair_of(row)
        return pair.straight.answer - pair.swapped.answer if pair.straight and pair.swapped else None

    return Mean("position_bias", score, higher_is_better=False)


def flip_rate() -> Metric:
    """0 for a judge that does not look at the order."""

    def score(row: ScoredRow) -> float | None:
        passes = pair_of(row).passes
        signs = {(one.answer > one.reference) - (one.answer < one.reference) for one in passes}
        return float(len(signs) > 1) if len(passes) == 2 else None

    return Mean("flip_rate", score, higher_is_better=False)


def judge_parse_rate() -> Metric:
    """Retries included: a pass that parsed in the end has parsed."""
    return Mean("judge_parse_rate", lambda row: len(pair_of(row).passes) / 2)


def rubric_score() -> Metric:
    """A wrong answer's reasoning is rated 0 without asking."""
    return Mean("rubric_score", lambda row: None if row.answer.value is None else float(row.answer.value))


JUDGE_FILTERS: dict[str, Callable[..., FilterStep]] = {
    factory.__name__: factory for factory in (judge_align, judge_pair, judge_rubric)
}
JUDGE_METRICS: dict[str, Callable[..., Metric]] = {
    factory.__name__: factory
    for factory in (
        judge_score,
        reference_score,
        win_rate,
        position_bias,
        flip_rate,
        judge_parse_rate,
        rubric_score,
    )
}


NO_CHOICE = "none"


def read_letter(reply: str, letters: Sequence[str]) -> str | None:
    """A letter of the row, or "none"; marks around it do not count, any other word makes the reply unreadable."""
    if _NONE.fullmatch(reply):
        return NO_CHOICE
    found = _LETTER.fullmatch(reply)
    letter = found["letter"].upper() if found else ""
    return letter if letter in [name.upper() for name in letters] else None


_LETTER = re.compile(r"[\s\"'(\[*]*(?P<letter>[A-Za-z])[\s\"')\].*]*")


_NONE = re.compile(r"[\s\"'(\[*]*none[\s\"')\].*]*", re.IGNORECASE)
