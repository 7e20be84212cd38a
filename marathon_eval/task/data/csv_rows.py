"""Reads the rows of CSV and TSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import Any

from marathon_eval.errors import MarathonError

#: Most characters of one cell; Python's own limit of 131,072 is shorter than the transcript of an hour.
LONGEST_CELL = 1 << 28
CSV_DELIMITERS = {"csv": ",", "tsv": "\t"}


def csv_rows(text: str, form: str, delimiter: str | None, name: str) -> list[Any]:
    """Return one mapping of column to text per row. Raises MarathonError with file and line.

    A first column without a name is the row index that pandas writes; it is left out.
    """
    csv.field_size_limit(LONGEST_CELL)
    mark = delimiter or CSV_DELIMITERS[form]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True)
    rows: list[Any] = []
    try:
        header = next(reader, [])
        first = _checked(header, mark, name)
        for cells in reader:
            if not cells:
                continue  # an empty line
            if len(cells) > len(header):
                raise MarathonError(f"{name}:{reader.line_num}: has more cells than the header")
            filled: list[str | None] = [*cells, *[None] * (len(header) - len(cells))]
            rows.append(dict(zip(header[first:], filled[first:], strict=True)))
    except csv.Error as error:
        raise MarathonError(f"{name}:{reader.line_num}: not readable as CSV ({error})") from None
    return rows


def _checked(header: Sequence[str], mark: str, name: str) -> int:
    """Return the place of the first column with a name: 0, or 1 behind an index. Raises MarathonError."""
    for place, column in enumerate(header):
        if column in header[:place]:
            raise MarathonError(f"{name}:1: the header names the column '{column}' twice")
    if "" in header[1:]:
        raise MarathonError(f"{name}:1: column {header.index('', 1) + 1} of the header has no name")
    if len(header) == 1:
        other = next((one for one in "\t;,|" if one != mark and one in header[0]), None)
        if other is not None:
            raise MarathonError(
                f"{name}:1: the header is one cell at the delimiter {mark!r}; it contains {other!r}: set "
                f"dataset_kwargs: delimiter: {other!r}"
            )
    return 1 if header and not header[0] else 0
