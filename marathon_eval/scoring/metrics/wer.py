"""Computes word error rates, over the corpus and per utterance, and the rates of each kind of edit.

jiwer (https://github.com/jitsi/jiwer) counts the edits. The normaliser is an option of the metric:
`whisper_english`, `whisper_basic` (Radford et al. 2022, appendix C, package whisper-normalizer), `audiomarathon`
(that benchmark's own light one) or `none`. An unanswered row has an empty hypothesis, which deletes every word.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.scoring.released.audiomarathon_words import normalised

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: Names of the normalisers.
Normalizer = Literal["whisper_english", "whisper_basic", "audiomarathon", "none"]


class Edits(NamedTuple):
    """Counts the edits that turn a reference of `words` words into the hypothesis."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def errors(self) -> int:
        """Return the sum of all edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Return the edits per reference word; without any reference word 0 for an empty hypothesis, else 1."""
        return self.errors / self.words if self.words else float(self.errors > 0)


@lru_cache(maxsize=4096)
def edits(reference: str, hypothesis: str) -> Edits:
    """Return the fewest word edits between two normalised texts, split at white space."""
    if not reference.split():
        return Edits(0, 0, len(hypothesis.split()), 0)
    if reference == hypothesis:
        return Edits(0, 0, 0, len(reference.split()))
    from jiwer import process_words

    alignment = process_words(reference, hypothesis)
    words = alignment.hits + alignment.substitutions + alignment.deletions
    return Edits(alignment.substitutions, alignment.deletions, alignment.insertions, words)


@lru_cache(maxsize=4)
def normalizer(name: Normalizer) -> Callable[[str], str]:
    """Return a text normaliser by its name; it caches its results, and Whisper's are imported when first used."""
    if name == "none":
        return str
    if name == "audiomarathon":
        return normalised
    if name == "whisper_english":
        from whisper_normalizer.english import EnglishTextNormalizer

        return lru_cache(maxsize=4096)(EnglishTextNormalizer())
    from whisper_normalizer.basic import BasicTextNormalizer

    return lru_cache(maxsize=4096)(BasicTextNormalizer())


class CorpusWER(Metric):
    """Divides the sum of edits by the sum of reference words.

    `part` picks one kind of edit by its place in `Edits`; `accuracy` gives 1 - WER.
    """

    higher_is_better = False

    def __init__(
        self, normalizer: Normalizer, name: str = "wer", part: int | None = None, accuracy: bool = False
    ) -> None:
        self.name = name
        self.higher_is_better = accuracy
        self.normalizer = normalizer
        self._part = part
        self._accuracy = accuracy

    def edits(self, row: ScoredRow) -> Edits:
        """Return the edits of the row, against the reference with the lowest rate where there are several."""
        plain = normalizer(self.normalizer)
        hypothesis = plain(row.answer.value or "")
        return min(
            (edits(plain(target), hypothesis) for target in row.targets), key=lambda counts: counts.rate
        )

    def score(self, row: ScoredRow) -> float | None:
        """Return the rate of the utterance alone."""
        counts = self.edits(row)
        if self._part is not None:
            return counts[self._part] / counts.words if counts.words else None
        return 1 - counts.rate if self._accuracy else counts.rate

    def tally(self) -> Tally:
        """Return a tally of [errors, reference words]."""
        return NumberTally(2, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[int, int]:
        counts = self.edits(row)
        return counts.errors if self._part is None else counts[self._part], counts.words

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        rates = ratio(sums[:, 0], sums[:, 1])
        return 1 - rates if self._accuracy else rates


def wer(normalizer: Normalizer = "whisper_english") -> Metric:
    """Build the corpus WER: all edits over all reference words."""
    return CorpusWER(normalizer)


def wer_accuracy(normalizer: Normalizer = "whisper_english") -> Metric:
    """Build 1 - corpus WER, which is below 0 where the edits outnumber the words."""
    return CorpusWER(normalizer, "wer_accuracy", accuracy=True)


def mean_wer(normalizer: Normalizer = "whisper_english") -> Metric:
    """Build the plain mean of the utterances' rates: a short utterance weighs the same as a long one."""
    return Mean("mean_wer", CorpusWER(normalizer).score, higher_is_better=False)


def _part(name: str, part: int) -> Callable[..., Metric]:
    def factory(normalizer: Normalizer = "whisper_english") -> Metric:
        return CorpusWER(normalizer, name, part)

    return factory


WER_METRICS: dict[str, Callable[..., Metric]] = {
    "wer": wer,
    "wer_accuracy": wer_accuracy,
    "mean_wer": mean_wer,
    "substitution_rate": _part("substitution_rate", 0),
    "deletion_rate": _part("deletion_rate", 1),
    "insertion_rate": _part("insertion_rate", 2),
}
