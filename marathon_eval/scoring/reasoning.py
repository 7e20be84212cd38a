"""Separates what a reasoning model thought from what it answered.

A thought stands between tags: `<think>...</think>`, or the other names in `TAGS`. Some chat templates write the
opening tag into the prompt, so that a response may begin inside a thought: `...</think>C`. A response whose last
thought is never closed holds no answer, whatever text stands before that thought.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from marathon_eval.api.filter import FilterContext, FilterStep, Held

#: Tag names that enclose a thought; case does not count.
TAGS = ("think", "thinking", "thought", "reasoning")
#: The rule of a response whose last thought is never closed.
UNCLOSED = "unclosed_reasoning"


class Parted(NamedTuple):
    """Holds a response's thoughts and its answer; `answer` is None where the last thought is never closed."""

    reasoning: str
    answer: str | None


def parted(text: str, tags: Sequence[str] = TAGS) -> Parted:
    """Return the thoughts of a response, one per line, and all text outside of them; both are stripped."""
    thoughts, answer = _split(text, tuple(tags))
    reasoning = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    return Parted(reasoning, None if answer is None else answer.strip())


def without_thoughts(text: str) -> str:
    """Return the answer of `parted` with its white space, so that a text without thoughts comes back unchanged.

    Returns "" where the last thought is never closed.
    """
    return _split(text, TAGS)[1] or ""


def strip_reasoning(tags: list[str] | None = None) -> FilterStep:
    """Return a filter that removes thoughts; where the last thought is never closed, the response is unanswered.

    `tags` replace the names in `TAGS`.
    """
    names = tuple(tags or TAGS)

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        stripped = []
        for text, rule, found in repeats:
            answer = parted(text, names).answer
            stripped.append(
                Held(
                    answer or "", UNCLOSED if found and answer is None else rule, found and answer is not None
                )
            )
        return stripped

    return step


def _split(text: str, tags: tuple[str, ...]) -> tuple[list[str], str | None]:
    """Return the thoughts in order and the text outside of them, neither stripped; None as in `Parted`."""
    if "<" not in text:
        return [], text
    thoughts: list[str] = []
    outside, opened, start = "", None, 0
    for tag in _tag_pattern(tags).finditer(text):
        name, closes = tag["name"].lower(), tag["slash"] is not None
        if opened and not (closes and name == opened):
            continue  # another tag inside a thought is part of the thought
        before, start = text[start : tag.start()], tag.end()
        if opened:
            thoughts.append(before)
            opened = None
        elif closes:  # without an opening tag: all text so far was thought
            thoughts.append(outside + before)
            outside = ""
        else:
            outside += before
            opened = name
    if opened:
        return [*thoughts, text[start:]], None
    return thoughts, outside + text[start:]


@lru_cache(maxsize=32)
def _tag_pattern(tags: tuple[str, ...]) -> re.Pattern[str]:
    names = "|".join(re.escape(tag) for tag in tags)
    return re.compile(rf"<\s*(?P<slash>/\s*)?(?P<name>{names})\s*>", re.IGNORECASE)
