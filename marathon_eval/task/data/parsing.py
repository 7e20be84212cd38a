"""Parses the bytes of one data file to rows."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.task.data.csv_rows import PLAIN_LAYOUT, CsvLayout, csv_rows
from marathon_eval.task.data.parquet import parquet_rows


def parsed_rows(
    content: bytes,
    form: str,
    field: str | None,
    name: str,
    delimiter: str | None = None,
    encoding: str | None = None,
    layout: CsvLayout = PLAIN_LAYOUT,
) -> list[Any]:
    """Parse the rows in a file's bytes. Raises MarathonError naming the file and, for text formats, the line.

    `encoding` is that of CSV and TSV files, by Python's names; without it, and in JSON, text is UTF-8. `delimiter` and
    `layout` say how the cells of these are written.
    """
    if form == "parquet":
        return parquet_rows(io.BytesIO(content), len(content), name, lambda column: True, None)
    if form in ("csv", "tsv"):
        text = _decoded(content, encoding, name, "or name its encoding")
        return csv_rows(text, form, delimiter, name, layout)
    text = _decoded(content, None, name)
    return _json_lines(text, name) if form == "jsonl" else _json(text, field, name)


def _decoded(content: bytes, encoding: str | None, name: str, other_way: str = "") -> str:
    """Return the text in a file's bytes. Raises MarathonError with the line of the first byte that is none of it."""
    if encoding is None:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise not_utf8(name, line, content[error.start], other_way) from None
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except LookupError:
        raise MarathonError(
            f"{name}: dataset_kwargs: encoding: Python knows no text encoding '{encoding}' (such as utf-8, latin-1, cp1252)"
        ) from None
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise MarathonError(
            f"{name}:{line}: byte 0x{content[error.start]:02x} is no text in dataset_kwargs: encoding: {encoding}"
        ) from None


def not_utf8(name: str, line: int, byte: int, other_way: str = "") -> MarathonError:
    """Return the error about a file that is not UTF-8, with the line of the first byte that shows it."""
    other = f", {other_way} (dataset_kwargs: encoding: latin-1)" if other_way else ""
    return MarathonError(f"{name}:{line}: not UTF-8 text (byte 0x{byte:02x}): save the file as UTF-8{other}")


def _json(text: str, field: str | None, name: str) -> list[Any]:
    """Parse a list of rows, or the list under `field`; without it, like `datasets`, also accept one object per line.

    A list is its rows with `field` too: AudioMarathon's metadata come in both forms.
    """
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _is_json(text.strip().partition("\n")[0]):
            if field is not None:
                raise MarathonError(
                    f"{name}: has an object on each line, and dataset_kwargs: field: {field} needs one object"
                ) from None
            return _json_lines(text, name)
        raise MarathonError(f"{name}: not readable as JSON ({error})") from None
    if field is not None and isinstance(loaded, dict):
        if field not in loaded:
            raise unknown(name, "key", field, loaded)
        loaded = loaded[field]
    if not isinstance(loaded, list):
        what = (
            f"an object with {', '.join(list(loaded)[:5])}" if isinstance(loaded, dict) else repr(loaded)[:40]
        )
        raise MarathonError(f"{name}: must be a list of rows, but is {what}")
    return loaded


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _json_lines(text: str, name: str) -> list[Any]:
    rows = []
    # not str.splitlines, which also splits at characters that may occur in a JSON string
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise MarathonError(f"{name}:{number}: not readable as JSON ({error})") from None
    return rows
