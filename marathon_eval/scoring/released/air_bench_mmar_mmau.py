"""The released rules of AIR-Bench, MMAR and MMAU as filters and metrics that a YAML names.

air_bench.letter       filter: the letter of score_foundation.py
air_bench.accuracy     metric: rows with a letter alone; a row on which the script stops is wrong
mmar.inclusion         metric: the answer's words, and no other option's; MMAU's is the same
invalid                metric: share of rows on which the released script stops
option_accuracy        metric for `strict` readings: accuracy over rows whose gold is one of the options
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.scoring.judge import NOT_JUDGED
from marathon_eval.scoring.metrics.accuracy import is_hit
from marathon_eval.scoring.released import air_bench, mmar

#: The rule of a prediction that is null, a number or a list: no text to read, wrong in every reading.
INVALID = "invalid"


def letter_filter() -> FilterStep:
    """The letter that AIR-Bench's script reads; A-D count even where the row has fewer options."""

    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        read = [air_bench.air_bench_letter(one.text) for one in held]
        return [Held(value or "", rule, value is not None) for value, rule in read]

    return step


def air_bench_gold(row: ScoredRow) -> str | None:
    """AIR-Bench's gold letter; None where the script would stop."""
    try:
        return air_bench.gold_letter(row.context.doc)
    except KeyError:
        return None


def air_bench_accuracy() -> Metric:
    """Right over rows with a letter: unread rows are left out, as the script does."""

    def score(row: ScoredRow) -> float | None:
        if row.answer.value is None:
            return 0.0 if row.answer.rule == INVALID else None
        return float(row.answer.value == air_bench_gold(row))

    return Mean("accuracy", score)


def air_bench_invalid() -> Metric:
    """Rows on which the script stops: no text to read, or a letter and a gold text that is no option."""
    return Mean(
        "invalid",
        lambda row: float(
            row.answer.rule == INVALID or (row.answer.value is not None and air_bench_gold(row) is None)
        ),
    )


def inclusion() -> Metric:
    """MMAR's and MMAU's verdict; an empty prediction is wrong."""
    return Mean(
        "accuracy", lambda row: float(mmar.included(row.label, row.answer.value or "", row.context.choices))
    )


def invalid() -> Metric:
    """Rows whose prediction is no text."""
    return Mean("invalid", lambda row: float(row.answer.rule == INVALID))


def option_accuracy() -> Metric:
    """Right over rows whose gold is an option, and which a judge has seen where it is a judge's reading."""

    def score(row: ScoredRow) -> float | None:
        known = row.label in row.context.choices and row.answer.rule != NOT_JUDGED
        return is_hit(row) if known else None

    return Mean("accuracy", score)


AIR_BENCH_FILTERS: dict[str, Callable[..., FilterStep]] = {"air_bench.letter": letter_filter}
RELEASED_METRICS: dict[str, Callable[..., Metric]] = {
    "air_bench.accuracy": air_bench_accuracy,
    "air_bench.invalid": air_bench_invalid,
    "mmar.inclusion": inclusion,
    "invalid": invalid,
    "option_accuracy": option_accuracy,
}
