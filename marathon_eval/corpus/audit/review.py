"""Reads the verdicts of a review by ear, removes the rows that were rejected, and changes answers that were relabelled."""

from __future__ import annotations

import json
import os
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.corpus.audit.doctor import surveyed_with
from marathon_eval.corpus.audit.expected import Dataset
from marathon_eval.corpus.audit.row_files import NewCell
from marathon_eval.corpus.audit.survey import Survey, SurveyRow, below
from marathon_eval.corpus.build.builder import MANIFESTS
from marathon_eval.corpus.build.journal import entries_as_json, sha256_of_file, write_atomic
from marathon_eval.corpus.build.manifest import read_manifest
from marathon_eval.corpus.build.rejections import REJECTED, recorded
from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.task.task import Task

#: Version 2 added `unsure`, `relabel` and `answer`; files of version 1 are still read.
REVIEW_VERSIONS = (1, 2)
REVIEW_VERDICTS = ("accept", "reject", "unsure", "relabel")
#: Columns of an answer in the order in which they are read, if a row has several.
ANSWER_KEYS = ("answer_gt", "answer")


class ReviewVerdict(NamedTuple):
    """Holds a reviewer's verdict on one row, the reason, and with `relabel` the option that is right."""

    verdict: str
    reason: str
    answer: str = ""


class Applied(NamedTuple):
    """Holds the rows and files that were removed from a data set, and the numbers of accepted and judged rows.

    `relabelled` names the rows whose answer was changed, `unsure` those that were left as they are.
    """

    rows: list[str]
    files: list[str]
    accepted: int
    judged: int
    relabelled: Sequence[str] = ()
    unsure: Sequence[str] = ()


def read_verdicts(path: Path, flag: str) -> dict[tuple[str, str], ReviewVerdict]:
    """Read the verdicts of a page's JSON, by task and row key.

    Raises MarathonError that starts with `flag`, the command-line flag that names the file.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] not in REVIEW_VERSIONS:
            raise MarathonError(
                f"{flag}: {path}: schema version {content['schema_version']} is not supported, only "
                f"{' and '.join(map(str, REVIEW_VERSIONS))}"
            )
        entries = content["verdicts"]
        verdicts = {
            (entry["task"], entry["row"]): ReviewVerdict(
                entry["verdict"], str(entry.get("reason", "")), str(entry.get("answer", ""))
            )
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MarathonError(
            f"{flag}: {path}: not a verdicts file of a review page ({type(error).__name__}: {error})"
        ) from None
    for (task, row), verdict in verdicts.items():
        if verdict.verdict not in REVIEW_VERDICTS:
            raise MarathonError(
                f"{flag}: {path}: {task} {row}: '{verdict.verdict}' is not one of {', '.join(REVIEW_VERDICTS)}"
            )
        if verdict.verdict == "relabel" and not verdict.answer:
            raise MarathonError(f"{flag}: {path}: {task} {row}: 'relabel' names no answer")
    return verdicts


def rejected_rows(path: Path, flag: str, task: str | None = None) -> frozenset[str]:
    """Return the keys of the rejected rows, of one task or of all. Raises MarathonError as `read_verdicts` does."""
    verdicts = read_verdicts(path, flag)
    return frozenset(
        row for (of, row), verdict in verdicts.items() if verdict.verdict == "reject" and task in (None, of)
    )


def apply(
    root: Path,
    dataset: Dataset,
    verdicts: Mapping[tuple[str, str], ReviewVerdict],
    flag: str,
    own: Mapping[str, Task] | None = None,
) -> Applied:
    """Remove the rejected rows from the metadata, and move audio that no row uses any more to `rejected/`.

    `rejected/review.json` records what is removed; it is written first, so that a killed call can be repeated. The rows
    of tasks in `own` are read as their YAMLs say. Raises MarathonError that starts with `flag`, the flag that names the
    verdicts, for a row that does not exist, and for one that stands in no file that can be written again.
    """
    surveyed = surveyed_with(root, dataset, own or {})
    rows = {(row.task, row.key): row for row in surveyed.rows}
    before = recorded(surveyed.root)
    for name in verdicts:
        if name not in rows and name not in before:
            near = did_you_mean(name[1], [key for of, key in rows if of == name[0]])
            raise MarathonError(f"{flag}: {name[0]} has no row '{name[1]}' in {root}.{near}")
    written = _written_rows(surveyed, [rows[name] for name in verdicts if name in rows])
    changes = relabelled_rows(surveyed, rows, written, verdicts, flag)
    rejected = [
        rows[name] for name, verdict in verdicts.items() if verdict.verdict == "reject" and name in rows
    ]
    records = {(row.task, row.key): entry_of(surveyed, row, written, verdicts) for row in rejected}
    # where rows are counted, the row that an earlier call removed has left its name to the next one
    gone = [
        row for row in rejected if _is_recorded(before.get((row.task, row.key)), records[row.task, row.key])
    ]
    for row in gone:
        _check_removable(surveyed, row, flag, own or {})
    entries = {**before, **{(row.task, row.key): records[row.task, row.key] for row in gone}}
    write_atomic(surveyed.root / REJECTED / "review.json", entries_as_json([*entries.values()]))
    without = _rewrite(surveyed, gone, changes)
    remaining = [row for row in surveyed.rows if row not in gone and _place(surveyed, row) not in without]
    names = [name for entry in entries.values() for name in (entry["audio"], *entry.get("clips", ())) if name]
    files = move_audio(surveyed, [surveyed.root / name for name in names], remaining)
    for task in sorted({row.task for row in gone}):
        amend_manifest(surveyed, task, [row.key for row in gone if row.task == task], remaining)
    accepted = sum(verdict.verdict == "accept" for verdict in verdicts.values())
    unsure = [key for (_, key), verdict in verdicts.items() if verdict.verdict == "unsure"]
    return Applied(
        [row.key for row in gone], files, accepted, len(verdicts), [row.key for row in changes], unsure
    )


def relabelled_rows(
    surveyed: Survey,
    rows: Mapping[tuple[str, str], SurveyRow],
    written: Mapping[SurveyRow, Any],
    verdicts: Mapping[tuple[str, str], ReviewVerdict],
    flag: str,
) -> dict[SurveyRow, NewCell]:
    """Return the rows to relabel with their new answer, as a letter where the old one is a letter.

    Raises MarathonError for an answer that is no option, and for rows whose answer stands in no metadata file or comes
    from a build, which would write the old one again.
    """
    changes = {}
    for name, verdict in verdicts.items():
        if verdict.verdict != "relabel" or name not in rows:
            continue
        row, place = rows[name], f"{flag}: {name[0]} '{name[1]}'"
        if verdict.answer not in row.options:
            raise MarathonError(
                f"{place}: '{verdict.answer}' is none of the options: {', '.join(row.options)}"
            )
        column = _answer_column(row, written.get(row))
        if column is None:
            raise MarathonError(f"{place}: cannot be relabelled: its answer stands in no metadata file")
        if (surveyed.root / MANIFESTS / f"{row.task}.json").is_file():
            raise MarathonError(
                f"{place}: cannot be relabelled: the set was built, and its source has the label; correct it there"
            )
        letter = (row.gold or "").strip().upper()
        lettered = letter in [*string.ascii_uppercase[: len(row.options)]] and row.gold not in row.options
        number = row.options.index(verdict.answer)
        changes[row] = NewCell(column, string.ascii_uppercase[number] if lettered else verdict.answer)
    return changes


def _answer_column(row: SurveyRow, written: Any) -> str | None:
    """Return the column that holds the row's answer as it is, None if the answer is made of something else."""
    names = [*ANSWER_KEYS, *sorted(row.gold_columns.difference(ANSWER_KEYS))]
    cells = written if isinstance(written, dict) else {}
    same = (
        name
        for name in names
        if name in row.gold_columns and row.gold is not None and str(cells.get(name)) == row.gold
    )
    return next(same, None)


def _written_rows(surveyed: Survey, rows: Sequence[SurveyRow]) -> dict[SurveyRow, Any]:
    """Return what the files hold for these rows; rows that stand in no file are left out."""
    contents: dict[Path, list[Any]] = {}
    written = {}
    for row in rows:
        file = surveyed.file_of(row)
        if file is not None:
            if file.path not in contents:
                contents[file.path] = file.rows()
            written[row] = contents[file.path][row.number]
    return written


def entry_of(
    surveyed: Survey,
    row: SurveyRow,
    written: Mapping[SurveyRow, Any],
    verdicts: Mapping[tuple[str, str], ReviewVerdict],
) -> dict[str, Any]:
    """Return the record of a removed row with its content, so that a user can restore it by hand."""
    root = surveyed.root
    audio = [below(path, root) for path in _paths(row) if path.is_relative_to(root)]
    entry = {
        "task": row.task,
        "row": row.key,
        "reason": verdicts[row.task, row.key].reason,
        "audio": audio[0] if audio else None,
        "metadata": row.where,
        "content": written.get(row, row.reference),
    }
    return {**entry, "clips": audio[1:]} if len(audio) > 1 else entry


def _paths(row: SurveyRow) -> list[Path]:
    """Return the audio files of a row, each once."""
    paths = [Path(clip.path) for clip in row.clips] or ([row.audio] if row.audio is not None else [])
    return list(dict.fromkeys(paths))


def _is_recorded(before: Mapping[str, Any] | None, now: Mapping[str, Any]) -> bool:
    """Return whether a record is new, or the one that a killed call made of the same row."""
    return before is None or before.get("content") == now["content"]


def _check_removable(surveyed: Survey, row: SurveyRow, flag: str, own: Mapping[str, Task]) -> None:
    """Raise MarathonError for a row of a table, of the hub or of a function's making."""
    task = own.get(row.task)
    if task is None or task.config.dataset_kwargs.file_tree or surveyed.file_of(row) is not None:
        return
    raise MarathonError(
        f"{flag}: {row.task} '{row.key}': cannot be removed: its rows stand in no JSON, JSONL, CSV or TSV file of "
        f"{surveyed.root} (a table in UTF-8 whose first line is its header); `marathon-eval export` writes a copy with such a file"
    )


def _rewrite(
    surveyed: Survey, gone: Sequence[SurveyRow], changes: Mapping[SurveyRow, NewCell]
) -> set[tuple[Path, int] | None]:
    """Write the files of these rows again, each once; return the files and numbers of the rows that left them."""
    without = {_place(surveyed, row) for row in gone} - {None}
    files = {file.path: file for row in (*gone, *changes) if (file := surveyed.file_of(row)) is not None}
    for path, file in sorted(files.items()):
        cells = {
            row.number: cell for row, cell in changes.items() if _place(surveyed, row) == (path, row.number)
        }
        file.rewrite({place[1] for place in without if place is not None and place[0] == path}, cells)
    return without


def _place(surveyed: Survey, row: SurveyRow) -> tuple[Path, int] | None:
    """Return the file and the number of a row, which several tasks may share."""
    file = surveyed.file_of(row)
    return None if file is None else (file.path, row.number)


def move_audio(surveyed: Survey, paths: Iterable[Path], remaining: Sequence[SurveyRow]) -> list[str]:
    """Move audio that no remaining row uses to `rejected/`, and remove its lines in .trans.txt; return the paths."""
    used = {path for row in remaining for path in _paths(row)}
    moved = []
    for path in sorted({path for path in paths if path.is_file()} - used):
        where = path.relative_to(surveyed.root)
        target = surveyed.root / REJECTED / where
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        for texts in sorted(path.parent.glob("*.trans.txt")):
            lines = texts.read_text(encoding="utf-8").splitlines(keepends=True)
            write_atomic(texts, "".join(line for line in lines if line.split(" ")[0] != path.stem).encode())
        moved.append(where.as_posix())
    return moved


def amend_manifest(surveyed: Survey, task: str, gone: Sequence[str], remaining: Sequence[SurveyRow]) -> None:
    """Rewrite a build's manifest without the rejected rows, as if it had been built with these verdicts."""
    path = surveyed.root / MANIFESTS / f"{task}.json"
    build = read_manifest(path)
    if build is None:
        return
    folder = surveyed.root / build["root"]
    used = {row.audio for row in remaining if row.task == task}
    build["audio"] = [line for line in build["audio"] if folder / line["path"] in used]
    build["rejected"] = sorted({*build["rejected"], *gone})
    build["metadata"] = {
        name: sha256_of_file(folder / name) for name in build["metadata"] if (folder / name).is_file()
    }
    build["counts"] = {
        "files": len(build["audio"]),
        "rows": sum(row.task == task for row in remaining),
        "seconds": round(sum(line["frames"] / line["rate"] for line in build["audio"]), 3),
    }
    write_atomic(path, entries_as_json(build))
