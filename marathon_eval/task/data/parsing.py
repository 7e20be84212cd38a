"""Parses the bytes of one data file to rows."""

from __future__ import annotations

import io
import json
import re
from typing import Any

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.task.data.csv_rows import csv_rows
from marathon_eval.task.data.parquet import parquet_rows


def parsed_rows(
    content: bytes, form: str, field: str | None, name: str, delimiter: str | None = None
) -> list[Any]:
    """Parse the rows in a file's bytes. Raises MarathonError naming the file and, for text formats, the line."""
    if form == "parquet":
        return parquet_rows(io.BytesIO(content), len(content), name, lambda column: True, None)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MarathonError(f"{name}: not readable as text ({error.reason})") from None
    if form in ("csv", "tsv"):
        return csv_rows(text, form, delimiter, name)
    return _json_lines(text, name) if form == "jsonl" else _json(text, field, name)


def _json(text: str, field: str | None, name: str) -> list[Any]:
    """Parse a list of rows, or the list under `field`; like `datasets`, also accept one object per line."""
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _is_json(text.strip().partition("\n")[0]):
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
