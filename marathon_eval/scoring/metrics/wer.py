"""Computes word and character error rates, over the corpus and per utterance, and the rates of each kind of edit.

jiwer (https://github.com/jitsi/jiwer) counts the edits. `language` or `normalizer` says how texts are made alike before
(normalizers.py). An unanswered row has an empty hypothesis, which deletes every word.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.metric import Mean, Metric, NumberTally, ScoredRow, Tally, ratio
from marathon_eval.scoring.metrics.normalizers import (
    LANGUAGES,
    UNSPACED_LANGUAGES,
    Normalizer,
    language_code,
    normalizer_for,
)

if TYPE_CHECKING:
    from jiwer import CharacterOutput, WordOutput
    from numpy.typing import NDArray


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


@lru_cache(maxsize=4096)
def character_edits(reference: str, hypothesis: str) -> Edits:
    """Return the fewest edits of characters (code points, spaces among them) between two normalised texts."""
    if not reference:
        return Edits(0, 0, len(hypothesis), 0)
    if reference == hypothesis:
        return Edits(0, 0, 0, len(reference))
    from jiwer import process_characters

    alignment = process_characters(reference, hypothesis)
    return Edits(alignment.substitutions, alignment.deletions, alignment.insertions, len(reference))


class ComparedTexts(NamedTuple):
    """Holds a reference and a hypothesis as an error rate compares them, and the edits between them."""

    reference: str
    hypothesis: str
    edits: Edits


class CorpusWER(Metric):
    """Divides the sum of word edits by the sum of reference words.

    `part` picks one kind of edit by its place in `Edits`; `accuracy` gives 1 - WER.
    """

    higher_is_better = False
    counts_unscored = True
    #: What is counted: "words" or "characters".
    unit = "words"

    def __init__(
        self,
        normalizer: Normalizer | None,
        language: str | None = None,
        name: str = "wer",
        part: int | None = None,
        accuracy: bool = False,
    ) -> None:
        self.name = name
        self.higher_is_better = accuracy
        self.plain = normalizer_for(normalizer, language)
        self.language = None if language is None else language_code(language)
        self._part = part
        self._accuracy = accuracy

    @property
    def note(self) -> str:
        """Return what a user should know before the metric is computed; empty for nothing."""
        if self.language not in UNSPACED_LANGUAGES:
            return ""
        return (
            f"{LANGUAGES[self.language].capitalize()} is written without spaces, and '{self.name}' counts unspaced "
            "text as one word; use cer, or texts whose words are separated by spaces"
        )

    def spaced(self, text: str) -> str:
        """Return a normalised text with white space as it is counted."""
        return text

    def counted(self, reference: str, hypothesis: str) -> Edits:
        """Return the edits between two normalised texts."""
        return edits(reference, hypothesis)

    def alignment(self, compared: ComparedTexts) -> WordOutput | CharacterOutput:
        """Return jiwer's alignment of two texts, of which the reference is not empty."""
        from jiwer import process_words

        return process_words(compared.reference, compared.hypothesis)

    def compared(self, targets: Sequence[str], answer: str | None) -> ComparedTexts:
        """Return the texts that are compared: of several references the one with the lowest rate."""
        hypothesis = self.spaced(self.plain(answer or ""))
        references = [self.spaced(self.plain(target)) for target in targets]
        found = [ComparedTexts(text, hypothesis, self.counted(text, hypothesis)) for text in references]
        # a reference without words is used only where there is no other
        return min(found, key=lambda each: (not each.edits.words, each.edits.rate))

    def edits(self, row: ScoredRow) -> Edits:
        """Return the edits of the row, against the reference with the lowest rate where there are several."""
        return self.compared(row.targets, row.answer.value).edits

    def score(self, row: ScoredRow) -> float | None:
        """Return the rate of the utterance alone; None where no reference has a word, which no rate includes."""
        counts = self.edits(row)
        if not counts.words:
            return None
        if self._part is not None:
            return counts[self._part] / counts.words
        return 1 - counts.rate if self._accuracy else counts.rate

    def tally(self) -> Tally:
        """Return a tally of [errors, reference words]."""
        return NumberTally(2, self._numbers)

    def _numbers(self, row: ScoredRow, score: float | None) -> tuple[int, int]:
        counts = self.edits(row)
        if not counts.words:
            return 0, 0
        return counts.errors if self._part is None else counts[self._part], counts.words

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        rates = ratio(sums[:, 0], sums[:, 1])
        return 1 - rates if self._accuracy else rates


class CorpusCER(CorpusWER):
    """Divides the sum of character edits by the sum of reference characters.

    A space is a character, except in languages without spaces between words, where white space is removed.
    """

    note = ""
    unit = "characters"

    def spaced(self, text: str) -> str:
        return ("" if self.language in UNSPACED_LANGUAGES else " ").join(text.split())

    def counted(self, reference: str, hypothesis: str) -> Edits:
        return character_edits(reference, hypothesis)

    def alignment(self, compared: ComparedTexts) -> WordOutput | CharacterOutput:
        from jiwer import process_characters

        return process_characters(compared.reference, compared.hypothesis)


def wer(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build the corpus WER: all edits over all reference words."""
    return CorpusWER(normalizer, language)


def wer_accuracy(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build 1 - corpus WER, which is below 0 where the edits outnumber the words."""
    return CorpusWER(normalizer, language, "wer_accuracy", accuracy=True)


def mean_wer(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build the plain mean of the utterances' rates: a short utterance weighs the same as a long one."""
    return Mean("mean_wer", CorpusWER(normalizer, language, "mean_wer").score, False, counts_unscored=True)


def cer(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build the corpus CER: all edits of characters over all reference characters."""
    return CorpusCER(normalizer, language, "cer")


def cer_accuracy(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build 1 - corpus CER, which is below 0 where the edits outnumber the characters."""
    return CorpusCER(normalizer, language, "cer_accuracy", accuracy=True)


def mean_cer(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
    """Build the plain mean of the utterances' character error rates."""
    return Mean("mean_cer", CorpusCER(normalizer, language, "mean_cer").score, False, counts_unscored=True)


def _part(name: str, part: int, edits: str) -> Callable[..., Metric]:
    def factory(normalizer: Normalizer | None = None, language: str | None = None) -> Metric:
        return CorpusWER(normalizer, language, name, part)

    factory.__doc__ = f"Build that part of `wer` which {edits} make: their number over all reference words."
    return factory


WER_METRICS: dict[str, Callable[..., Metric]] = {
    **{factory.__name__: factory for factory in (wer, wer_accuracy, mean_wer, cer, cer_accuracy, mean_cer)},
    "substitution_rate": _part("substitution_rate", 0, "replaced words"),
    "deletion_rate": _part("deletion_rate", 1, "left out words"),
    "insertion_rate": _part("insertion_rate", 2, "added words"),
}
#: The released error rates, whose normaliser is fixed.
_RELEASED = ("audiomarathon.wer", "audiomarathon.wer_accuracy")


def edits_of_entry(entry: Mapping[str, Any]) -> CorpusWER | None:
    """Return what compares the texts of an error rate, from its entry of `metric_list` as a run recorded it.

    None for an entry of another metric. An entry of an earlier version, which names no normaliser, had Whisper's English one.
    """
    name = str(entry.get("metric"))
    if "code" in entry or name not in (*WER_METRICS, *_RELEASED):
        return None
    if name in _RELEASED:
        return CorpusWER("audiomarathon")
    normalizer, language = entry.get("normalizer"), entry.get("language")
    if normalizer is None and language is None:
        normalizer = "whisper_english"
    return (CorpusCER if "cer" in name.split("_") else CorpusWER)(normalizer, language)
