"""F1 and the majority baseline, from counts: what scikit-learn gives (held equal in tests) without its import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.metrics import Metric, Scored, is_hit, ratio, said_like, same_label

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LabelF1(Metric):
    """F1 over the labels that are right somewhere among the rows.

    An unanswered row is a miss of its right label and a false alarm of none; so is an answer that is nowhere right.
    scikit-learn: `f1_score(gold, said, labels=<labels in gold>, average=..., zero_division=0)`, with a word that is
    no label for "no answer". In a draw of the bootstrap the labels are those right in that draw.
    """

    def __init__(self, average: Literal["macro", "weighted"]) -> None:
        self.name = f"{average}_f1"
        self._weighted = average == "weighted"

    def score(self, row: Scored) -> float | None:
        """Whether the row is right: F1 has no number for a single row."""
        return is_hit(row)

    def counts(self, rows: Sequence[Scored]) -> NDArray[Any]:
        """[right, said, gold] for every label, label by label."""
        gold = [same_label(row.label) for row in rows]
        said = [
            label if is_hit(row) else same_label(said_like(row, row.label) or "")
            for row, label in zip(rows, gold, strict=True)
        ]
        return label_counts(gold, said, sorted(set(gold)))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        right, said, gold = (sums[:, part::3] for part in range(3))
        scores = f1(right, said, gold)
        weights = gold if self._weighted else (gold > 0).astype(float)
        return ratio((scores * weights).sum(axis=1), weights.sum(axis=1))


class BinaryF1(Metric):
    """F1 of one label, lm-eval's and scikit-learn's binary F1; an unanswered row is a miss where it was right."""

    def __init__(self, pos_label: str) -> None:
        self.name = "f1"
        self._positive = same_label(pos_label)

    def score(self, row: Scored) -> float | None:
        """Whether the row is right: F1 has no number for a single row."""
        return is_hit(row)

    def counts(self, rows: Sequence[Scored]) -> NDArray[Any]:
        """[right, said, gold] of the positive label."""
        gold = [same_label(row.label) for row in rows]
        return label_counts(gold, [same_label(row.answer.value or "") for row in rows], [self._positive])

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return f1(sums[:, 0], sums[:, 1], sums[:, 2])


class Majority(Metric):
    """What always giving the most frequent right answer would get."""

    def __init__(self) -> None:
        self.name = "majority"

    def score(self, row: Scored) -> float | None:
        """None: it is a property of all rows together."""
        return None

    def counts(self, rows: Sequence[Scored]) -> NDArray[Any]:
        """A one in the column of the row's right label."""
        gold = [same_label(row.label) for row in rows]
        return label_counts(gold, gold, sorted(set(gold)))[:, 2::3]

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        if not sums.shape[1]:
            return ratio(sums.sum(axis=1), sums.sum(axis=1))
        return ratio(sums.max(axis=1), sums.sum(axis=1))


def label_counts(gold: Sequence[str], said: Sequence[str], labels: Sequence[str]) -> NDArray[Any]:
    """Per row [n, 3 x labels]: right, said, gold of each label; texts that are no label count nowhere."""
    import numpy as np

    places = {label: place for place, label in enumerate(labels)}
    counts = np.zeros((len(gold), len(labels), 3))
    golds = np.fromiter((places.get(label, -1) for label in gold), np.intp, len(gold))
    saids = np.fromiter((places.get(label, -1) for label in said), np.intp, len(said))
    rows = np.arange(len(gold))
    for part, place, chosen in (
        (0, golds, (golds == saids) & (golds >= 0)),
        (1, saids, saids >= 0),
        (2, golds, golds >= 0),
    ):
        counts[rows[chosen], place[chosen], part] = 1
    return counts.reshape(len(gold), -1)


def f1(right: NDArray[Any], said: NDArray[Any], gold: NDArray[Any]) -> NDArray[Any]:
    """2 right / (said + gold); 0 for a label that is neither said nor right."""
    return ratio(2 * right, said + gold, empty=0.0)


def binary_f1(pos_label: str | int = 1) -> Metric:
    """lm-eval's `f1`."""
    return BinaryF1(str(pos_label))


METRICS: dict[str, Callable[..., Metric]] = {
    "macro_f1": lambda: LabelF1("macro"),
    "weighted_f1": lambda: LabelF1("weighted"),
    "f1": binary_f1,
    "majority": lambda: Majority(),
}
