"""Counts the errors along transcripts that are too long for the page's own alignment; jiwer aligns them.

Words and characters are compared as page_words.js.j2 compares them: without case and punctuation.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

#: Gold times answered words that the page aligns itself (MOST_CELLS in page_words.js.j2).
PAGE_CELLS = 30_000_000
#: The most for one transcript (70,000 words against as many: 2 s), and for all of a task in one report (a minute).
MOST_CELLS, MOST_CELLS_OF_TASK = 5_000_000_000, 200_000_000_000
PARTS, LONG_RUN = 10, 5
_KINDS = {"equal": 0, "substitute": 1, "delete": 2, "insert": 3}


class LongEdits:
    """Aligns the long transcripts of one task until their sizes add up to `left` cells."""

    def __init__(self, unit: str, left: int = MOST_CELLS_OF_TASK) -> None:
        self._unit, self._left = unit, left

    def of(self, gold: str | None, answer: str | None) -> list[int] | None:
        """Return the counts of `edits_along`; None for texts that the page aligns itself, and for those too long here."""
        if not self._unit or not gold or not answer or len(gold) * len(answer) <= PAGE_CELLS:
            return None
        cells = len(_tokens(gold, self._unit)) * len(_tokens(answer, self._unit))
        if not PAGE_CELLS < cells <= min(MOST_CELLS, self._left):
            return None
        self._left -= cells
        return list(edits_along(gold, answer, self._unit))


@lru_cache(maxsize=4096)
def edits_along(gold: str, answer: str, unit: str) -> tuple[int, ...]:
    """Return gold words, substituted, deleted and inserted ones of each tenth of the gold text, then the long insertions.

    That is 41 numbers; `unit` is "words" or "characters". The last counts runs of LONG_RUN or more inserted in a row.
    """
    from jiwer import process_words

    wanted, heard = _tokens(gold, unit), _tokens(answer, unit)
    counts = [[0, 0, 0, 0] for _ in range(PARTS)]
    runs = 0
    for chunk in process_words(" ".join(wanted), " ".join(heard)).alignments[0]:
        kind = _KINDS[chunk.type]
        length = (
            chunk.hyp_end_idx - chunk.hyp_start_idx if kind == 3 else chunk.ref_end_idx - chunk.ref_start_idx
        )
        runs += kind == 3 and length >= LONG_RUN
        for step in range(length):
            place = chunk.ref_start_idx + (0 if kind == 3 else step)
            part = counts[min(PARTS - 1, PARTS * place // len(wanted))]
            part[0] += kind != 3
            if kind:
                part[kind] += 1
    return (*(number for part in counts for number in part), runs)


@lru_cache(maxsize=64)
def _tokens(text: str, unit: str) -> tuple[str, ...]:
    """Return the text's words or characters as they are compared; a mark stays with the character before it."""
    parts: list[str] = text.split()
    if unit == "characters":
        parts = []
        for character in text:
            if parts and unicodedata.category(character)[0] == "M":
                parts[-1] += character
            else:
                parts.append(character)
    compared = (_plain(part) for part in parts)
    return tuple(part for part in compared if part)


@lru_cache(maxsize=16384)
def _plain(part: str) -> str:
    folded = unicodedata.normalize("NFKC", part).lower()
    return "".join(letter for letter in folded if unicodedata.category(letter)[0] in "LMN")
