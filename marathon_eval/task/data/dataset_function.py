"""Runs lm-eval's `process_docs: !function`, which takes and returns a whole `datasets.Dataset`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from marathon_eval.api.own_code import OwnCode
from marathon_eval.api.task_functions import called
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import EmbeddedAudio


def processed_rows(code: OwnCode, rows: Sequence[Row], where: str) -> list[Row]:
    """Return the rows that the function makes of these, numbered anew from 0.

    Audio inside the table passes as a text that names it. Raises MarathonError where the function fails or returns
    no rows of columns.
    """
    import datasets
    from pyarrow import ArrowException  # type: ignore[import-untyped]  # ships no stubs

    folders = {row.folder for row in rows}
    if len(folders) > 1 or not all(isinstance(row.values, Mapping) for row in rows):
        raise MarathonError(
            f"{where}: process_docs: a function needs rows of one folder, each with named columns"
        )
    embedded = {
        str(value): value for row in rows for value in row.values.values() if isinstance(value, EmbeddedAudio)
    }
    plain = [
        {key: str(value) if isinstance(value, EmbeddedAudio) else value for key, value in row.values.items()}
        for row in rows
    ]
    datasets.disable_progress_bars()
    try:
        made = called(code, datasets.Dataset.from_dict(_columns(plain)))
    except (MarathonError, ArrowException) as error:
        raise MarathonError(f"{where}: process_docs: {error}") from None
    if not isinstance(made, Iterable):
        raise MarathonError(f"{where}: process_docs: {code.name} must return rows, got {type(made).__name__}")
    folder = next(iter(folders), "")
    return [Row(number, folder, _with_audio(fields, embedded)) for number, fields in enumerate(made)]


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Return every column that any row has; `Dataset.from_list` takes those of the first row. A row without one has null."""
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _with_audio(fields: Any, embedded: Mapping[str, EmbeddedAudio]) -> Any:
    if not isinstance(fields, Mapping):
        return fields
    return {
        key: embedded.get(value, value) if isinstance(value, str) else value for key, value in fields.items()
    }
