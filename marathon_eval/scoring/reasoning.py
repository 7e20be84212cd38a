"""What a reasoning model thought, and what it answered: two texts out of one response.

A thought stands between tags, <think>...</think> unless told otherwise. Some chat templates write the opening tag into
the prompt, so that a response may begin inside a thought. A thought that never ends has no answer after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

from marathon_eval.api.filter import FilterContext, FilterStep, Held

TAGS = ("think", "thinking", "thought", "reasoning")
UNCLOSED = "unclosed_reasoning"


class Parted(NamedTuple):
    """`answer` None: the thought never ended."""

    reasoning: str
    answer: str | None


def parted(text: str, tags: Sequence[str] = TAGS) -> Parted:
    """The thoughts of a response, joined, and all that stands outside of them; both stripped."""
    opening, closing, whole = _patterns(tuple(tags))
    thoughts: list[str] = []
    first_close, first_open = closing.search(text), opening.search(text)
    if first_close and (first_open is None or first_close.start() < first_open.start()):
        thoughts.append(text[: first_close.start()])
        text = text[first_close.end() :]
    thoughts += [match["thought"] for match in whole.finditer(text)]
    rest = whole.sub("", text)
    unclosed = opening.search(rest)
    if unclosed:
        thoughts.append(rest[unclosed.end() :])
    reasoning = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    return Parted(reasoning, None if unclosed else rest.strip())


def strip_reasoning(tags: list[str] | None = None) -> FilterStep:
    """The answer without the thoughts before it; a thought that never ends is no answer."""
    chosen = tuple(tags or TAGS)

    def step(held: Sequence[Held], context: FilterContext) -> list[Held]:
        stripped = []
        for one in held:
            answer = parted(one.text, chosen).answer
            rule = UNCLOSED if one.found and answer is None else one.rule
            stripped.append(Held(answer or "", rule, one.found and answer is not None))
        return stripped

    return step


@lru_cache(maxsize=32)
def _patterns(tags: tuple[str, ...]) -> tuple[re.Pattern[str], re.Pattern[str], re.Pattern[str]]:
    """Opening tag, closing tag, whole thought; case does not count."""
    names = "|".join(re.escape(tag) for tag in tags)
    flags = re.IGNORECASE | re.DOTALL
    return (
        re.compile(rf"<\s*(?:{names})\s*>", flags),
        re.compile(rf"<\s*/\s*(?:{names})\s*>", flags),
        re.compile(rf"<\s*(?P<tag>{names})\s*>(?P<thought>.*?)<\s*/\s*(?P=tag)\s*>", flags),
    )
