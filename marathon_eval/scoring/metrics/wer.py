"""Word error rate: over the corpus, and as the mean of utterances; substitutions, deletions and insertions apart.

Edit counts are jiwer's (https://github.com/jitsi/jiwer); the normaliser is part of the metric and named in it:
`whisper_english`, `whisper_basic` (Radford et al. 2022, appendix C, package whisper-normalizer), `audiomarathon` (that
benchmark's own light one) or `none`. No answer is an empty hypothesis: every word deleted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally, ratio

if TYPE_CHECKING:
    from numpy.typing import NDArray

Normalizer = Literal["whisper_english", "whisper_basic", "audiomarathon", "none"]


class Edits(NamedTuple):
    """What turns a reference of `words` words into the hypothesis."""

    substitutions: int
    deletions: int
    insertions: int
    words: int

    @property
    def errors(self) -> int:
        """All edits."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits per reference word; with no reference word 0 for an empty hypothesis, else 1."""
        return self.errors / self.words if self.words else float(self.errors > 0)


@lru_cache(maxsize=4096)
def edits(reference: str, hypothesis: str) -> Edits:
    """Fewest word edits between two normalised texts, split at white space."""
    if not reference.split():
        return Edits(0, 0, len(hypothesis.split()), 0)
    if reference == hypothesis:
        return Edits(0, 0, 0, len(reference.split()))
    from jiwer import process_words

    found = process_words(reference, hypothesis)
    words = found.hits + found.substitutions + found.deletions
    return Edits(found.substitutions, found.deletions, found.insertions, words)


@lru_cache(maxsize=4)
def normalizer(name: Normalizer) -> Callable[[str], str]:
    """A text normaliser by its name, remembering what it has seen; Whisper's are imported when first used."""
    if name == "none":
        return str
    if name == "audiomarathon":
        from marathon_eval.scoring.released.audiomarathon_words import normalised

        return normalised
    if name == "whisper_english":
        from whisper_normalizer.english import EnglishTextNormalizer

        return lru_cache(maxsize=4096)(EnglishTextNormalizer())
    from whisper_normalizer.basic import BasicTextNormalizer

    return lru_cache(maxsize=4096)(BasicTextNormalizer())


class CorpusWER(Metric):
    """Sums of edits over sums of reference words; `part` picks one kind of edit, `accuracy` gives 1 - WER."""

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
        """Edits of the row; of several references those of the one with the lowest rate."""
        plain = normalizer(self.normalizer)
        said = plain(row.answer.value or "")
        return min((edits(plain(target), said) for target in row.targets), key=lambda found: found.rate)

    def score(self, row: ScoredRow) -> float | None:
        """The utterance's own rate."""
        found = self.edits(row)
        if self._part is not None:
            return found[self._part] / found.words if found.words else None
        return 1 - found.rate if self._accuracy else found.rate

    def tally(self) -> Tally:
        """[errors, reference words]."""
        return NumberTally(2, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[int, int]:
        found = self.edits(row)
        return found.errors if self._part is None else found[self._part], found.words

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        rates = ratio(sums[:, 0], sums[:, 1])
        return 1 - rates if self._accuracy else rates


def wer(normalizer: Normalizer = "whisper_english") -> Metric:
    """Corpus WER: all edits over all reference words."""
    return CorpusWER(normalizer)


def wer_accuracy(normalizer: Normalizer = "whisper_english") -> Metric:
    """1 - corpus WER; below 0 where the edits outnumber the words."""
    return CorpusWER(normalizer, "wer_accuracy", accuracy=True)


def mean_wer(normalizer: Normalizer = "whisper_english") -> Metric:
    """The plain mean of the utterances' rates: a short utterance weighs as much as a long one."""
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
