"""Classifies answers as right, wrong, graded (in between), unanswered, failed or not scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, NamedTuple

from marathon_eval.api.filter import LEFT_OUT
from marathon_eval.results.directions import falling_metrics

RIGHT, WRONG, GRADED, UNANSWERED, ERROR, UNSCORED, ABSENT = "rwguen-"
NAMES = {
    RIGHT: "right",
    WRONG: "wrong",
    GRADED: "graded",
    UNANSWERED: "unanswered",
    ERROR: "error",
    UNSCORED: "not scored",
    ABSENT: "not in this run",
}
#: Metrics that decide right or wrong where the headline's has no verdict on the row, if the reading has one of them.
_VERDICTS = ("accuracy", "acc", "exact_match")
#: Metrics over all rows that have no value for a single one; what samples hold for them is whether the answer is right.
_OVER_ROWS = ("macro_f1", "weighted_f1", "binary_f1", "f1", "audiomarathon.f1")
_MAJORITY = "majority"
#: Metrics whose scores are grades on a scale of their own, of which 1 may be the worst.
_GRADES = ("judge_score", "reference_score", "rubric_score", "other_grade", "grade", "position_bias")


class Outcome(NamedTuple):
    """Holds one code of NAMES, the score that it follows from, if any, and the name of that score's metric."""

    code: str
    score: float | None = None
    metric: str | None = None


class Deciding(NamedTuple):
    """Names the headline's metric, and says whether it has a verdict on a row.

    `falling` names the task's metrics of which a lower value is better.
    """

    metric: str = ""
    has_verdict: bool = True
    falling: frozenset[str] = frozenset()

    def falls(self, metric: str) -> bool:
        """Return whether a lower value of this metric is better."""
        return metric in self.falling or is_error_rate(metric)

    def among(self, names: Iterable[str]) -> str:
        """Return the metric that decides outcomes where a reading has a score of each of these; empty without any."""
        known = list(names)
        order = [*([self.metric] if self.has_verdict else ()), *_VERDICTS, self.metric, *known]
        return next((name for name in order if name in known), "")


def deciding(
    headline: Mapping[str, Any] | None, metrics: Mapping[str, Mapping[str, Mapping[str, Any]]] | None
) -> Deciding:
    """Return the metric that decides the outcomes of a task's rows, from `headline` and `metrics` of its results."""
    name = str((headline or {}).get("metric", ""))
    entry = (metrics or {}).get(str((headline or {}).get("reading")), {}).get(name, {})
    falling = {each for names in falling_metrics("", metrics or {}).values() for each in names}
    if entry.get("higher_is_better") is False:
        falling.add(name)
    told = Deciding(name, falling=frozenset(falling))
    has_verdict = bool(name) and not (told.falls(name) or is_over_rows(name, entry) or is_grade(name))
    return told._replace(has_verdict=has_verdict)


def is_over_rows(name: str, entry: Mapping[str, Any]) -> bool:
    """Return whether a metric has a value over rows only, so that what it records for a row is whether the row is right."""
    return str(entry.get("metric", name)) in _OVER_ROWS


def is_of_all_rows(name: str, entry: Mapping[str, Any]) -> bool:
    """Return whether a metric has a value over all rows alone, from its name and its entry in `metrics` of results."""
    return is_over_rows(name, entry) or str(entry.get("metric", name)) == _MAJORITY


def outcome_of(row: Mapping[str, Any], reading: str, headline: Deciding) -> Outcome:
    """Return the outcome of a samples_<task>.jsonl line under one reading; `headline` is what `deciding` returns.

    The headline's metric decides where it has a score from 0 to 1 for the row, else accuracy or exact_match, else any other.
    A judge's grade, a score other than 0 and 1, and an error rate above 0 are graded: neither right nor wrong.
    """
    if row["status"] not in ("ok", "unverified"):
        return Outcome(ERROR)
    scored = row["readings"].get(reading)
    if scored is None:
        return Outcome(UNSCORED)
    if scored["answer"] is None:
        return Outcome(UNSCORED if scored.get("rule") in LEFT_OUT else UNANSWERED)
    name, score = _verdict(scored["scores"], headline)
    if score is None:
        return Outcome(UNSCORED)
    if is_grade(name):
        return Outcome(GRADED, score, name)
    if headline.falls(name):
        return Outcome(RIGHT if score == 0 else GRADED, score, name)
    return Outcome(RIGHT if score == 1 else WRONG if score == 0 else GRADED, score, name)


@cache
def is_grade(name: str) -> bool:
    """Return whether the metric's scores are grades on a scale of their own: for `grade[judge]` and `grade_clarity`.

    Shares of votes, such as `grade_win_rate`, are none.
    """
    plain = name.partition("[")[0]
    return plain in _GRADES or (plain.startswith("grade_") and not plain.endswith("_rate"))


@cache
def is_error_rate(name: str) -> bool:
    """Return whether 0 is the best score: for `wer`, `deletion_rate`, but not `wer_accuracy` or `parse_rate`."""
    words = set(name.split("_"))
    return (
        bool(words & {"wer", "cer", "mae", "deletion", "insertion", "substitution"})
        and "accuracy" not in words
    )


def unanswered_score(row: Mapping[str, Any], reading: str, headline: Deciding) -> float | None:
    """Return what an unanswered row counts in means over rows, such as 1 as an error rate or the lowest grade."""
    return _verdict(row["readings"][reading]["scores"], headline)[1]


def _verdict(scores: Mapping[str, float | None], headline: Deciding) -> tuple[str, float | None]:
    own = scores.get(headline.metric)
    if headline.has_verdict and own is not None and 0 <= own <= 1:
        return headline.metric, own
    for name in (*_VERDICTS, headline.metric, *scores):
        score = scores.get(name)
        if score is not None:
            return name, score
    return headline.metric, None


def outcome_counts(codes: Iterable[str]) -> dict[str, int]:
    """Count the outcomes by name; those that do not occur are omitted."""
    counts = dict.fromkeys(NAMES, 0)
    for code in codes:
        counts[code] += 1
    return {NAMES[code]: number for code, number in counts.items() if number}
