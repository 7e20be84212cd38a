"""Reads the rows of a data set's JSON, JSONL, CSV or TSV file, and writes the file again without some of them."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.corpus.build.journal import entries_as_json, write_atomic
from marathon_eval.task.data.csv_rows import CSV_DELIMITERS, LONGEST_CELL
from marathon_eval.task.data.parsing import parsed_rows

#: Keys under which a JSON object may have its rows, if nothing names the key.
ROWS_KEYS = ("tasks", "samples", "rows", "data")
#: Formats of files that can be written again row by row.
ROW_FORMATS = ("json", "jsonl", *CSV_DELIMITERS)


class NewCell(NamedTuple):
    """Describes a column and the text that a row gets there."""

    column: str
    text: str


class RowFile(NamedTuple):
    """Describes a file of rows; `form` is its format, `field` the key of its rows, `delimiter` stands between CSV cells."""

    path: Path
    form: str
    field: str | None = None
    delimiter: str | None = None

    def rows(self) -> list[Any]:
        """Return the rows as a task reads them. Raises MarathonError, and OSError."""
        if self.form == "json" and self.field is None:
            # not one JSON document: a task also reads lines of JSON from a .json file, and parsed_rows raises what is wrong
            with suppress(ValueError):
                rows: list[Any] = rows_in(self.path)
                return rows
        return parsed_rows(self.path.read_bytes(), self.form, self.field, str(self.path), self.delimiter)

    def rewrite(self, without: Collection[int], changed: Mapping[int, NewCell]) -> None:
        """Write the file without the rows of these numbers and with new cells, in the same layout as before."""
        text = self.path.read_bytes().decode("utf-8-sig")
        if self.form in CSV_DELIMITERS:
            written = self._csv(text, without, changed)
        else:
            written = self._json(text, without, changed)
        write_atomic(self.path, written)

    def _csv(self, text: str, without: Collection[int], changed: Mapping[int, NewCell]) -> bytes:
        csv.field_size_limit(LONGEST_CELL)
        mark = self.delimiter or CSV_DELIMITERS[self.form]
        lines = [
            cells for cells in csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True) if cells
        ]
        header, rows = lines[0], lines[1:]
        for number, cell in changed.items():
            place = header.index(cell.column)
            # a row may have fewer cells than the header
            rows[number] += [""] * (place + 1 - len(rows[number]))
            rows[number][place] = cell.text
        out = io.StringIO(newline="")
        ending = "\r\n" if "\r\n" in text else "\n"
        writer = csv.writer(out, delimiter=mark, lineterminator=ending)
        writer.writerows([header, *(row for number, row in enumerate(rows) if number not in without)])
        return out.getvalue().encode()

    def _json(self, text: str, without: Collection[int], changed: Mapping[int, NewCell]) -> bytes:
        try:
            content = None if self.form == "jsonl" else json.loads(text)
        except ValueError:  # a task also reads lines of JSON from a .json file
            content = None
        if content is None or (isinstance(content, dict) and self._key(content) is None):
            lines = _json_lines(text, without, changed)
            # a single line in a .json file would be read as an object, not as a row
            alone = self.form == "json" and lines.count(b"\n") < 2
            return entries_as_json([json.loads(line) for line in lines.splitlines()]) if alone else lines
        key = None if isinstance(content, list) else self._key(content)
        rows = _left(content if key is None else content[key], without, changed)
        return entries_as_json(rows if key is None else {**content, key: rows})

    def _key(self, content: Mapping[str, Any]) -> str | None:
        return self.field or next((key for key in ROWS_KEYS if isinstance(content.get(key), list)), None)


def row_file(path: Path) -> RowFile:
    """Return the file as its name describes it."""
    return RowFile(path, path.suffix.lstrip(".").lower())


def rows_in(path: Path) -> Any:
    """Return the rows of a JSONL, or of a JSON that is a list or an object with a list; any other JSON as it is."""
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    content = json.loads(text)
    if isinstance(content, dict):
        return next((content[key] for key in ROWS_KEYS if isinstance(content.get(key), list)), content)
    return content


def _json_lines(text: str, without: Collection[int], changed: Mapping[int, NewCell]) -> bytes:
    """Return JSON lines; those that are not changed stay as they are written."""
    lines = [line for line in re.split("\r\n|\r|\n", text) if line.strip()]
    for number, cell in changed.items():
        lines[number] = json.dumps({**json.loads(lines[number]), cell.column: cell.text}, ensure_ascii=False)
    return "".join(f"{line}\n" for number, line in enumerate(lines) if number not in without).encode()


def _left(rows: Sequence[Any], without: Collection[int], changed: Mapping[int, NewCell]) -> list[Any]:
    return [
        {**row, changed[number].column: changed[number].text} if number in changed else row
        for number, row in enumerate(rows)
        if number not in without
    ]
