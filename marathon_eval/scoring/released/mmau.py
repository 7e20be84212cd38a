"""Reproduces MMAU's released rule: MMAR's word inclusion (MMAR took it from MMAU), with other keys and tables.

Source: evaluation.py of https://github.com/Sakshi113/MMAU. The code reads `model_output`; its README says
`model_prediction`, which the code does not find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marathon_eval.scoring.released import mmar
from marathon_eval.scoring.released.mmar import MmarVerdict, PrintedTable, included

__all__ = ["MMAU_PREDICTION_KEYS", "MMAU_TABLES", "included", "mmau_printout", "mmau_verdict"]

#: Keys of the prediction: the code's, then the README's.
MMAU_PREDICTION_KEYS = ("model_output", "model_prediction")
#: The tables of the printout, in order.
MMAU_TABLES = (
    PrintedTable("Task-wise Accuracy:", "task", ("sound", "music", "speech")),
    PrintedTable("Difficulty-wise Accuracy:", "difficulty", ("easy", "hard", "medium")),
    PrintedTable("Sub-category-wise Accuracy:", "sub-category", open=True),
)


def mmau_verdict(row: Mapping[str, Any]) -> MmarVerdict:
    """Return the script's verdict on one row of a predictions file."""
    return mmar.mmar_verdict(row, MMAU_PREDICTION_KEYS)


def mmau_printout(rows: Sequence[Mapping[str, Any]], verdicts: Sequence[MmarVerdict]) -> list[str]:
    """Return the lines that the script prints."""
    return mmar.mmar_printout(rows, verdicts, MMAU_TABLES)
