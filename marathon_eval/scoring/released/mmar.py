"""Reproduces MMAR's released rule: the prediction must have all words of the answer, and no other option's word.

Source: code/evaluation.py of https://github.com/ddlBoJack/MMAR (taken over from MMAU). The rule compares sets of
words, without order, repetition, punctuation and signs, so "From near to far" is right for "From far to near", a
letter alone is always wrong, and "not a pigeon" names the pigeon. The `paper` and `stripped` readings of mmar, mmar_2025
and mmau use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

#: `skipped` has no prediction key and leaves the denominator; `invalid` is where the released script crashes.
MmarVerdict = Literal["right", "wrong", "invalid", "skipped"]

_WORD = re.compile(r"\b\w+\b")


class PrintedTable(NamedTuple):
    """Describes one table of the released printout: heading, the row's field, and the values printed even when empty.

    An `open` table takes any value; a value that a closed table does not list crashes the script.
    """

    heading: str
    field: str
    values: tuple[str, ...] = ()
    open: bool = False


#: The tables of the printout, in order.
MMAR_TABLES = (
    PrintedTable(
        "Modality-wise Accuracy:",
        "modality",
        (
            "sound",
            "music",
            "speech",
            "mix-sound-music",
            "mix-sound-speech",
            "mix-music-speech",
            "mix-sound-music-speech",
        ),
    ),
    PrintedTable(
        "Category-wise Accuracy:",
        "category",
        ("Signal Layer", "Perception Layer", "Semantic Layer", "Cultural Layer"),
    ),
    PrintedTable("Sub-category-wise Accuracy:", "sub-category", open=True),
)
#: Keys of the prediction: the one since 2026-02-16, then the one before.
MMAR_PREDICTION_KEYS = ("answer_prediction", "model_prediction")


def words(text: str) -> frozenset[str]:
    """Return the set of runs of word characters in the lower-cased text."""
    return frozenset(_WORD.findall(text.lower()))


def included(answer: str, prediction: str, choices: Iterable[str]) -> bool:
    """Tell whether the released rule calls the prediction right.

    An option with the same set of words as the answer forbids no word, so the rule cannot tell the two apart.
    """
    predicted, required = words(prediction), words(answer)
    if not predicted:
        return False
    options = (words(choice) for choice in choices)
    forbidden = frozenset().union(*(option - required for option in options if option != required))
    return required <= predicted and not predicted & forbidden


def mmar_verdict(row: Mapping[str, Any], keys: Sequence[str] = MMAR_PREDICTION_KEYS) -> MmarVerdict:
    """Return the script's verdict on one row of a predictions file; the prediction is the first of `keys` in it."""
    key = next((key for key in keys if key in row), None)
    if key is None:
        return "skipped"
    texts = [row.get("answer"), row[key], *_listed(row.get("choices"))]
    if not all(isinstance(text, str) for text in texts):
        return "invalid"
    answer, prediction, *choices = texts
    return "right" if included(answer, prediction, choices) else "wrong"


def _listed(choices: Any) -> list[Any]:
    """Return a list as it is, and [None] for anything else: the script would read a string letter by letter."""
    return choices if isinstance(choices, list) else [None]


def mmar_printout(
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[MmarVerdict],
    tables: Sequence[PrintedTable] = MMAR_TABLES,
) -> list[str]:
    """Return the lines that the script prints; invalid rows, on which it would stop, count as wrong.

    Values that a closed table does not list, on which the script would stop with a KeyError, follow the listed ones.
    """
    scored = [(row, mark) for row, mark in zip(rows, verdicts, strict=True) if mark != "skipped"]
    lines: list[str] = []
    for table in tables:
        lines += ["*" * 30, table.heading, *_table_lines(table, scored)]
    right = sum(mark == "right" for _, mark in scored)
    total = f"Total Accuracy: {_percent(right, len(scored))} over {len(scored)} samples"
    # the script skips rows without the key before it counts them, so it always prints 0
    return [*lines, "*" * 30, total, "*" * 30, "No prediction count: 0"]


def _table_lines(table: PrintedTable, scored: Sequence[tuple[Mapping[str, Any], MmarVerdict]]) -> list[str]:
    cells = {value: [0, 0] for value in table.values}
    for row, mark in scored:
        value = row.get(table.field)
        if value is None and table.open:
            continue
        cell = cells.setdefault(str(value), [0, 0])
        cell[0] += mark == "right"
        cell[1] += 1
    return [f"{value} : {_percent(right, n)} over {n} samples" for value, (right, n) in cells.items()]


def _percent(right: int, n: int) -> str:
    return f"{right / n * 100 if n else 0:.2f}%"
