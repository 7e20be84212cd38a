"""Counts which words or characters transcripts replaced, left out and added, on the texts that their error rate compares.

jiwer (https://github.com/jitsi/jiwer) aligns the texts of each row, as for the rate itself. Memory is bounded: where a
run has very many different errors, those that are rare so far are forgotten, and the result says by how much a count may be too low.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping
from typing import Any, Generic, TypeVar

from marathon_eval.api.filter import LEFT_OUT
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.metrics.wer import ComparedTexts, CorpusWER, edits_of_entry
from marathon_eval.scoring.scorer import SCORABLE_STATUS

#: Different errors of one kind that are kept.
MOST_DISTINCT = 200_000

_Error = TypeVar("_Error", bound=Hashable)


class FrequentErrors(Generic[_Error]):
    """Counts errors of one kind; of more than `most` different ones it forgets the rarest half."""

    def __init__(self, most: int = MOST_DISTINCT) -> None:
        self._most, self._counts = most, Counter[_Error]()
        self.total = 0
        #: No count is too low by more than this.
        self.too_low_by = 0

    def add(self, error: _Error) -> None:
        """Count one error."""
        self._counts[error] += 1
        self.total += 1
        if len(self._counts) > self._most:
            rare = sorted(self._counts.values())[self._most // 2]
            self._counts = Counter({each: n for each, n in self._counts.items() if n > rare})
            self.too_low_by += rare

    def most_frequent(self, number: int) -> list[tuple[_Error, int]]:
        """Return the most frequent errors with their counts, equal counts in alphabetical order."""
        return sorted(self._counts.items(), key=lambda item: (-item[1], item[0]))[:number]


class WordErrors:
    """Counts the errors of one task under one reading. `rows` have a reference with words, and were compared."""

    def __init__(self, name: str, metric: CorpusWER) -> None:
        self.name, self.metric = name, metric
        self.rows = self.units = 0
        self.substitutions = FrequentErrors[tuple[str, str]]()
        self.deletions = FrequentErrors[str]()
        self.insertions = FrequentErrors[str]()

    def add(self, row: Mapping[str, Any], reading: str) -> None:
        """Count the errors of one line of samples_<task>.jsonl, if it is scored under the reading."""
        compared = compared_texts(self.metric, row, reading)
        if compared is None or not compared.edits.words:
            return
        self.rows += 1
        self.units += compared.edits.words
        if compared.edits.errors:
            self._count(compared)

    def _count(self, compared: ComparedTexts) -> None:
        aligned = self.metric.alignment(compared)
        gold, heard = aligned.references[0], aligned.hypotheses[0]
        for chunk in aligned.alignments[0]:
            missing = gold[chunk.ref_start_idx : chunk.ref_end_idx]
            instead = heard[chunk.hyp_start_idx : chunk.hyp_end_idx]
            if chunk.type == "substitute":
                for pair in zip(missing, instead, strict=True):
                    self.substitutions.add(pair)
            elif chunk.type == "delete":
                for word in missing:
                    self.deletions.add(word)
            elif chunk.type == "insert":
                for word in instead:
                    self.insertions.add(word)

    def facts(self, most: int) -> dict[str, Any]:
        """Return the counts as JSON, with the `most` most frequent errors of each kind."""
        kinds = (self.substitutions, self.deletions, self.insertions)
        return {
            "metric": self.name,
            "unit": self.metric.unit,
            "rows": self.rows,
            "reference_units": self.units,
            "substituted": self.substitutions.total,
            "deleted": self.deletions.total,
            "inserted": self.insertions.total,
            "counts_too_low_by_at_most": max(kind.too_low_by for kind in kinds),
            "substitutions": [
                {"reference": gold, "heard": heard, "count": n}
                for (gold, heard), n in self.substitutions.most_frequent(most)
            ],
            "deletions": [{"reference": word, "count": n} for word, n in self.deletions.most_frequent(most)],
            "insertions": [{"heard": word, "count": n} for word, n in self.insertions.most_frequent(most)],
        }


def compared_texts(metric: CorpusWER, row: Mapping[str, Any], reading: str) -> ComparedTexts | None:
    """Return the texts of a samples line that the metric compared; None for a row that it did not score.

    The answer of an unanswered row is empty, so that every word of its reference is left out.
    """
    read = row["readings"].get(reading)
    if row["status"] not in SCORABLE_STATUS or read is None or row["target"] is None:
        return None
    if read["answer"] is None and read.get("rule") in LEFT_OUT:
        return None
    target = row["target"]
    targets = target if isinstance(target, list) else [target]
    return metric.compared(targets, read["answer"]) if targets else None


def word_errors_of(
    headline: Mapping[str, Any] | None, metrics: Mapping[str, Mapping[str, Mapping[str, Any]]], reading: str
) -> WordErrors | None:
    """Return what counts a reading's errors: as its headline's metric compares texts, else its first error rate.

    `metrics` are the entries that a run recorded. None for a reading without an error rate.
    """
    named = metrics.get(reading, {})
    first = str((headline or {}).get("metric"))
    for name in sorted(named, key=lambda name: name != first):
        try:
            metric = edits_of_entry(named[name])
        except MarathonError:  # a language or normaliser that this version does not know
            continue
        if metric is not None:
            return WordErrors(name, metric)
    return None
