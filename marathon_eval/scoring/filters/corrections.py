"""Finds where a text takes back its answer and gives another one: "My answer is B. Wait, actually, it's C."."""

from __future__ import annotations

import re

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.letter_patterns import FILLERS, SENTENCE, WORD

_TAKEN_BACK = (
    r"(?:wait|hold on|hang on|scratch that|correction|my mistake|strike that"
    r"|on (?:(?:a )?second|further|closer|more careful) (?:thoughts?|reflection|consideration|listen(?:ing)?|inspection)"
    r"|let me (?:correct|revise|reconsider|rethink|think again|change)|i (?:take (?:it|that) back|change my mind|correct myself)"
    r"|(?:i|what i) (?:actually )?(?:meant|mean)|actually)"
)
#: A correction begins a sentence, a line or what follows a dash, perhaps after "no", "hmm" or "sorry".
_CORRECTION = lazy_pattern(
    r"(?:[.!?\n\u2026]|\s[-\u2013\u2014]|[\u2013\u2014])\s*"
    r"(?:(?:no|oh|hm+|oops|sorry|but|apologies|ah|well)\b[\s,.!\u2026-]*)*"
    rf"(?:{_TAKEN_BACK}\b[\s,.:!\u2026\u2014-]*)+",
    re.IGNORECASE,
)
#: One of these words is in every correction; looking for them is quicker than the pattern.
_HINTS = (
    "wait",
    "hold on",
    "hang on",
    "that",
    "correct",
    "mistake",
    "mean",
    "actually",
    "let me",
    " mind",
    "thought",
    "closer",
    "further",
)


def after_correction(text: str) -> str | None:
    """Return what follows the last correction of a text, or None where there is none."""
    lowered = text.lower()
    if not any(hint in lowered for hint in _HINTS):
        return None
    _, *following = _CORRECTION.split(text)
    return following[-1] if following else None


def only_states(text: str) -> bool:
    """Return whether the first sentence of a text only says which option it is: "it's C."."""
    sentence = SENTENCE.split(text)[0]
    return all(len(word) == 1 or word.lower() in FILLERS for word in WORD.findall(sentence))
