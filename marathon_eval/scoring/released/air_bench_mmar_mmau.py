"""Defines the filters and metrics that apply the released rules of AIR-Bench, MMAR and MMAU in a task's YAML.

air_bench.letter       filter: the letter that score_foundation.py reads in a response
air_bench.accuracy     metric: accuracy over rows with a letter; a row on which the script stops is wrong
air_bench.invalid      metric: share of rows on which score_foundation.py stops
mmar.inclusion         metric: share of predictions with the answer's words and no other option's; also MMAU's
invalid                metric: share of rows whose prediction is no text, on which the released script stops
option_accuracy        metric for `strict` readings: accuracy over rows whose gold is one of the options
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.scoring.judge import NOT_JUDGED
from marathon_eval.scoring.metrics.accuracy import is_hit
from marathon_eval.scoring.released import air_bench, mmar

#: The rule of a prediction that is null, a number or a list; it has no text to read and is wrong in every reading.
INVALID = "invalid"


def letter_filter() -> FilterStep:
    """Return a filter that extracts AIR-Bench's letter; A-D count even where the row has fewer options."""

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        letters = [air_bench.air_bench_letter(repeat.text) for repeat in repeats]
        return [Held(value or "", rule, value is not None) for value, rule in letters]

    return step


def air_bench_gold(row: ScoredRow) -> str | None:
    """Return AIR-Bench's gold letter; None where the script would stop."""
    try:
        return air_bench.gold_letter(row.context.doc)
    except KeyError:
        return None


def air_bench_accuracy(blank: Literal["dropped", "wrong"] = "dropped") -> Metric:
    """Build the accuracy over rows with a letter; rows without one are left out, as the script does.

    `blank` "wrong" counts blank responses, as MMSU's script does, which is made of this one.
    """
    wrong = (INVALID, "empty") if blank == "wrong" else (INVALID,)

    def score(row: ScoredRow) -> float | None:
        if row.answer.value is None:
            return 0.0 if row.answer.rule in wrong else None
        return float(row.answer.value == air_bench_gold(row))

    return Mean("accuracy", score, share=True)


def air_bench_invalid() -> Metric:
    """Build the share of rows on which the script stops: no text, or a letter and a gold text that is no option."""
    return Mean(
        "invalid",
        lambda row: float(
            row.answer.rule == INVALID or (row.answer.value is not None and air_bench_gold(row) is None)
        ),
        share=True,
    )


def inclusion() -> Metric:
    """Build the accuracy by MMAR's and MMAU's rule; an empty prediction is wrong."""
    return Mean(
        "accuracy",
        lambda row: float(mmar.included(row.label, row.answer.value or "", row.context.choices)),
        share=True,
    )


def invalid() -> Metric:
    """Build the share of rows whose prediction is no text."""
    return Mean("invalid", lambda row: float(row.answer.rule == INVALID), share=True)


def option_accuracy() -> Metric:
    """Build the accuracy over rows whose gold is an option and which, in a judge's reading, a judge has seen."""

    def score(row: ScoredRow) -> float | None:
        counted = row.label in row.context.choices and row.answer.rule != NOT_JUDGED
        return is_hit(row) if counted else None

    return Mean("accuracy", score, share=True)


AIR_BENCH_FILTERS: dict[str, Callable[..., FilterStep]] = {"air_bench.letter": letter_filter}
RELEASED_METRICS: dict[str, Callable[..., Metric]] = {
    "air_bench.accuracy": air_bench_accuracy,
    "air_bench.invalid": air_bench_invalid,
    "mmar.inclusion": inclusion,
    "invalid": invalid,
    "option_accuracy": option_accuracy,
}
