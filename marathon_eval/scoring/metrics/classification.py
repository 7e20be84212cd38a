"""Computes F1 and the majority baseline from counts; tests compare them with scikit-learn's, not imported here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from marathon_eval.api.metric import Labels, Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.scoring.metrics.accuracy import is_hit, same_label

if TYPE_CHECKING:
    from numpy.typing import NDArray


class LabelF1(Metric):
    """Averages F1 over the labels that are the target of some row.

    An unanswered row is a miss for its target and no false alarm; so is an answer that is no row's target.
    It equals scikit-learn's `f1_score(gold, predicted, labels=<labels in gold>, average=..., zero_division=0)` with a
    word that is no label in place of "no answer". Where clips are left out for an interval, the labels are the targets that remain.
    """

    share = True

    def __init__(self, average: Literal["macro", "weighted"]) -> None:
        self.name = f"{average}_f1"
        self._weighted = average == "weighted"

    def score(self, row: ScoredRow) -> float | None:
        """Return 1 where the row is right, else 0, because F1 has no value for a single row."""
        return is_hit(row)

    def tally(self) -> Tally:
        """Return a tally of [right, predicted, gold] for every label, label by label."""
        return Labels(_forms_of_row, _all_labels)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        right, predicted, gold = (sums[:, part::3] for part in range(3))
        scores = f1(right, predicted, gold)
        weights = gold if self._weighted else (gold > 0).astype(float)
        return ratio((scores * weights).sum(axis=1), weights.sum(axis=1))


class BinaryF1(Metric):
    """Computes F1 of one label as lm-eval and scikit-learn do; an unanswered row is a miss if that label is right.

    Without that label in any answer or target it has no value, where scikit-learn's default gives 0.
    """

    share = True

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
        positive = self._positive_of(row)
        gold = positive in label_forms(row, row.label, gold=True)
        # a right answer may be another of the row's targets, and counts as the first
        predicted = gold if score else positive in label_forms(row, row.answer.value or "")
        return gold and predicted, predicted, gold

    def _positive_of(self, row: ScoredRow) -> str:
        """Return the positive label; a number that is no option's text is the place of an option, from 0, as in lm-eval."""
        choices = row.context.choices
        if not self._positive.isdecimal() or any(same_label(text) == self._positive for text in choices):
            return self._positive
        place = int(self._positive)
        return same_label(choices[place]) if place < len(choices) else self._positive

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Return F1, and nan where the label is neither answer nor target of any row: F1 is undefined there."""
        return ratio(2 * sums[:, 0], sums[:, 1] + sums[:, 2])


class Majority(Metric):
    """Computes the accuracy of always giving the label that is right in most rows; a row may have several right ones."""

    share = True
    of_answers = False

    def __init__(self) -> None:
        self.name = "majority"

    def score(self, row: ScoredRow) -> float | None:
        """Return None, because the baseline is a property of all rows together."""
        return None

    def tally(self) -> Tally:
        """Return a tally with a one in the column of each of the row's targets, and a last column of ones."""
        return Labels(_golds_of_row, _golds_alone)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(sums[:, :-1].max(axis=1, initial=0), sums[:, -1])


class LabelForms(NamedTuple):
    """Holds a label as the letter and as the text of an option, equal where there is only one form.

    `as_letter` says in which of the two forms the row writes it; None where the forms are equal.
    """

    letter: str
    text: str
    as_letter: bool | None

    def written(self, in_letters: bool) -> str:
        """Return the letter or the text."""
        return self.letter if in_letters else self.text


def label_forms(row: ScoredRow, label: str, gold: bool = False) -> LabelForms:
    """Return both forms of a label. A gold text that several options share means the first of them."""
    choices, letters = row.context.choices, row.context.letters
    letter, text, as_letter = label, label, None
    if letters and label in letters:
        text, as_letter = choices[letters.index(label)], True
    elif letters and (choices.count(label) == 1 or (gold and label in choices)):
        letter, as_letter = letters[choices.index(label)], False
    return LabelForms(same_label(letter), same_label(text), as_letter)


def _forms_of_row(row: ScoredRow, score: float | None) -> tuple[LabelForms, LabelForms]:
    gold = label_forms(row, row.label, gold=True)
    return gold, gold if score else label_forms(row, row.answer.value or "")


def _in_letters(golds: Sequence[LabelForms]) -> bool:
    """Return whether labels are counted as letters: the form of most golds, letters in a tie.

    One form for all rows makes a gold written as a letter in one row and as its text in another one class.
    """
    return sum(gold.as_letter is True for gold in golds) >= sum(gold.as_letter is False for gold in golds)


def _all_labels(pairs: Sequence[tuple[LabelForms, LabelForms]]) -> NDArray[Any]:
    in_letters = _in_letters([gold for gold, _ in pairs])
    gold = [forms.written(in_letters) for forms, _ in pairs]
    predicted = [forms.written(in_letters) for _, forms in pairs]
    return label_counts(gold, predicted, sorted(set(gold)))


def _golds_of_row(row: ScoredRow, score: float | None) -> tuple[LabelForms, ...]:
    return tuple([label_forms(row, target, gold=True) for target in row.targets])


def _golds_alone(rows: Sequence[tuple[LabelForms, ...]]) -> NDArray[Any]:
    import numpy as np

    in_letters = _in_letters([forms for golds in rows for forms in golds])
    written = [[forms.written(in_letters) for forms in golds] for golds in rows]
    columns = {
        label: place for place, label in enumerate(sorted({label for row in written for label in row}))
    }
    counts = np.zeros((len(rows), len(columns) + 1))
    counts[:, -1] = 1
    places = [number for number, row in enumerate(written) for _ in row]
    counts[places, [columns[label] for row in written for label in row]] = 1
    return counts


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


def macro_f1() -> Metric:
    """Build the plain mean of the labels' F1; a label that is neither target nor answer of any row is left out."""
    return LabelF1("macro")


def weighted_f1() -> Metric:
    """Build the mean of the labels' F1, each weighted by the number of its targets."""
    return LabelF1("weighted")


def majority() -> Metric:
    """Build the accuracy of always giving the label that is right in most rows."""
    return Majority()


CLASSIFICATION_METRICS: dict[str, Callable[..., Metric]] = {
    "macro_f1": macro_f1,
    "weighted_f1": weighted_f1,
    "f1": binary_f1,
    "majority": majority,
}
