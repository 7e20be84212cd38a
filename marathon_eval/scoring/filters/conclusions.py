"""Finds the option whose text a response states as its answer, among other options that it mentions."""

from __future__ import annotations

import re

from marathon_eval.api.lazy_pattern import lazy_pattern
from marathon_eval.scoring.filters.option_text import DENYING, option_texts, same_as
from marathon_eval.scoring.filters.words import plain_text, words_and_breaks

#: "The answer is a cat.", "option: cat".
_STATED = lazy_pattern(
    r"([^.!?;\n\u2713\u2714\u2705\u2717\u2718\u274c]*)\b(?:answer|option|choice)(?:\s+(?:is|would be|must be|should be)\b\s*:?|\s*[:=])\s*([^.!?;\n]+)",
    re.IGNORECASE,
)
#: "In conclusion, a cat is the correct answer."
_STATED_FIRST = lazy_pattern(
    r"(?:^|[.!?;:\n]|\b(?:so|thus|hence|therefore|conclusion|overall|finally),?)\s*([^.!?;:,\n]+?)\s+"
    r"(?:is|was|must be|would be|should be|seems to be|appears to be)\s+(?:the|my)\s+(?:(?:most\s+)?[a-z]+\s+){0,2}"
    r"(?:answer|option|choice)\b",
    re.IGNORECASE,
)
#: Words with which a last sentence tells the answer: "So it must be a cat.", "I would choose a cat."
_CONCLUDES = lazy_pattern(
    r"\s*(?:(?:so|thus|therefore|hence|overall|finally|in (?:conclusion|summary))\b[\s,:]*)*"
    r"(?:(?:i|we)(?:'d|'ll| would| will| must)? (?:think|believe|guess|say|choose|pick|select|go with|answer)\b(?: with)?\s*"
    r"|(?:it|this|that)(?:'s| is| must be| should be| has to be| would be)\b\s*)*",
    re.IGNORECASE,
)
_SENTENCE_END = lazy_pattern(r"[.!;](?=\s|\Z)|\n")


def stated_text(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the option that is all of a statement ("The answer is a cat.") in a text that names several; else None."""
    lowered = text.lower()
    if not any(noun in lowered for noun in ("answer", "option", "choice")):
        return None  # the usual case, without the patterns
    stated: list[int] = []
    for match in _STATED.finditer(text):
        place = same_as(match[2], choices)
        if (
            place is not None
            and DENYING.isdisjoint(words_and_breaks(match[1]))
            and "if" not in match[1].lower()
        ):
            stated.append(place)
    stated += (
        place for match in _STATED_FIRST.finditer(text) if (place := same_as(match[1], choices)) is not None
    )
    return stated[0] if len(set(stated)) == 1 else None


def concluded_text(text: str, choices: tuple[str, ...]) -> int | None:
    """Return the option that is all of the first line, of the last line or of a concluding last sentence; else None.

    None too where another line or sentence is another option.
    """
    whole = option_texts(choices).whole
    lines = [line for line in text.splitlines() if line.strip()]
    asked = [line.rstrip(" \"'*)").endswith("?") for line in lines]
    alone = [
        None if question else whole.get(plain_text(line)) for line, question in zip(lines, asked, strict=True)
    ]
    sentences = [part for part in _SENTENCE_END.split(text) if part.strip()]
    told = [None if part.rstrip().endswith("?") else same_as(part, choices) for part in sentences]
    named = {place for place in (*alone, *told) if place is not None}
    lead = _CONCLUDES.match(sentences[-1]) if sentences else None
    if lead and lead[0].strip() and (last := same_as(sentences[-1][lead.end() :], choices)) is not None:
        return last if named <= {last} else None
    ends = len(lines) > 1 and (alone[0] if alone[0] is not None else alone[-1])
    return ends if ends is not False and len(named) == 1 else None
