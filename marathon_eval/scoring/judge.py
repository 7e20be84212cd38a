"""Defines the filters and metrics that read an LLM judge's verdicts, which evaluator/judge.py stores in the row.

A row that the judge failed on, or whose replies cannot be parsed, is left out of the reading (api/filter.py: LEFT_OUT):
its coverage falls, and no other reading changes.

judge_align     filter: the option that the response means according to the judge; "none" counts as unanswered
judge_pair      filter: both passes' scores as text, "8 7 / 6 9": first the pass with the reference in front, then the
                pass with the answer in front, each in the order of the judge's reply; "-" for a pass whose reply
                could not be parsed. With `both: true`, a row with only one parsed pass, or with scores off the
                scale, is left out
judge_rubric    filter: the rating of an answer's reasoning, 0 to 1

judge_score, reference_score    mean score of the answer and of the reference: the mean of the two passes' means
                                (AIR-Bench, chat)
win_rate                        share of passes in which the answer beats the reference, averaged in the same way
position_bias                   the answer's score in second place minus its score in first place
flip_rate                       share of rows whose win, tie or loss depends on the order
judge_parse_rate                share of passes whose reply was parsed
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

#: The field of a row that stores its verdicts; no dataset column and no template variable can have this name.
JUDGE_VERDICTS_FIELD = "judge verdicts"
#: Scores that a judge may give in `judge_pair`.
SCALE = range(1, 11)
#: Stands for a pass whose reply could not be parsed.
NO_SCORE = "-"
#: Rules of rows that a judged reading leaves out: no judge has seen the row, it could not be asked about it, it failed,
#: its replies could not be parsed, or its scores are off the scale.
NOT_JUDGED, JUDGE_NOT_ASKED, JUDGE_FAILED = "not_judged", "judge_not_asked", "judge_failed"
UNPARSED, OFF_SCALE = "judge_unparsed", "judge_off_scale"
#: Begins the text that a sample stores behind the replies of a call, if the last one has a grade that the task has not.
OFF_SCALE_MARK = "off the scale: "
#: Begins the text that it stores if the judge's model failed.
FAILED_MARK = "failed: "


class Pass(NamedTuple):
    """Holds the two scores of one pass: the reference's and the answer's, whatever their order in the prompt."""

    reference: int
    answer: int


class Pair(NamedTuple):
    """Holds both passes of a row, None where the reply could not be parsed; `swapped` shows the answer first."""

    straight: Pass | None
    swapped: Pass | None

    @property
    def passes(self) -> list[Pass]:
        """Return the passes that were parsed."""
        return [scores for scores in self if scores is not None]

    def text(self) -> str:
        """Return the text that a sample stores, such as "8 7 / 6 9": each pass in the order of the judge's reply."""
        written = (
            self.straight and f"{self.straight.reference} {self.straight.answer}",
            self.swapped and f"{self.swapped.answer} {self.swapped.reference}",
        )
        return " / ".join(scores or NO_SCORE for scores in written)

    @classmethod
    def of(cls, text: str) -> Pair:
        """Parse what `text` returns."""
        straight, _, swapped = text.partition(" / ")
        first, second = _numbers(straight), _numbers(swapped)
        return cls(Pass(*first) if first else None, Pass(*reversed(second)) if second else None)

    @property
    def on_scale(self) -> bool:
        """Whether both passes were parsed and every score lies from 1 to 10."""
        return len(self.passes) == 2 and all(score in SCALE for scores in self.passes for score in scores)


def _numbers(text: str) -> list[int] | None:
    return None if text == NO_SCORE else [int(number) for number in text.split()]


def verdict_of(kind: str, accepted: Callable[[Answer], Answer] = lambda answer: answer) -> FilterStep:
    """Return a filter that reads the verdict of one kind ("align", "pair", "rubric") from the row.

    `accepted` may replace the verdict. A row that no judge has seen is left out, with the rule `not_judged`.
    """

    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        verdicts: Mapping[str, Answer] = context.doc.get(JUDGE_VERDICTS_FIELD, {})
        answer = accepted(verdicts.get(kind, Answer(None, NOT_JUDGED)))
        return [Held(answer.value or "", answer.rule, answer.value is not None) for _ in held[:1]]

    return step


def judge_align() -> FilterStep:
    """Return a filter whose answer is the text of the option that the judge chose."""
    return verdict_of("align")


def judge_rubric() -> FilterStep:
    """Return a filter whose answer is the rating as text."""
    return verdict_of("rubric")


def judge_pair(both: bool = False) -> FilterStep:
    """Return a filter whose answer is both passes' scores as text; `both` refuses fewer or off-scale scores."""

    def accepted(answer: Answer) -> Answer:
        if not both or answer.value is None or Pair.of(answer.value).on_scale:
            return answer
        return Answer(None, OFF_SCALE if answer.rule == "both" else UNPARSED)

    return verdict_of("pair", accepted)


class PassMean(Metric):
    """Averages a number over the straight passes and over the swapped ones, then takes the mean of the two."""

    def __init__(self, name: str, number: Callable[[Pass], float], higher_is_better: bool = True) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._number = number

    def score(self, row: ScoredRow) -> float | None:
        """Return the mean over the row's parsed passes; None without any."""
        passes = pair_of(row).passes
        return sum(map(self._number, passes)) / len(passes) if passes else None

    def tally(self) -> Tally:
        """Return a tally of [sum, passes] of the straight and [sum, passes] of the swapped passes."""
        return NumberTally(4, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> Iterator[float]:
        for scores in pair_of(row):
            yield from counted_score(None if scores is None else self._number(scores))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        mean: NDArray[Any] = (ratio(sums[:, 0], sums[:, 1]) + ratio(sums[:, 2], sums[:, 3])) / 2
        return mean


def pair_of(row: ScoredRow) -> Pair:
    """Parse the answer of `judge_pair`; an unanswered row has two unparsed passes."""
    return Pair(None, None) if row.answer.value is None else Pair.of(row.answer.value)


def judge_score() -> Metric:
    """Build the mean score of the answer."""
    return PassMean("judge_score", lambda scores: scores.answer)


def reference_score() -> Metric:
    """Build the mean score of the reference."""
    return PassMean("reference_score", lambda scores: scores.reference)


def win_rate() -> Metric:
    """Build the share of passes in which the answer's score is strictly above the reference's."""
    return PassMean("win_rate", lambda scores: float(scores.answer > scores.reference))


def position_bias() -> Metric:
    """Build the answer's score in second place minus that in first; above 0, the judge favours the second; 0 is best."""

    def score(row: ScoredRow) -> float | None:
        pair = pair_of(row)
        return pair.straight.answer - pair.swapped.answer if pair.straight and pair.swapped else None

    return Mean("position_bias", score, higher_is_better=None)


def flip_rate() -> Metric:
    """Build the share of rows whose win, tie or loss depends on the order; a judge that ignores the order has 0."""

    def score(row: ScoredRow) -> float | None:
        passes = pair_of(row).passes
        signs = {(scores.answer > scores.reference) - (scores.answer < scores.reference) for scores in passes}
        return float(len(signs) > 1) if len(passes) == 2 else None

    return Mean("flip_rate", score, higher_is_better=False, share=True)


def judge_parse_rate() -> Metric:
    """Build the share of passes whose reply was parsed, if only after retries; rows left out count too."""
    rate = Mean("judge_parse_rate", lambda row: len(pair_of(row).passes) / 2, share=True)
    rate.counts_left_out = True
    return rate


def rubric_score() -> Metric:
    """Build the mean rating; an unanswered row has 0, and one that the judge failed on is left out."""
    return Mean("rubric_score", lambda row: float(row.answer.value or 0))


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

#: The reply of a judge that finds none of the options in a response.
NO_CHOICE = "none"

_LETTER = re.compile(r"[\s\"'(\[*]*(?P<letter>[A-Za-z])[\s\"')\].*]*")
_NONE = re.compile(r"[\s\"'(\[*]*none[\s\"')\].*]*", re.IGNORECASE)


def read_letter(reply: str, letters: Sequence[str]) -> str | None:
    """Return the letter of the row that a judge replied, or "none"; None for a reply that cannot be parsed.

    Marks around the letter are ignored: "(b)." is "B". Any other word makes the reply unreadable.
    """
    if _NONE.fullmatch(reply):
        return NO_CHOICE
    match = _LETTER.fullmatch(reply)
    letter = match["letter"].upper() if match else ""
    return letter if letter in [name.upper() for name in letters] else None
