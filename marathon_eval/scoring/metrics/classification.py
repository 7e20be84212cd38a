"""Computes F1 and the majority baseline from counts; tests compare them with scikit-learn's, not imported here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.metric import Labels, Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.scoring.metrics.accuracy import is_hit, said_like, same_label

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LabelF1(Metric):
    """Averages F1 over the labels that are the target of some row.

    An unanswered row is a miss for its target and no false alarm; so is an answer that is no row's target.
    It equals scikit-learn's `f1_score(gold, predicted, labels=<labels in gold>, average=..., zero_division=0)` with a
    word that is no label in place of "no answer". In a draw of the bootstrap the labels are the targets of that draw.
    """

    def __init__(self, average: Literal["macro", "weighted"]) -> None:
        self.name = f"{average}_f1"
        self._weighted = average == "weighted"

    def score(self, row: ScoredRow) -> float | None:
        """Return 1 where the row is right, else 0, because F1 has no value for a single row."""
        return is_hit(row)

    def tally(self) -> Tally:
        """Return a tally of [right, predicted, gold] for every label, label by label."""
        return Labels(_gold_and_predicted, _all_labels)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        right, predicted, gold = (sums[:, part::3] for part in range(3))
        scores = f1(right, predicted, gold)
        weights = gold if self._weighted else (gold > 0).astype(float)
        return ratio((scores * weights).sum(axis=1), weights.sum(axis=1))


class BinaryF1(Metric):
    """Computes F1 of one label as lm-eval and scikit-learn do; an unanswered row is a miss if that label is right."""

    def __init__(self, pos_label: str) -> None:
        self.name = "f1"
        self._positive = same_label(pos_label)

    def score(self, row: ScoredRow) -> float | None:
        """Return 1 where the row is right, else 0, because F1 has no value for a single row."""
        return is_hit(row)

    def tally(self) -> Tally:
        """Return a tally of [right, predicted, gold] of the positive label."""
        return NumberTally(3, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[float, float, float]:
        gold = same_label(row.label) == self._positive
        predicted = same_label(row.answer.value or "") == self._positive
        return gold and predicted, predicted, gold

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return f1(sums[:, 0], sums[:, 1], sums[:, 2])


class Majority(Metric):
    """Computes the accuracy of always giving the most frequent target."""

    def __init__(self) -> None:
        self.name = "majority"

    def score(self, row: ScoredRow) -> float | None:
        """Return None, because the baseline is a property of all rows together."""
        return None

    def tally(self) -> Tally:
        """Return a tally with a one in the column of the row's target."""
        return Labels(lambda row, score: same_label(row.label), _gold_alone)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        if not sums.shape[1]:
            return ratio(sums.sum(axis=1), sums.sum(axis=1))
        return ratio(sums.max(axis=1), sums.sum(axis=1))


def _gold_and_predicted(row: ScoredRow, score: float | None) -> tuple[str, str]:
    gold = same_label(row.label)
    return gold, gold if score else same_label(said_like(row, row.label) or "")


def _all_labels(pairs: Sequence[tuple[str, str]]) -> NDArray[Any]:
    gold, predicted = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return label_counts(gold, predicted, sorted(set(gold)))


def _gold_alone(gold: Sequence[str]) -> NDArray[Any]:
    return label_counts(gold, gold, sorted(set(gold)))[:, 2::3]


def label_counts(gold: Sequence[str], predicted: Sequence[str], labels: Sequence[str]) -> NDArray[Any]:
    """Return counts per row [n, 3 x labels]: right, predicted, gold of each label; other texts are not counted."""
    import numpy as np

    places = {label: place for place, label in enumerate(labels)}
    counts = np.zeros((len(gold), len(labels), 3))
    golds = np.fromiter((places.get(label, -1) for label in gold), np.intp, len(gold))
    predictions = np.fromiter((places.get(label, -1) for label in predicted), np.intp, len(predicted))
    rows = np.arange(len(gold))
    for part, place, chosen in (
        (0, golds, (golds == predictions) & (golds >= 0)),
        (1, predictions, predictions >= 0),
        (2, golds, golds >= 0),
    ):
        counts[rows[chosen], place[chosen], part] = 1
    return counts.reshape(len(gold), -1)


def f1(right: NDArray[Any], predicted: NDArray[Any], gold: NDArray[Any]) -> NDArray[Any]:
    """Return 2 right / (predicted + gold); 0 for a label that no row has as answer or target."""
    return ratio(2 * right, predicted + gold, empty=0.0)


def binary_f1(pos_label: str | int = 1) -> Metric:
    """Build lm-eval's `f1`, for the label `pos_label`."""
    return BinaryF1(str(pos_label))


CLASSIFICATION_METRICS: dict[str, Callable[..., Metric]] = {
    "macro_f1": lambda: LabelF1("macro"),
    "weighted_f1": lambda: LabelF1("weighted"),
    "f1": binary_f1,
    "majority": lambda: Majority(),
}
