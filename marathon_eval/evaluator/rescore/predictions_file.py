"""Answers made elsewhere: a predictions file's rows, joined with the dataset where they do not carry its fields.

Read as they are: MMAR's JSON or JSONL, MMAU's JSON, AIR-Bench's JSONL (rows with the dataset's own fields plus the
prediction), AudioMarathon's result JSON, and plain {id, response} rows, which need the dataset.
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
from marathon_eval.task.data.rows import TableReader, parsed_rows
from marathon_eval.task.data.selection import Row, only
from marathon_eval.task.data.table import Table
from marathon_eval.task.task import Task

#: Where a prediction may stand, in this order; the first that any row has is the file's.
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
#: Where AudioMarathon's result files keep their rows.
LISTS = ("samples", "detailed_results", "results", "model_responses")
NUMBER = "row number"
IDS = ("id", "uniq_id", "audio_id")


class JoinKey(NamedTuple):
    """How a prediction finds its row: a key there and a column here (or the row's number), compared as text."""

    theirs: str
    ours: str
    compared: Callable[[Any], str] = str


def _name(path: Any) -> str:
    return posixpath.basename(str(path).replace("\\", "/"))


LINKS = (
    *(JoinKey(name, name) for name in IDS),
    JoinKey("id", "uniq_id"),
    JoinKey("doc_id", NUMBER),
    JoinKey("id", NUMBER),
    *(
        JoinKey(theirs, ours, _name)
        for theirs in ("audio_path", "path", "audio_file")
        for ours in ("audio_path", "path")
    ),
    JoinKey("idx", NUMBER),
    JoinKey("sample_id", NUMBER),
)


@dataclass(frozen=True)
class Predictions:
    """A file's rows as they stand, and the key that holds the prediction."""

    path: Path
    rows: list[Mapping[str, Any]]
    key: str
    sha256: str


class Joined(NamedTuple):
    """A task's rows with a prediction for some: by row number, of whatever type the file holds."""

    table: Table
    given: dict[int, Any]


def read_predictions(path: Path, key: str | None = None) -> Predictions:
    """The rows of a predictions file. Raises MarathonError naming the file, and the line where there is one."""
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
    wanted = KEYS if key is None else (key,)
    found = next((name for name in wanted if any(name in row for row in rows)), None)
    if found is None:
        raise MarathonError(
            f"{path}: no row has a prediction under {', '.join(wanted)}. Rows have: {', '.join(rows[0])}"
        )
    return Predictions(path, rows, found, hashlib.sha256(content).hexdigest())


def _rows(content: bytes, path: Path) -> list[Any]:
    """A list, lines of objects, or the list inside an AudioMarathon result. Raises MarathonError."""
    whole = _object(content)
    if whole is None or path.suffix.lower() == ".jsonl":
        return parsed_rows(content, "jsonl" if path.suffix.lower() == ".jsonl" else "json", None, str(path))
    rows = next((whole[name] for name in LISTS if isinstance(whole.get(name), list)), None)
    if rows is None:
        raise MarathonError(f"{path}: is one object without a list of rows under {', '.join(LISTS)}")
    return list(rows)


def _object(content: bytes) -> dict[str, Any] | None:
    """The one JSON object that a file holds; None for a list, for lines, and for what is no JSON."""
    try:
        loaded = json.loads(content)
    except (ValueError, RecursionError):
        return None
    return loaded if isinstance(loaded, dict) else None


def joined_predictions(task: Task, predictions: Predictions, data_dir: str | None) -> Joined:
    """The task's rows and what was predicted for them. Raises MarathonError for ids that are unknown or there twice."""
    if carries_fields(task, predictions.rows):
        return _own_rows(task, predictions)
    if data_dir is None:
        raise MarathonError(
            f"{predictions.path}: the rows lack the fields that {task.name} needs ({', '.join(sorted(needed(task)))}); "
            "--data_dir names the dataset that they belong to"
        )
    reader = TableReader(
        task.config, data_dir, task.path.resolve().parent, task.document.where("dataset_path")
    )
    table = reader.read(reader.test_split())
    table = replace(table, rows=only(table.rows, task.config.only_rows))
    return Joined(table, _linked(task, predictions, table.rows))


def needed(task: Task) -> frozenset[str]:
    """The columns without which a row can be neither read nor scored."""
    question = task.writer.question
    target = frozenset() if isinstance(question.target, (int, list)) else question.target.names
    return (target | question.choices.names) - {"choices", "letters", "options"}


def carries_fields(task: Task, rows: Sequence[Mapping[str, Any]]) -> bool:
    """Whether the rows are the dataset's own, or at least some of them."""
    columns = needed(task)
    return bool(columns) and any(columns <= row.keys() for row in rows)


def _own_rows(task: Task, predictions: Predictions) -> Joined:
    rows = only([Row(number, "", row) for number, row in enumerate(predictions.rows)], task.config.only_rows)
    name = next((name for name in IDS if all(name in row.values for row in rows)), None)
    if name is not None:
        _refuse_twice([row.values[name] for row in rows], name, predictions.path)
    given = {row.number: row.values[predictions.key] for row in rows if predictions.key in row.values}
    stripped = [
        row._replace(values={key: value for key, value in row.values.items() if key != predictions.key})
        for row in rows
    ]
    return Joined(Table(stripped, None, str(predictions.path), predictions.sha256), given)


def _linked(task: Task, predictions: Predictions, rows: Sequence[Row]) -> dict[int, Any]:
    link, by_id = _link(task, predictions, rows)
    _refuse_twice(
        [link.compared(row[link.theirs]) for row in predictions.rows], link.theirs, predictions.path
    )
    given: dict[int, Any] = {}
    for row in predictions.rows:
        wanted = link.compared(row[link.theirs])
        if wanted not in by_id:
            raise MarathonError(
                f"{predictions.path}: {task.name} has no row with {link.ours} '{wanted}'.{did_you_mean(wanted, by_id)}"
            )
        if predictions.key in row:
            given[by_id[wanted]] = row[predictions.key]
    return given


def _link(task: Task, predictions: Predictions, rows: Sequence[Row]) -> tuple[JoinKey, dict[str, int]]:
    """The first link under which rows here are told apart and at least one prediction finds its row."""
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
    known = ", ".join(dict.fromkeys(link.theirs for link in LINKS))
    raise MarathonError(
        f"{predictions.path}: no prediction finds a row of {task.name}; rows are told apart by {known}"
    )


def _refuse_twice(values: Sequence[Any], name: str, path: Path) -> None:
    counted = Counter(map(str, values))
    twice = [value for value, count in counted.items() if count > 1]
    if twice:
        more = f", and {len(twice) - 1} more" if len(twice) > 1 else ""
        raise MarathonError(
            f"{path}: {name} '{twice[0]}' is there {counted[twice[0]]} times{more}: which one counts?"
        )
