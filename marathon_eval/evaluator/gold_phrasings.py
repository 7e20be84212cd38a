"""Chooses the text of a right answer that `validate` gives to a reading: the letter, the option's text, or words around them.

A filter may want the words that a prompt asks for, such as "The answer is (A)". Then the letter alone is unanswered by design,
and a task is not wrong because of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.errors import RowError
from marathon_eval.evaluator.gold_spellings import spellings
from marathon_eval.evaluator.scorer_check import SplitOptions, row_for_text, split_options, steps_of

if TYPE_CHECKING:
    from marathon_eval.api.doc import Doc
    from marathon_eval.scoring.scorer import Reading
    from marathon_eval.task.task import Task

#: Metrics that must give 1 for the gold answer and 0 for a wrong one.
EXACT = ("accuracy", "acc", "exact_match", "wer_accuracy")
#: Ordinary ways to give an answer; the first two are the answer alone.
_PHRASINGS = (
    "{letter}",
    "{text}",
    "({letter})",
    "{letter}. {text}",
    "Answer: {letter}",
    "The answer is {letter}.",
    "The answer is ({letter}).",
    "The answer is {text}.",
)
#: Texts made from the filters' patterns that are tried.
_SPELLINGS_TRIED = 32


class ReadableGold(NamedTuple):
    """Holds a right and a wrong answer in the same words, None for none, and a warning if the answer alone is not read."""

    gold: str | None
    wrong: str | None
    warning: str = ""


def readable_gold(task: Task, reading: Reading, doc: Doc, gold: str, wrong: str | None) -> ReadableGold:
    """Return the gold answer as the reading reads it; `gold` and `wrong` are plain answers, which are tried first."""
    options = split_options(doc, task.context(doc))
    # an open question's filter may look for a form that nothing tells
    if not options.right or _reads(task, reading, doc, gold):
        return ReadableGold(gold, wrong)
    tried = list(_worded(options))
    read = [each for each in tried if _reads(task, reading, doc, each[0])]
    right = next((each for each in read if _is_right(task, reading, doc, each[0])), None)
    alone = f"'{tried[0][0]}'" + (f" or '{tried[1][0]}'" if tried[1][0] != tried[0][0] else "")
    where = f"{task.name}: the reading '{reading.name}'"
    if right is not None:
        warning = f"{where} does not read {alone} alone, but for example '{right[0]}': the prompt must ask for such words"
        return ReadableGold(*right, "" if right in tried[:2] else warning)
    if read:  # a filter that finds the answer, and a metric that calls it wrong
        return ReadableGold(*read[0])
    texts = ", ".join(f"'{text}'" for text in dict.fromkeys(text for text, _ in tried))
    made = _from_filters(task, reading, doc, options)
    end = f"it reads '{made}'" if made else "a run may count every answer as unanswered"
    return ReadableGold(
        None, None, f"{where} reads none of the texts that were tried as the gold answer: {texts}; {end}"
    )


def _worded(options: SplitOptions) -> Iterator[tuple[str, str | None]]:
    """Yield the right and a wrong option in every phrasing."""
    letter, text = options.right[0]
    for phrasing in _PHRASINGS:
        wrong = (
            phrasing.format(letter=options.wrong[0][0], text=options.wrong[0][1]) if options.wrong else None
        )
        yield phrasing.format(letter=letter, text=text), wrong


def _from_filters(task: Task, reading: Reading, doc: Doc, options: SplitOptions) -> str | None:
    """Return a text made from the filters' patterns in which the reading finds the right answer."""
    made: Sequence[str] = spellings(steps_of(task, reading), options.right[0]).texts[:_SPELLINGS_TRIED]
    return next((text for text in made if _is_right(task, reading, doc, text)), None)


def _reads(task: Task, reading: Reading, doc: Doc, text: str) -> bool:
    """Return whether the reading finds an answer in a text; also where it cannot be tried or needs a judge."""
    try:
        answer = row_for_text(task, reading, doc, text).answer
    except RowError:
        return True
    return answer.value is not None or answer.left_out


def _is_right(task: Task, reading: Reading, doc: Doc, text: str) -> bool:
    """Return whether the reading finds an answer in a text and its exact metrics call it right."""
    try:
        row = row_for_text(task, reading, doc, text)
        scores = [metric.score(row) for metric in reading.metrics if metric.name in EXACT]
    except RowError:
        return False
    return row.answer.value is not None and all(score in (None, 1) for score in scores)
