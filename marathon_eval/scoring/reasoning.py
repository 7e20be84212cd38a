"""Separates what a reasoning model thought from what it answered.

A thought stands between tags, `<think>...</think>`, or between the marks of another family (thought_marks.py). Some
chat templates write the opening mark into the prompt, so that a response may begin inside a thought: `...</think>C`. A
response whose last thought is never closed holds no answer, whatever text stands before that thought.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, NamedTuple

from annotated_types import MinLen

from marathon_eval.api.filter import FilterContext, FilterStep, Held
from marathon_eval.scoring.thought_marks import MARKS, TAGS, Marks

#: The rule of a response whose last thought is never closed.
UNCLOSED = "unclosed_reasoning"

#: What a filter's option `marks` holds: [[opening, closing], ...].
MarkPairs = list[tuple[Annotated[str, MinLen(1)], Annotated[str, MinLen(1)]]]


class Parted(NamedTuple):
    """Holds a response's thoughts and its answer; `answer` is None where the last thought is never closed."""

    reasoning: str
    answer: str | None


class ThoughtMarks(NamedTuple):
    """Holds all that may enclose a thought: names of tags, and marks of other forms."""

    tags: tuple[str, ...]
    marks: tuple[Marks, ...]


#: The marks that every filter knows.
KNOWN_MARKS = ThoughtMarks(TAGS, MARKS)


class _Syntax(NamedTuple):
    """Holds compiled marks: `first` are the characters that a mark may begin with."""

    found: re.Pattern[str]
    at_start: re.Pattern[str] | None
    first: frozenset[str]
    opens: dict[str, frozenset[str]]
    closes_alone: frozenset[str]


def parted(text: str, tags: Sequence[str] = TAGS) -> Parted:
    """Return the thoughts of a response, one per line, and all text outside of them; both are stripped."""
    return _parted(text, KNOWN_MARKS if tags is TAGS else ThoughtMarks(tuple(tags), MARKS))


def known_and(marks: MarkPairs | None) -> ThoughtMarks:
    """Return the known marks with a task's own before them."""
    return KNOWN_MARKS._replace(marks=_own(marks) + MARKS) if marks else KNOWN_MARKS


def without_thoughts(text: str, known: ThoughtMarks = KNOWN_MARKS) -> str:
    """Return the answer of `parted` with its white space, so that a text without thoughts comes back unchanged.

    Returns "" where the last thought is never closed.
    """
    return _split(text, known)[1] or ""


def strip_reasoning(tags: list[str] | None = None, marks: MarkPairs | None = None) -> FilterStep:
    """Return a filter that removes thoughts; where the last thought is never closed, the response is unanswered.

    `tags` replace the names in `TAGS`; `marks`, a list of [opening, closing], come in addition to the known ones.
    """
    known = ThoughtMarks(tuple(tags or TAGS), _own(marks) + MARKS)

    def step(repeats: Sequence[Held], context: FilterContext) -> list[Held]:
        stripped = []
        for text, rule, found in repeats:
            answer = _parted(text, known).answer
            stripped.append(
                Held(
                    answer or "", UNCLOSED if found and answer is None else rule, found and answer is not None
                )
            )
        return stripped

    return step


def _own(marks: MarkPairs | None) -> tuple[Marks, ...]:
    return tuple(Marks("own", opening, (closing,)) for opening, closing in marks or ())


def _parted(text: str, known: ThoughtMarks) -> Parted:
    thoughts, answer = _split(text, known)
    reasoning = "\n".join(thought.strip() for thought in thoughts if thought.strip())
    return Parted(reasoning, None if answer is None else answer.strip())


def _split(text: str, known: ThoughtMarks) -> tuple[list[str], str | None]:
    """Return the thoughts in order and the text outside of them, neither stripped; None as in `Parted`."""
    syntax = _syntax(known)
    begun = syntax.at_start.match(text) if syntax.at_start else None
    if not begun and syntax.first.isdisjoint(text) and "assistantfinal" not in text:
        return [], text
    thoughts: list[str] = []
    outside, start = "", 0
    closing: frozenset[str] | None = None  # the marks that close the thought in hand
    if begun:
        closing, start = syntax.opens[_name(begun)], begun.end()
    for mark in syntax.found.finditer(text, start):
        name = _name(mark)
        if closing is not None and name not in closing:
            continue  # another mark inside a thought is part of the thought
        if closing is None and name not in syntax.opens and name not in syntax.closes_alone:
            continue
        before, start = text[start : mark.start()], mark.end()
        if closing is not None:
            thoughts.append(before)
            closing = None
        elif name in syntax.opens:
            outside += before
            closing = syntax.opens[name]
        else:  # a closing mark without an opening one: all text so far was thought
            thoughts.append(outside + before)
            outside = ""
    if closing is not None:
        return [*thoughts, text[start:]], None
    return thoughts, outside + text[start:]


def _name(mark: re.Match[str]) -> str:
    """Return a mark's key: without white space, in lower case."""
    return "".join(mark[0].lower().split())


@lru_cache(maxsize=32)
def _syntax(known: ThoughtMarks) -> _Syntax:
    free = [marks for marks in known.marks if not marks.at_start]
    opens = {f"<{tag.lower()}>": frozenset({f"</{tag.lower()}>"}) for tag in known.tags}
    alone = {f"</{tag.lower()}>" for tag in known.tags}
    for marks in known.marks:
        keys = [_key(closing) for closing in marks.closing]
        opens.setdefault(_key(marks.opening), frozenset(keys))
        alone.update(keys if marks.alone else ())
    texts = [text for marks in free for text in (marks.opening, *marks.closing)]
    texts += [closing for marks in known.marks if marks.at_start for closing in marks.closing]
    literal = [_spaced(text) for text in sorted(set(texts), key=len, reverse=True)]
    tags = "|".join(re.escape(tag) for tag in known.tags)
    tagged = [rf"<\s*(?:/\s*)?(?:{tags})\s*>"] if tags else []
    begin = [re.escape(marks.opening) for marks in known.marks if marks.at_start]
    return _Syntax(
        re.compile("|".join(tagged + literal), re.IGNORECASE),
        # "analysisThe answer": a capital follows at once, so "Analysis: ..." is no mark
        re.compile(rf"\s*(?:{'|'.join(begin)})(?=[^\sa-z:,.])") if begin else None,
        frozenset(text[0] for marks in free for text in (marks.opening, *marks.closing)) | {"<"},
        opens,
        frozenset(alone),
    )


def _key(mark: str) -> str:
    return "".join(mark.lower().split())


def _spaced(mark: str) -> str:
    return r"\s+".join(re.escape(part) for part in mark.split()) or re.escape(mark)
