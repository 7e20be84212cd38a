"""Writes a page for reviewing a random sample of a data set by ear, and removes the rows that a reviewer rejected.

The paper's authors checked 10 % of AudioMarathon by hand. The page is one HTML file beside the audio. It needs no
server, keeps verdicts in the browser until the reviewer saves them as JSON, and escapes all text of the data.
"""

from __future__ import annotations

import json
import os
import random
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from marathon_eval.corpus.audit.expected import Dataset
from marathon_eval.corpus.audit.survey import ROWS_KEYS, Survey, SurveyRow, rows_in, survey
from marathon_eval.corpus.build.builder import MANIFESTS
from marathon_eval.corpus.build.journal import entries_as_json, sha256_of_file, write_atomic
from marathon_eval.corpus.build.manifest import read_manifest
from marathon_eval.corpus.build.rejections import REJECTED, recorded
from marathon_eval.errors import MarathonError, did_you_mean

#: Version 2 added `unsure`, `relabel` and `answer`; files of version 1 are still read.
REVIEW_VERSIONS = (1, 2)
REVIEW_VERDICTS = ("accept", "reject", "unsure", "relabel")
#: Columns of an answer that can be changed.
ANSWER_KEYS = {"answer_gt", "answer"}


class ReviewVerdict(NamedTuple):
    """A reviewer's verdict on one row, the reason, and with `relabel` the option that is right."""

    verdict: str
    reason: str
    answer: str = ""


class Applied(NamedTuple):
    """The rows and files that were removed from a data set, and the numbers of accepted and judged rows.

    `relabelled` names the rows whose answer was changed, `unsure` those that were left as they are.
    """

    rows: list[str]
    files: list[str]
    accepted: int
    judged: int
    relabelled: Sequence[str] = ()
    unsure: Sequence[str] = ()


def review_sample(surveyed: Survey, share: float, seed: int) -> list[SurveyRow]:
    """Draw a share of each task's rows, at least one, with the seed from the rows sorted by key."""
    chosen = []
    for task, rows in sorted(surveyed.tasks().items()):
        ordered = sorted(rows, key=lambda row: (row.key, row.where))
        count = min(len(ordered), max(1, round(share * len(ordered))))
        drawn = random.Random(f"{seed}:review:{task}").sample(ordered, count)
        chosen += sorted(drawn, key=lambda row: (row.key, row.where))
    return chosen


def page(surveyed: Survey, rows: Sequence[SurveyRow], beside: Path, share: float, seed: int) -> bytes:
    """Render the review page as HTML; its links to the audio are relative to `beside`, the folder of the page."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    shown_rows = [
        {
            "task": row.task,
            "key": row.key,
            "source": quote(os.path.relpath(row.audio, beside)) if row.audio is not None else "",
            "question": row.question or "",
            "options": list(row.options),
            "answer": row.answer,
            "gold": row.gold or "",
            "reference": row.reference or "",
        }
        for row in rows
    ]
    head = {"dataset": surveyed.root.name, "seed": seed, "share": share, "of": len(surveyed.rows)}
    return environment.get_template("review.html.j2").render(rows=shown_rows, head=head).encode()


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
    root: Path, dataset: Dataset, verdicts: Mapping[tuple[str, str], ReviewVerdict], flag: str
) -> Applied:
    """Remove the rejected rows from the metadata, and move audio that no row uses any more to `rejected/`.

    `rejected/review.json` records what is removed; it is written first, so that a killed call can be repeated.
    Raises MarathonError that starts with `flag`, the flag that names the verdicts, for a row that does not exist.
    """
    surveyed = survey(root, dataset)
    rows = {(row.task, row.key): row for row in surveyed.rows}
    before = recorded(surveyed.root)
    for name in verdicts:
        if name not in rows and name not in before:
            near = did_you_mean(name[1], [key for of, key in rows if of == name[0]])
            raise MarathonError(f"{flag}: {name[0]} has no row '{name[1]}' in {root}.{near}")
    changes = relabelled_rows(surveyed, rows, verdicts, flag)
    gone = [rows[name] for name, verdict in verdicts.items() if verdict.verdict == "reject" and name in rows]
    entries = {**before, **{(row.task, row.key): entry_of(surveyed, row, verdicts) for row in gone}}
    write_atomic(surveyed.root / REJECTED / "review.json", entries_as_json([*entries.values()]))
    for task in sorted({row.task for row in (*gone, *changes) if in_metadata(surveyed, row)}):
        answers = {row.number: answer for row, answer in changes.items() if row.task == task}
        rewrite(surveyed.metadata[task], {row.number for row in gone if row.task == task}, answers)
    remaining = [row for row in surveyed.rows if row not in gone]
    files = move_audio(
        surveyed, [surveyed.root / entry["audio"] for entry in entries.values() if entry["audio"]], remaining
    )
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
    verdicts: Mapping[tuple[str, str], ReviewVerdict],
    flag: str,
) -> dict[SurveyRow, str]:
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
        if not in_metadata(surveyed, row) or not ANSWER_KEYS & row.fields.keys():
            raise MarathonError(f"{place}: cannot be relabelled: its answer stands in no metadata file")
        if (surveyed.root / MANIFESTS / f"{row.task}.json").is_file():
            raise MarathonError(
                f"{place}: cannot be relabelled: the set was built, and its source has the label; correct it there"
            )
        letter = (row.gold or "").strip().upper()
        lettered = len(letter) == 1 and letter in string.ascii_uppercase[: len(row.options)]
        number = row.options.index(verdict.answer)
        changes[row] = string.ascii_uppercase[number] if lettered else verdict.answer
    return changes


def in_metadata(surveyed: Survey, row: SurveyRow) -> bool:
    """Return whether the row stands in a metadata file; other rows consist of their audio file only."""
    file = surveyed.metadata.get(row.task)
    return file is not None and row.where.startswith(file.relative_to(surveyed.root).as_posix() + "#")


def entry_of(
    surveyed: Survey, row: SurveyRow, verdicts: Mapping[tuple[str, str], ReviewVerdict]
) -> dict[str, Any]:
    """Return the record of a removed row with its content, so that a user can restore it by hand."""
    return {
        "task": row.task,
        "row": row.key,
        "reason": verdicts[row.task, row.key].reason,
        "audio": row.audio.relative_to(surveyed.root).as_posix() if row.audio is not None else None,
        "metadata": row.where,
        "content": rows_in(surveyed.metadata[row.task])[row.number]
        if in_metadata(surveyed, row)
        else row.reference,
    }


def rewrite(path: Path, numbers: Iterable[int], answers: Mapping[int, str]) -> None:
    """Write the metadata file without the rows of these numbers, and with new answers, in the same layout as before."""
    without = set(numbers)

    def changed(number: int, row: Any) -> Any:
        key = (
            next((key for key in ("answer_gt", "answer") if key in row), "answer")
            if number in answers
            else ""
        )
        return {**row, key: answers[number]} if key else row

    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        lines = [line for line in text.splitlines() if line.strip()]
        left = [
            json.dumps(changed(number, json.loads(line)), ensure_ascii=False) if number in answers else line
            for number, line in enumerate(lines)
            if number not in without
        ]
        write_atomic(path, "".join(f"{line}\n" for line in left).encode())
        return
    content = json.loads(text)
    key = (
        None
        if isinstance(content, list)
        else next(key for key in ROWS_KEYS if isinstance(content.get(key), list))
    )
    rows = content if key is None else content[key]
    left = [changed(number, row) for number, row in enumerate(rows) if number not in without]
    write_atomic(path, entries_as_json(left if key is None else {**content, key: left}))


def move_audio(surveyed: Survey, paths: Iterable[Path], remaining: Sequence[SurveyRow]) -> list[str]:
    """Move audio that no remaining row uses to `rejected/`, and remove its lines in .trans.txt; return the paths."""
    used = {row.audio for row in remaining}
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
