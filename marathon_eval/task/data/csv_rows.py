"""Reads the rows of CSV and TSV files."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from marathon_eval.errors import MarathonError

#: Most characters of one cell; Python's own limit of 131,072 is shorter than the transcript of an hour.
LONGEST_CELL = 1 << 28
CSV_DELIMITERS = {"csv": ",", "tsv": "\t"}


@dataclass(frozen=True)
class CsvLayout:
    """Says how a table is written beside its delimiter; the fields are pandas' arguments of the same names.

    `header` counts lines that are not empty. With `names` and no `header`, the first line is a row already.
    """

    quotechar: str = '"'
    quoting: Literal[0, 1, 2, 3] = csv.QUOTE_MINIMAL
    escapechar: str | None = None
    skipinitialspace: bool = False
    skiprows: int = 0
    header: int | None = None
    names: tuple[str, ...] = ()


#: A table whose first line is its header.
PLAIN_LAYOUT = CsvLayout()


def csv_rows(
    text: str, form: str, delimiter: str | None, name: str, layout: CsvLayout = PLAIN_LAYOUT
) -> list[Any]:
    """Return one mapping of column to text per row. Raises MarathonError with file and line.

    A first column without a name is the row index that pandas writes; it is left out.
    """
    csv.field_size_limit(LONGEST_CELL)
    mark = delimiter or CSV_DELIMITERS[form]
    file = io.StringIO(text, newline="")
    for _ in range(layout.skiprows):
        file.readline()
    reader = csv.reader(
        file,
        delimiter=mark,
        quotechar=layout.quotechar,
        quoting=layout.quoting,
        escapechar=layout.escapechar,
        skipinitialspace=layout.skipinitialspace,
        strict=True,
    )
    rows: list[Any] = []
    try:
        header = _header(reader, layout)
        first = 0 if layout.names else _checked(header, mark, f"{name}:{max(1, _line(reader, layout))}")
        for cells in reader:
            if not cells:
                continue  # an empty line
            if len(cells) > len(header):
                columns = "dataset_kwargs name columns" if layout.names else "the header"
                raise MarathonError(f"{name}:{_line(reader, layout)}: has more cells than {columns}")
            filled: list[str | None] = [*cells, *[None] * (len(header) - len(cells))]
            rows.append(dict(zip(header[first:], filled[first:], strict=True)))
    except csv.Error as error:
        raise MarathonError(f"{name}:{_line(reader, layout)}: not readable as CSV ({error})") from None
    return rows


def _line(reader: Any, layout: CsvLayout) -> int:
    """Return the line of the file that a reader has read last."""
    return int(reader.line_num) + layout.skiprows


def _header(reader: Iterator[list[str]], layout: CsvLayout) -> Sequence[str]:
    """Return the names of the columns, and read the lines up to the first row."""
    if layout.header is None:
        return layout.names or next(reader, [])
    filled = (cells for cells in reader if cells)
    for _ in range(layout.header):
        next(filled, None)
    header = next(filled, [])
    return layout.names or header


def _checked(header: Sequence[str], mark: str, where: str) -> int:
    """Return the place of the first column with a name: 0, or 1 behind an index. Raises MarathonError."""
    for place, column in enumerate(header):
        if column in header[:place]:
            raise MarathonError(f"{where}: the header names the column '{column}' twice")
    if "" in header[1:]:
        raise MarathonError(f"{where}: column {header.index('', 1) + 1} of the header has no name")
    if len(header) == 1:
        other = next((one for one in "\t;,|" if one != mark and one in header[0]), None)
        if other is not None:
            raise MarathonError(
                f"{where}: the header is one cell at the delimiter {mark!r}; it contains {other!r}: set "
                f"dataset_kwargs: delimiter: {other!r}"
            )
    return 1 if header and not header[0] else 0
