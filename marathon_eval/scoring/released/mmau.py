"""MMAU's released rule: MMAR's word inclusion (MMAR took it from here), other keys and other tables.

Source: evaluation.py of https://github.com/Sakshi113/MMAU. The code reads `model_output`; its README says
`model_prediction`, which the code does not find.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from marathon_eval.scoring.released import mmar
from marathon_eval.scoring.released.mmar import Table, Verdict, included

__all__ = ["PREDICTION_KEYS", "TABLES", "included", "printout", "verdict"]

PREDICTION_KEYS = ("model_output", "model_prediction")
TABLES = (
    Table("Task-wise Accuracy:", "task", ("sound", "music", "speech")),
    Table("Difficulty-wise Accuracy:", "difficulty", ("easy", "hard", "medium")),
    Table("Sub-category-wise Accuracy:", "sub-category", open=True),
)


def verdict(row: Mapping[str, Any]) -> Verdict:
    """What the script says of one row of a predictions file."""
    return mmar.verdict(row, PREDICTION_KEYS)


def printout(rows: Sequence[Mapping[str, Any]], verdicts: Sequence[Verdict]) -> list[str]:
    """The lines that the script prints."""
    return mmar.printout(rows, verdicts, TABLES)
