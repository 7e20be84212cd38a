"""Reads a predictions file, and joins its rows with the dataset's if they lack the dataset's columns.

Accepted formats: MMAR's JSON or JSONL, MMAU's JSON and AIR-Bench's JSONL (rows with the dataset's columns and the
prediction), AudioMarathon's result JSON, and plain `{"id": ..., "response": ...}` rows, which need the dataset.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.errors import MarathonError, did_you_mean
from marathon_eval.task.data.parsing import parsed_rows
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.data.selection import Row, only
from marathon_eval.task.data.table import Table
from marathon_eval.task.task import Task

#: Keys of a prediction, in order of preference; the first key that any row has is used for the whole file.
KEYS = (
    "answer_prediction",
    "model_prediction",
    "model_output",
    "response",
    "raw_response",
    "model_response",
    "response_text",
    "prediction",
)
#: Keys of AudioMarathon's result files that hold a list of rows.
LISTS = ("samples", "detailed_results", "results", "model_responses")
#: Stands for the row's number in the dataset, in place of a column's name.
NUMBER = "row number"
#: Columns that identify a row, in order of preference.
IDS = ("id", "uniq_id", "audio_id")


class JoinKey(NamedTuple):
    """Joins predictions to rows: a prediction's key `theirs` equals a row's column `ours` or its number, as text."""

    theirs: str
    ours: str
    compared: Callable[[Any], str] = str


def _file_name(path: Any) -> str:
    """Return the file name of a POSIX or Windows path."""
    return posixpath.basename(str(path).replace("\\", "/"))


#: Ways to join predictions to rows, in order of preference.
LINKS = (
    *(JoinKey(name, name) for name in IDS),
    JoinKey("id", "uniq_id"),
    JoinKey("doc_id", NUMBER),
    JoinKey("id", NUMBER),
    *(
        JoinKey(theirs, ours, _file_name)
        for theirs in ("audio_path", "path", "audio_file")
        for ours in ("audio_path", "path")
    ),
    JoinKey("idx", NUMBER),
    JoinKey("sample_id", NUMBER),
)


@dataclass(frozen=True)
class Predictions:
    """Holds the rows of a predictions file, and the key under which they hold the prediction."""

    path: Path
    rows: list[Mapping[str, Any]]
    key: str
    sha256: str


class Joined(NamedTuple):
    """Holds a task's rows, and the predictions by row number; a prediction has whatever JSON type the file holds."""

    table: Table
    given: dict[int, Any]


def read_predictions(path: Path, key: str | None = None) -> Predictions:
    """Read a predictions file; `key` replaces KEYS. Raises MarathonError that names the file and the line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise MarathonError(f"--predictions: {path}: cannot read ({error.strerror})") from None
    rows = _rows(content, path)
    for number, row in enumerate(rows):
        if not isinstance(row, Mapping):
            raise MarathonError(f"{path}: row {number} is {type(row).__name__}, not an object")
    if not rows:
        raise MarathonError(f"{path}: holds no rows")
    candidates = KEYS if key is None else (key,)
    prediction_key = next((name for name in candidates if any(name in row for row in rows)), None)
    if prediction_key is None:
        raise MarathonError(
            f"{path}: no row has a prediction under {', '.join(candidates)}. Rows have: {', '.join(rows[0])}"
        )
    return Predictions(path, rows, prediction_key, hashlib.sha256(content).hexdigest())


def _rows(content: bytes, path: Path) -> list[Any]:
    """Parse a JSON list, JSON lines, or the list in an AudioMarathon result. Raises MarathonError."""
    result_object = _object(content)
    if result_object is None or path.suffix.lower() == ".jsonl":
        return parsed_rows(content, "jsonl" if path.suffix.lower() == ".jsonl" else "json", None, str(path))
    rows = next((result_object[name] for name in LISTS if isinstance(result_object.get(name), list)), None)
    if rows is None:
        raise MarathonError(f"{path}: is one object without a list of rows under {', '.join(LISTS)}")
    return list(rows)


def _object(content: bytes) -> dict[str, Any] | None:
    """Return the single JSON object that a file holds; None for a list, for JSON lines, and for invalid JSON."""
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def joined_predictions(task: Task, predictions: Predictions, data_dir: str | None) -> Joined:
    """Join the task's rows with their predictions. Raises MarathonError for unknown or repeated ids."""
    if carries_fields(task, predictions.rows):
        return _rows_of_file(task, predictions)
    if data_dir is None:
        raise MarathonError(
            f"{predictions.path}: the rows lack the fields that {task.name} needs ({', '.join(sorted(needed(task)))}); "
            "--data_dir names the dataset that they belong to"
        )
    reader = TableReader(
        task.config, data_dir, task.path.resolve().parent, task.document.where("dataset_path")
    )
    table = reader.read(reader.test_split())
    table = replace(table, rows=only(table.rows, task.config.only_rows, task.document.where("dataset_path")))
    return Joined(table, _linked(task, predictions, table.rows))


def needed(task: Task) -> frozenset[str]:
    """Return the columns that are needed to read and score a row."""
    question = task.writer.question
    unread = question.gold_is == "absent"
    target = frozenset() if unread or isinstance(question.target, (int, list)) else question.target.names
    return (target | question.choices.names) - {"choices", "letters", "options"}


def carries_fields(task: Task, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Return whether at least one row has the dataset's columns that the task needs."""
    columns = needed(task)
    return bool(columns) and any(columns <= row.keys() for row in rows)


def _rows_of_file(task: Task, predictions: Predictions) -> Joined:
    given = [Row(number, "", row) for number, row in enumerate(predictions.rows)]
    rows = only(given, task.config.only_rows, str(predictions.path))
    name = next((name for name in IDS if all(name in row.values for row in rows)), None)
    if name is not None:
        _refuse_twice([row.values[name] for row in rows], name, predictions.path)
    by_number = {row.number: row.values[predictions.key] for row in rows if predictions.key in row.values}
    without_predictions = [
        row._replace(values={key: value for key, value in row.values.items() if key != predictions.key})
        for row in rows
    ]
    return Joined(Table(without_predictions, None, str(predictions.path), predictions.sha256), by_number)


def _linked(task: Task, predictions: Predictions, rows: Sequence[Row]) -> dict[int, Any]:
    """Return the predictions by the number of their row in the dataset."""
    link, number_by_id = _link(task, predictions, rows)
    _refuse_twice(
        [link.compared(row[link.theirs]) for row in predictions.rows], link.theirs, predictions.path
    )
    by_number: dict[int, Any] = {}
    for row in predictions.rows:
        identity = link.compared(row[link.theirs])
        if identity not in number_by_id:
            raise MarathonError(
                f"{predictions.path}: {task.name} has no row with {link.ours} '{identity}'.{did_you_mean(identity, number_by_id)}"
            )
        if predictions.key in row:
            by_number[number_by_id[identity]] = row[predictions.key]
    return by_number


def _link(task: Task, predictions: Predictions, rows: Sequence[Row]) -> tuple[JoinKey, dict[str, int]]:
    """Return the first of LINKS that identifies every row and finds a row for at least one prediction."""
    usable = [row for row in rows if isinstance(row.values, Mapping)]
    for link in LINKS:
        if not all(link.theirs in row for row in predictions.rows):
            continue
        values = [row.number if link.ours == NUMBER else row.values.get(link.ours) for row in usable]
        if None in values:
            continue
        by_id = {link.compared(value): row.number for value, row in zip(values, usable, strict=True)}
        if len(by_id) == len(usable) and any(
            link.compared(row[link.theirs]) in by_id for row in predictions.rows
        ):
            return link, by_id
    keys = ", ".join(dict.fromkeys(link.theirs for link in LINKS))
    raise MarathonError(
        f"{predictions.path}: no prediction matches a row of {task.name}; predictions are matched by one of {keys}"
    )


def _refuse_twice(values: Sequence[Any], name: str, path: Path) -> None:
    counted = Counter(map(str, values))
    twice = [value for value, count in counted.items() if count > 1]
    if twice:
        more = f", and {len(twice) - 1} others repeat" if len(twice) > 1 else ""
        raise MarathonError(
            f"{path}: {name} '{twice[0]}' is there {counted[twice[0]]} times{more}: keep one row for each id"
        )
