"""The numbers that AudioMarathon's released Qwen2.5-Omni scripts report, from the answers their rules give.

https://github.com/DabDans/AudioMarathon, src/Qwen_2.5_Omni/Others (commit 50d4b38). In every F1 of theirs, pairs
without a readable answer are left out first; accuracy keeps them as wrong, except in gtzan. As options of a task:

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

Gold = Literal["as_is", "upper", "strip", "strip_upper", "lower_strip"]
RaceSubset = Literal["high", "middle"]
_GOLD: dict[str, Callable[[str], str]] = {
    "as_is": str,
    "upper": str.upper,
    "strip": str.strip,
    "strip_upper": lambda text: text.strip().upper(),
    "lower_strip": lambda text: text.lower().strip(),
}


def subset_of(row: ScoredRow, of_total: bool) -> str | None:
    """race: "high" where the path holds it anywhere, else "middle"; in totals a path with neither is in none."""
    path = str(row.context.doc.get("audio_path", row.context.doc.get("path", "")))
    if "high" in path:
        return "high"
    return "middle" if "middle" in path or not of_total else None


def released_accuracy(
    gold: Gold = "as_is", over: Literal["all", "parsed"] = "all", subset: RaceSubset | None = None
) -> Metric:
    """Share of rows whose prediction is the gold answer; `parsed`: of those with an answer, and 0 where there is none.

    A row's own score is the script's verdict on it, also where the row does not enter the share.
    """
    return _Accuracy(_GOLD[gold], over == "parsed", subset)


class _Accuracy(Metric):
    name = "accuracy"

    def __init__(self, gold: Callable[[str], str], parsed_only: bool, subset: RaceSubset | None) -> None:
        self._gold = gold
        self._parsed_only = parsed_only
        self._subset = subset

    def score(self, row: ScoredRow) -> float | None:
        if self._subset and subset_of(row, of_total=True) != self._subset:
            return None
        return float((row.answer.value or "") == self._gold(row.label))

    def tally(self) -> Tally:
        """[right, counted]."""
        return NumberTally(2, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[float, float]:
        return counted_score(None if self._parsed_only and row.answer.value is None else score)

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(sums[:, 0], sums[:, 1], empty=0.0)


class ParsedF1(Metric):
    """F1 over pairs in which gold and prediction are both labels; 0 where there is no such pair.

    `labels` None: those in the gold list of the run (in the bootstrap: of the draw). `over` seen: the mean runs over
    labels that occur in a pair, as gold or as prediction; labels: over all of them.
    """

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
        """Whether the row is right: F1 has no number for a single row."""
        if self._subset and subset_of(row, of_total=False) != self._subset:
            return None
        return float((row.answer.value or "") == self._gold(row.label))

    def tally(self) -> Tally:
        """A one in the row's cell of a table gold x (labels and, last, anything else), table [L, L + 1] laid flat."""
        return Labels(self._label, self._cells)

    def _label(self, row: ScoredRow, score: float | None) -> tuple[str, str | None]:
        """Gold and what was said; None for a row that does not count."""
        counts = not self._subset or subset_of(row, of_total=False) == self._subset
        return self._gold(row.label), (row.answer.value or "") if counts else None

    def _cells(self, pairs: Sequence[tuple[str, str | None]]) -> NDArray[Any]:
        import numpy as np

        labels = sorted({gold for gold, _ in pairs}) if self._labels is None else list(self._labels)
        places = {label: place for place, label in enumerate(labels)}
        width = len(labels) + 1
        cells = np.zeros((len(pairs), len(labels) * width))
        for at, (gold, said) in enumerate(pairs):
            if said is not None and gold in places:
                cells[at, places[gold] * width + places.get(said, len(labels))] = 1
        return cells

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        import numpy as np

        labels = round((-1 + (1 + 4 * sums.shape[1]) ** 0.5) / 2)
        tables = sums.reshape(len(sums), labels, labels + 1)
        known = tables.sum(axis=2) > 0 if self._labels is None else np.ones((len(sums), labels), bool)
        pairs = tables[:, :, :labels] * known[:, None, :]
        gold, said = pairs.sum(axis=2), pairs.sum(axis=1)
        scores = f1(np.diagonal(pairs, axis1=1, axis2=2), said, gold)
        counted = (gold + said > 0) if self._over_seen else known
        weights = gold if self._weighted else counted.astype(float)
        averaged = ratio((scores * weights).sum(axis=1), weights.sum(axis=1), empty=0.0)
        return np.where(gold.sum(axis=1) > 0, averaged, 0.0)


class _BinaryF1(Metric):
    """had's own F1 with one positive label: an unanswered row is an error on either side."""

    name = "binary_f1"

    def __init__(self, positive: str, gold: Callable[[str], str]) -> None:
        self._positive = positive
        self._gold = gold

    def score(self, row: ScoredRow) -> float | None:
        """Whether the row is right."""
        return float((row.answer.value or "") == self._gold(row.label))

    def tally(self) -> Tally:
        """[right positives, positives, wrong negatives]."""
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
    """One of the scripts' F1s; the table above says which options are whose."""
    if average == "binary":
        return _BinaryF1(positive, _GOLD[gold])
    chosen = None if labels == "gold" else tuple(labels)
    return ParsedF1(chosen, over, average == "weighted", _GOLD[gold], subset)


class _UtteranceWER(Mean):
    """Mean utterance WER; a row whose cleaned hypothesis or reference is empty has 1 itself and leaves the mean."""

    reads_rows = True

    def __init__(self, accuracy: bool) -> None:
        def score(row: ScoredRow) -> float:
            rate = utterance_wer(row.label, row.answer.value or "")
            return 1 - rate if accuracy else rate

        super().__init__(
            "wer_accuracy" if accuracy else "mean_wer", score, accuracy, empty=float(not accuracy)
        )

    def tally(self) -> Tally:
        """[sum of rates, utterances]."""
        return NumberTally(
            2, lambda row, score: counted_score(score if row.answer.value and row.label else None)
        )


def utterance_mean_wer() -> Metric:
    """librispeech: 1 (all wrong) where no utterance counts."""
    return _UtteranceWER(accuracy=False)


def utterance_wer_accuracy() -> Metric:
    """librispeech's score: 1 - mean WER."""
    return _UtteranceWER(accuracy=True)


AUDIOMARATHON_METRICS: dict[str, Callable[..., Metric]] = {
    "audiomarathon.accuracy": released_accuracy,
    "audiomarathon.f1": parsed_f1,
    "audiomarathon.wer": utterance_mean_wer,
    "audiomarathon.wer_accuracy": utterance_wer_accuracy,
}
