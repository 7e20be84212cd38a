"""What became of one answer: right, wrong, between the two, unanswered, failed, or not scored."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

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
#: A row's own verdict is one of these where it has one; the headline is often a mean that no single row has.
_VERDICTS = ("accuracy", "acc", "exact_match")


@dataclass(frozen=True)
class Outcome:
    """One letter of NAMES, and the number behind it where the row has one."""

    code: str
    score: float | None = None


def outcome_of(row: Mapping[str, Any], reading: str, metric: str) -> Outcome:
    """The outcome of a samples_<task>.jsonl line under one reading; `metric` is the task's headline.

    A number other than 0 and 1, and any error rate above 0, is graded: neither right nor wrong.
    """
    if row["status"] not in ("ok", "unverified"):
        return Outcome(ERROR)
    read = row["readings"].get(reading)
    if read is None:
        return Outcome(UNSCORED)
    if read["answer"] is None:
        return Outcome(UNANSWERED)
    name, score = _verdict(read["scores"], metric)
    if score is None:
        return Outcome(UNSCORED)
    if _is_error_rate(name):
        return Outcome(RIGHT if score == 0 else GRADED, score)
    return Outcome(RIGHT if score == 1 else WRONG if score == 0 else GRADED, score)


def _is_error_rate(name: str) -> bool:
    """Whether 0 is perfect: `wer`, `mean_wer`, `deletion_rate`, but not `wer_accuracy` or `parse_rate`."""
    words = set(name.split("_"))
    return bool(words & {"wer", "cer", "deletion", "insertion", "substitution"}) and "accuracy" not in words


def _verdict(scores: Mapping[str, float | None], metric: str) -> tuple[str, float | None]:
    for name in (*_VERDICTS, metric, *scores):
        if scores.get(name) is not None:
            return name, scores[name]
    return metric, None


def outcome_counts(codes: Iterable[str]) -> dict[str, int]:
    """How often each outcome occurs, by its name; zero left out."""
    counts = dict.fromkeys(NAMES, 0)
    for code in codes:
        counts[code] += 1
    return {NAMES[code]: number for code, number in counts.items() if number}
