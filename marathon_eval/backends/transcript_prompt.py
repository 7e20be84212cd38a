"""A transcript and a question in one prompt, and apart again: how `cascade` asks a text reader.

A reader that is a language model simply gets the text. One that only compares texts (models/embedder.py) takes it
apart here: transcript, question, options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from marathon_eval.errors import RowError

_BEFORE = "What was said in the recording:"
_AFTER = "(end of what was said)"
#: `A. text`, `A) text`, `A: text`, `(A) text`: the layouts of marathon_eval/task/prompt/choices.py that name a letter
_OPTION = re.compile(r"\s*\(?([A-Za-z])[.):]\)?\s+(\S.*?)\s*")


class ParsedQuestion(NamedTuple):
    """A question as a text reader sees it; `options` by their letter, in the prompt's order."""

    transcript: str
    question: str
    options: Mapping[str, str]


def composed(transcript: str, prompt: str) -> str:
    """The prompt with the transcript before it."""
    return f"{_BEFORE}\n{transcript}\n{_AFTER}\n\n{prompt}"


def taken_apart(text: str) -> ParsedQuestion:
    """The parts of a composed prompt. Raises RowError when it holds no transcript or no lettered options."""
    before, _, prompt = text.rpartition(f"\n{_AFTER}\n\n")
    if not before.startswith(_BEFORE):
        raise RowError(
            "the prompt holds no transcript to read: this model is meant as the reader of a cascade"
        )
    lines = prompt.splitlines()
    first, options = _options(lines)
    if not options:
        raise RowError("the prompt has no lines of options (A. ..., B. ...) to choose from")
    return ParsedQuestion(before[len(_BEFORE) :].strip(), _question(lines[:first]), options)


def _options(lines: list[str]) -> tuple[int, dict[str, str]]:
    """The last run of lines lettered A, B, C ... (or a, b, c ...) of two or more, and where it starts."""
    found: tuple[int, dict[str, str]] = (0, {})
    for first in range(len(lines)):
        run: dict[str, str] = {}
        for line in lines[first:]:
            match = _OPTION.fullmatch(line)
            if match is None or match[1] not in (chr(ord("A") + len(run)), chr(ord("a") + len(run))):
                break
            run[match[1]] = match[2]
        if len(run) > 1:
            found = (first, run)
    return found


def _question(lines: list[str]) -> str:
    """The last line before the options that asks something, else all that stands there."""
    asked = [line.strip().removeprefix("Question:").strip() for line in lines if line.strip()]
    return next((line for line in reversed(asked) if line.endswith("?")), " ".join(asked))
