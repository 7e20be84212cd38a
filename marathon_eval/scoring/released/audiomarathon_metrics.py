"""Computes the numbers that AudioMarathon's released Qwen2.5-Omni scripts report from the answers they extract.

https://github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others (commit 50d4b38). Every F1 of theirs leaves rows
without a readable answer out; accuracy counts them as wrong, except in gtzan. The options for each task:

    desed, slue     accuracy {}                    f1 {labels: ABCD, over: seen}
                    (slue: gold: strip_upper, for accuracy only)
    race            accuracy {}                    f1 {labels: ABCD, over: labels}; subset: high | middle
    gtzan           accuracy {over: parsed}        f1 {labels: ABCD, over: labels}
    tau, vesus      accuracy {gold: upper}         f1 {labels: gold, over: seen, gold: upper}
    had             accuracy {gold: lower_strip}   f1 {labels: [real, fake], over: seen, gold: lower_strip}
    vox_age         accuracy {gold: strip}         f1 {labels: gold, over: labels, gold: strip}
    vox_gender      accuracy {gold: lower_strip}   f1 {labels: [male, female], over: seen, average: weighted, gold: lower_strip}
    librispeech     wer: the mean of the utterances' rates
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.metric import Labels, Mean, Metric, NumberTally, ScoredRow, Tally, counted_score, ratio
from marathon_eval.scoring.metrics.classification import f1
from marathon_eval.scoring.released.audiomarathon_asr import utterance_wer

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: How a script changes the gold text before it compares.
Gold = Literal["as_is", "upper", "strip", "strip_upper", "lower_strip"]
#: The subsets of race.
RaceSubset = Literal["high", "middle"]
_GOLD: dict[str, Callable[[str], str]] = {
    "as_is": str,
    "upper": str.upper,
    "strip": str.strip,
    "strip_upper": lambda text: text.strip().upper(),
    "lower_strip": lambda text: text.lower().strip(),
}


def subset_of(row: ScoredRow, of_total: bool) -> str | None:
    """Return race's subset: "high" if the path contains it, else "middle"; None for neither, with `of_total`."""
    path = str(row.context.doc.get("audio_path", row.context.doc.get("path", "")))
    if "high" in path:
        return "high"
    return "middle" if "middle" in path or not of_total else None


def released_accuracy(
    gold: Gold = "as_is", over: Literal["all", "parsed"] = "all", subset: RaceSubset | None = None
) -> Metric:
    """Build the share of rows whose prediction is the gold answer.

    `over` "parsed" leaves unanswered rows out; the share is 0 where every row is unanswered. A row's own score is the
    script's verdict on it, even where the row is left out.
    """
    return _Accuracy(_GOLD[gold], over == "parsed", subset)


class _Accuracy(Metric):
    name = "accuracy"
    share = True
    rowwise = True

    def __init__(self, gold: Callable[[str], str], parsed_only: bool, subset: RaceSubset | None) -> None:
        self._gold = gold
        self._parsed_only = parsed_only
        self._subset = subset

    def score(self, row: ScoredRow) -> float | None:
        if self._subset and subset_of(row, of_total=True) != self._subset:
            return None
        return float((row.answer.value or "") == self._gold(row.label))

    def tally(self) -> Tally:
        """Return a tally of [right, counted]."""
        return NumberTally(2, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[float, float]:
        return counted_score(None if self._parsed_only and row.answer.value is None else score)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(sums[:, 0], sums[:, 1], empty=0.0)


class ParsedF1(Metric):
    """Computes F1 over the rows whose gold and prediction are both labels; 0 where there is no such row.

    With `labels` None, the labels are the gold texts of the run (where an interval leaves out clips: of the rest). With
    `over` "seen" the mean runs over labels that such a row has as gold or prediction; with "labels", over all of them.
    """

    share = True

    def __init__(
        self,
        labels: tuple[str, ...] | None,
        over: str,
        weighted: bool,
        gold: Callable[[str], str],
        subset: RaceSubset | None,
    ) -> None:
        self.name = "weighted_f1" if weighted else "macro_f1"
        self._labels, self._over_seen, self._weighted = labels, over == "seen", weighted
        self._gold, self._subset = gold, subset

    def score(self, row: ScoredRow) -> float | None:
        """Return 1 where the row is right, else 0, because F1 has no value for a single row."""
        if self._subset and subset_of(row, of_total=False) != self._subset:
            return None
        return float((row.answer.value or "") == self._gold(row.label))

    def tally(self) -> Tally:
        """Return a tally with a one in the row's cell of the flat table [L, L + 1]: gold x labels and other text."""
        return Labels(self._label, self._cells)

    def _label(self, row: ScoredRow, score: float | None) -> tuple[str, str | None]:
        """Return gold and prediction; the prediction is None for a row that does not count."""
        counts = not self._subset or subset_of(row, of_total=False) == self._subset
        return self._gold(row.label), (row.answer.value or "") if counts else None

    def _cells(self, pairs: Sequence[tuple[str, str | None]]) -> NDArray[Any]:
        import numpy as np

        labels = sorted({gold for gold, _ in pairs}) if self._labels is None else list(self._labels)
        places = {label: place for place, label in enumerate(labels)}
        width = len(labels) + 1
        cells = np.zeros((len(pairs), len(labels) * width))
        for at, (gold, prediction) in enumerate(pairs):
            if prediction is not None and gold in places:
                cells[at, places[gold] * width + places.get(prediction, len(labels))] = 1
        return cells

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        labels = round((-1 + (1 + 4 * sums.shape[1]) ** 0.5) / 2)
        tables = sums.reshape(len(sums), labels, labels + 1)
        in_use = tables.sum(axis=2) > 0 if self._labels is None else np.ones((len(sums), labels), bool)
        pairs = tables[:, :, :labels] * in_use[:, None, :]
        gold, predicted = pairs.sum(axis=2), pairs.sum(axis=1)
        scores = f1(np.diagonal(pairs, axis1=1, axis2=2), predicted, gold)
        counted = (gold + predicted > 0) if self._over_seen else in_use
        weights = gold if self._weighted else counted.astype(float)
        averaged = ratio((scores * weights).sum(axis=1), weights.sum(axis=1), empty=0.0)
        return np.where(gold.sum(axis=1) > 0, averaged, 0.0)


class _BinaryF1(Metric):
    """Computes had's F1 with one positive label; an unanswered row is an error for either gold label."""

    name = "binary_f1"
    share = True

    def __init__(self, positive: str, gold: Callable[[str], str]) -> None:
        self._positive = positive
        self._gold = gold

    def score(self, row: ScoredRow) -> float | None:
        """Return 1 where the row is right, else 0."""
        return float((row.answer.value or "") == self._gold(row.label))

    def tally(self) -> Tally:
        """Return a tally of [right positives, positives, wrong negatives]."""
        return NumberTally(3, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[float, float, float]:
        positive, right = self._gold(row.label) == self._positive, bool(score)
        return positive and right, positive, not positive and not right

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return f1(sums[:, 0], sums[:, 0] + sums[:, 2], sums[:, 1])


def parsed_f1(
    labels: list[str] | Literal["gold", "ABCD"] = "gold",
    over: Literal["seen", "labels"] = "seen",
    average: Literal["macro", "weighted", "binary"] = "macro",
    positive: str = "fake",
    gold: Gold = "as_is",
    subset: RaceSubset | None = None,
) -> Metric:
    """Build one of the scripts' F1s, in results `macro_f1`, `weighted_f1` or `binary_f1`; the module's table gives the options of each task."""
    if average == "binary":
        return _BinaryF1(positive, _GOLD[gold])
    fixed_labels = None if labels == "gold" else tuple(labels)
    return ParsedF1(fixed_labels, over, average == "weighted", _GOLD[gold], subset)


class _UtteranceWER(Mean):
    """Averages the utterances' WER; a row with an empty hypothesis or reference scores 1, outside the mean."""

    reads_rows = True

    def __init__(self, accuracy: bool) -> None:
        def score(row: ScoredRow) -> float:
            rate = utterance_wer(row.label, row.answer.value or "")
            return 1 - rate if accuracy else rate

        super().__init__(
            "wer_accuracy" if accuracy else "mean_wer", score, accuracy, empty=float(not accuracy)
        )

    def tally(self) -> Tally:
        """Return a tally of [sum of rates, utterances]."""
        return NumberTally(
            2, lambda row, score: counted_score(score if row.answer.value and row.label else None)
        )


def utterance_mean_wer() -> Metric:
    """Build librispeech's mean WER; it is 1 (all wrong) where no utterance counts."""
    return _UtteranceWER(accuracy=False)


def utterance_wer_accuracy() -> Metric:
    """Build librispeech's score, 1 - mean WER."""
    return _UtteranceWER(accuracy=True)


AUDIOMARATHON_METRICS: dict[str, Callable[..., Metric]] = {
    "audiomarathon.accuracy": released_accuracy,
    "audiomarathon.f1": parsed_f1,
    "audiomarathon.wer": utterance_mean_wer,
    "audiomarathon.wer_accuracy": utterance_wer_accuracy,
}
