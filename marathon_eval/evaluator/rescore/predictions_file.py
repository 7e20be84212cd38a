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
#: Ids and row numbers that a message lists.
LISTED_IDS = 3
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


#: Ways to join predictions to rows, in order of preference. Row numbers serve only where the dataset has no column of that name.
LINKS = (
    *(JoinKey(name, name) for name in IDS),
    JoinKey("id", "uniq_id"),
    *(JoinKey(name, name) for name in ("doc_id", "idx", "sample_id")),
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
    """Holds a task's rows, and the predictions by row number; a prediction has whatever JSON type the file holds.

    `note` says where the gold comes from, or how the predictions were joined, where a user may expect something else.
    """

    table: Table
    given: dict[int, Any]
    note: str | None = None


class _Linked(NamedTuple):
    """Holds the predictions by row number, and the key by which they were joined."""

    given: dict[int, Any]
    link: JoinKey


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
    """Join the task's rows with their predictions; gold comes from the dataset where `data_dir` is given, else from the file.

    Raises MarathonError for unknown or repeated ids, and for a file that has only a part of the gold.
    """
    own_rows = _own_rows(task, predictions)
    lacking = [row.number for row in own_rows if not _carries(task, predictions, row)]
    n_own = len(own_rows)
    fields = ", ".join(sorted(needed(task)))
    if data_dir is None:
        if not lacking:
            return _rows_of_file(task, predictions)
        if n_own > len(lacking):
            raise MarathonError(
                f"{predictions.path}: {len(lacking)} of {n_own} rows, the first of them row {lacking[0]}, lack the fields that "
                f"{task.name} needs ({fields}), and the others have them: give them to all rows, or --data_dir, which "
                "names the dataset that they are read from"
            )
        own = f", and '{predictions.key}' holds the prediction" if predictions.key in needed(task) else ""
        raise MarathonError(
            f"{predictions.path}: the rows lack the fields that {task.name} needs ({fields}){own}; "
            "--data_dir names the dataset that they belong to"
        )
    reader = TableReader(
        task.config, data_dir, task.path.resolve().parent, task.document.where("dataset_path")
    )
    table = reader.read(reader.test_split())
    linked = _linked(task, predictions, table.rows)
    notes = []
    if n_own > len(lacking):
        notes.append(f"the gold ({fields}) is that of the dataset in {data_dir}, not of the predictions file")
    if linked.link.ours == NUMBER:
        notes.append(f"'{linked.link.theirs}' of the predictions file is taken as the row's number, from 0")
    rows = only(table.rows, task.config.only_rows, task.document.where("dataset_path"))
    return Joined(replace(table, rows=rows), linked.given, "; ".join(notes) or None)


def needed(task: Task) -> frozenset[str]:
    """Return the columns that are needed to read and score a row."""
    question = task.writer.question
    unread = question.gold_is == "absent"
    target = frozenset() if unread or isinstance(question.target, (int, list)) else question.target.names
    return (target | question.choices.names) - {"choices", "letters", "options"}


def _own_rows(task: Task, predictions: Predictions) -> Sequence[Row]:
    """Return the file's rows, without those that belong to another task by the columns they have."""
    rows = [Row(number, "", row) for number, row in enumerate(predictions.rows)]
    rule = task.config.only_rows
    if rule is None or not any(rule.fields.keys() <= row.keys() for row in predictions.rows):
        return rows
    return only(rows, rule, str(predictions.path))


def _carries(task: Task, predictions: Predictions, row: Row) -> bool:
    """Return whether a row of the file has the dataset's columns that the task needs, apart from its prediction."""
    columns = needed(task)
    return bool(columns) and columns <= row.values.keys() - {predictions.key}


def _rows_of_file(task: Task, predictions: Predictions) -> Joined:
    rows = _own_rows(task, predictions)
    name = next((name for name in IDS if all(name in row.values for row in rows)), None)
    if name is not None:
        _refuse_twice([row.values[name] for row in rows], name, predictions.path)
    by_number = {row.number: row.values[predictions.key] for row in rows if predictions.key in row.values}
    without_predictions = [
        row._replace(values={key: value for key, value in row.values.items() if key != predictions.key})
        for row in rows
    ]
    table = Table(without_predictions, None, str(predictions.path), predictions.sha256)
    fields = ", ".join(sorted(needed(task)))
    return Joined(
        table, by_number, f"the gold ({fields}) is that of the predictions file: no --data_dir is given"
    )


def _linked(task: Task, predictions: Predictions, rows: Sequence[Row]) -> _Linked:
    """Return the predictions by the number of their row in the dataset; `rows` are all rows, also those of other tasks."""
    own = {row.number for row in only(rows, task.config.only_rows, task.document.where("dataset_path"))}
    given = [row.values for row in _own_rows(task, predictions)]
    if len(given) < len(predictions.rows):
        rows = [row for row in rows if row.number in own]
    if not given:
        return _Linked({}, LINKS[0])
    link, numbers_by_id = _link(task, predictions.path, given, rows)
    _refuse_twice([link.compared(row[link.theirs]) for row in given], link.theirs, predictions.path)
    by_number: dict[int, Any] = {}
    for row in given:
        identity = link.compared(row[link.theirs])
        if identity not in numbers_by_id:
            raise MarathonError(
                f"{predictions.path}: {task.name} has no row with {link.ours} '{identity}'.{did_you_mean(identity, numbers_by_id)}"
            )
        number = numbers_by_id[identity][0]
        if predictions.key in row and number in own:
            by_number[number] = row[predictions.key]
    return _Linked(by_number, link)


def _link(
    task: Task, path: Path, given: Sequence[Mapping[str, Any]], rows: Sequence[Row]
) -> tuple[JoinKey, dict[str, list[int]]]:
    """Return the first of LINKS that finds one row for a prediction and never several, with the row numbers by identity.

    Rows of the dataset whose column is null stay without a prediction.
    """
    usable = [row for row in rows if isinstance(row.values, Mapping)]
    columns = {name for row in usable for name, value in row.values.items() if value is not None}
    unclear: list[str] = []
    for link in LINKS:
        if not all(link.theirs in row for row in given) or (link.ours == NUMBER and link.theirs in columns):
            continue
        numbers: dict[str, list[int]] = {}
        for row in usable:
            value = row.number if link.ours == NUMBER else row.values.get(link.ours)
            if value is not None:
                numbers.setdefault(link.compared(value), []).append(row.number)
        found = [
            name
            for name in dict.fromkeys(link.compared(row[link.theirs]) for row in given)
            if name in numbers
        ]
        several = [name for name in found if len(numbers[name]) > 1]
        if several:
            unclear.append(_several(link, several, numbers))
        elif found:
            return link, numbers
    if unclear:
        raise MarathonError(
            f"{path}: the predictions of {task.name} cannot be joined: {'; '.join(unclear)}. Give each row of the "
            "dataset an id of its own, or each prediction the row's number as 'doc_id'"
        )
    keys = ", ".join(dict.fromkeys(link.theirs for link in LINKS))
    raise MarathonError(
        f"{path}: no prediction matches a row of {task.name}; predictions are matched by one of {keys} (without --data_dir the "
        "file itself is the dataset, if it has the right answers)"
    )


def _several(link: JoinKey, several: Sequence[str], numbers: Mapping[str, Sequence[int]]) -> str:
    """Return which identities more than one row of the dataset has: `id '2' is that of rows 1, 2`."""
    shown = ", ".join(
        f"'{name}' is that of rows {', '.join(map(str, numbers[name][:LISTED_IDS]))}"
        for name in several[:LISTED_IDS]
    )
    more = f" and {len(several) - LISTED_IDS} others repeat" if len(several) > LISTED_IDS else ""
    return f"{link.ours} {shown}{more}"


def _refuse_twice(values: Sequence[Any], name: str, path: Path) -> None:
    counted = Counter(map(str, values))
    twice = [value for value, count in counted.items() if count > 1]
    if twice:
        more = f", and {len(twice) - 1} others repeat" if len(twice) > 1 else ""
        raise MarathonError(
            f"{path}: {name} '{twice[0]}' is there {counted[twice[0]]} times{more}: keep one row for each id"
        )
