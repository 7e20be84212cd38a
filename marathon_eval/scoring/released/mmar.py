"""MMAR's released rule: the answer's words must all be in the prediction, and no other option's word may be.

Source: code/evaluation.py of https://github.com/ddlBoJack/MMAR (taken over from MMAU). Words are a set: order,
repetition, punctuation and signs are lost, so "From near to far" is right for "From far to near", a letter alone is
always wrong, and "not a pigeon" names the pigeon. Only `paper` readings use it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

#: `skipped` has no prediction key and leaves the denominator; `invalid` is where the released script crashes.
MmarVerdict = Literal["right", "wrong", "invalid", "skipped"]

_WORD = re.compile(r"\b\w+\b")


class PrintedTable(NamedTuple):
    """One table of the released printout: heading, the row's field, and the values printed even when empty.

    `open` tables take values as they come; a value that a closed table does not list crashes the script.
    """

    heading: str
    field: str
    values: tuple[str, ...] = ()
    open: bool = False


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
#: The key since 2026-02-16, then the one before.
MMAR_PREDICTION_KEYS = ("answer_prediction", "model_prediction")


def words(text: str) -> frozenset[str]:
    """The set of runs of word characters of the lower-cased text."""
    return frozenset(_WORD.findall(text.lower()))


def included(answer: str, prediction: str, choices: Iterable[str]) -> bool:
    """Whether the released rule calls the prediction right.

    Options whose word set equals the answer's forbid nothing, which is why they cannot be told apart.
    """
    said, wanted = words(prediction), words(answer)
    if not said:
        return False
    options = (words(choice) for choice in choices)
    forbidden = frozenset().union(*(option - wanted for option in options if option != wanted))
    return wanted <= said and not said & forbidden


def mmar_verdict(row: Mapping[str, Any], keys: Sequence[str] = MMAR_PREDICTION_KEYS) -> MmarVerdict:
    """What the script says of one row of a predictions file; `keys` name the prediction, the first one present counts."""
    key = next((key for key in keys if key in row), None)
    if key is None:
        return "skipped"
    texts = [row.get("answer"), row[key], *_listed(row.get("choices"))]
    if not all(isinstance(text, str) for text in texts):
        return "invalid"
    answer, prediction, *choices = texts
    return "right" if included(answer, prediction, choices) else "wrong"


def _listed(choices: Any) -> list[Any]:
    """A list as it is; anything else is no list of options (the script would read a string letter by letter)."""
    return choices if isinstance(choices, list) else [None]


def mmar_printout(
    rows: Sequence[Mapping[str, Any]],
    verdicts: Sequence[MmarVerdict],
    tables: Sequence[PrintedTable] = MMAR_TABLES,
) -> list[str]:
    """The lines that the script prints; invalid rows, on which it would stop, are counted as wrong.

    Values that a closed table does not know follow the known ones, where the script would stop with a KeyError.
    """
    scored = [(row, mark) for row, mark in zip(rows, verdicts, strict=True) if mark != "skipped"]
    lines: list[str] = []
    for table in tables:
        lines += ["*" * 30, table.heading, *_table_lines(table, scored)]
    right = sum(mark == "right" for _, mark in scored)
    total = f"Total Accuracy: {_percent(right, len(scored))} over {len(scored)} samples"
    # the script skips rows without the key before it would count them: it always prints 0
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
