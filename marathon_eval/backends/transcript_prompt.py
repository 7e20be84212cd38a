"""Joins a transcript and a question into one prompt for the text model of a `cascade`, and splits the prompt again.

A language model reads the joined prompt as it is. A model that only compares texts (models/embedder.py) splits it
into transcript, question and options.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from marathon_eval.errors import RowError

_BEFORE = "What was said in the recording:"
_AFTER = "(end of what was said)"
#: Matches `A. text`, `A) text`, `A: text`, `(A) text`: the lettered layouts of marathon_eval/task/prompt/choices.py.
_OPTION = re.compile(r"\s*\(?([A-Za-z])[.):]\)?\s+(\S.*?)\s*")


class ParsedQuestion(NamedTuple):
    """Holds the parts of a composed prompt; `options` maps letters to texts in the prompt's order."""

    transcript: str
    question: str
    options: Mapping[str, str]


def composed(transcript: str, prompt: str) -> str:
    """Return the prompt with the transcript before it."""
    return f"{_BEFORE}\n{transcript}\n{_AFTER}\n\n{prompt}"


def taken_apart(text: str) -> ParsedQuestion:
    """Split a composed prompt into its parts. Raises RowError when it holds no transcript or no lettered options."""
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
    """Return the start and the options of the last run of two or more lines lettered A, B, C ... or a, b, c ..."""
    last: tuple[int, dict[str, str]] = (0, {})
    for first in range(len(lines)):
        run: dict[str, str] = {}
        for line in lines[first:]:
            match = _OPTION.fullmatch(line)
            if match is None or match[1] not in (chr(ord("A") + len(run)), chr(ord("a") + len(run))):
                break
            run[match[1]] = match[2]
        if len(run) > 1:
            last = (first, run)
    return last


def _question(lines: list[str]) -> str:
    """Return the last line that ends in a question mark, else all lines before the options."""
    stripped = [line.strip().removeprefix("Question:").strip() for line in lines if line.strip()]
    return next((line for line in reversed(stripped) if line.endswith("?")), " ".join(stripped))
