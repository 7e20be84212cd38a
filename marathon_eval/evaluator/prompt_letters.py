"""Warns of a task with options whose prompt shows no letters, though its filters read a letter as an option."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc
    from marathon_eval.api.request import Request
    from marathon_eval.task.task import Task

#: The letters of the second and third option. "A" is also a word.
_LATER_LETTERS = "BC"


def reads_letters_by_default(task: Task) -> bool:
    """Return whether the task's filters read letters of options without a `choice_layout` that says how they are shown."""
    question = task.writer.question
    return (
        question.choices.given
        and question.layout is None
        and any(reading.pipeline.needs_choices for reading in task.readings.values())
    )


def letters_not_shown(task: Task, doc: Doc) -> str | None:
    """Return a warning if the row's prompt shows the letters of no options; None if it shows some or options have some."""
    if not reads_letters_by_default(task):
        return None
    try:
        options = task.writer.question.choices.texts(doc.fields)
        requests = task.requests(doc)
    except RowError:  # told as a problem of the row
        return None
    letter = re.compile(rf"(?<!\w)[{_LATER_LETTERS[: max(1, len(options) - 1)]}](?!\w)", re.IGNORECASE)
    texts = [*options, *(text for request in requests for text in _texts(request))]
    if len(options) < 2 or any(letter.search(text) for text in texts):
        return None
    return (
        f"{task.name}: row {doc.doc_id}: the prompt shows no letters of the options, and the filters would read a letter alone, "
        "such as 'B', as an option: write choice_layout: plain, with the filter choice_text"
    )


def _texts(request: Request) -> list[str]:
    turns = [turn.text for turn in request.earlier]
    return [request.system or "", *turns, request.prompt]
