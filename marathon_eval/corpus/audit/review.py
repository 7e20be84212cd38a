"""Manual verification: a seeded tenth of a data set to listen to, and the verdicts' way back into it.

The paper's authors checked 10 % of AudioMarathon by hand. The page is one HTML file beside the audio; it asks no server for
anything, keeps verdicts in the browser until they are saved as JSON, and shows all text of the data as text.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from marathon_eval.corpus.audit.expected import Dataset
from marathon_eval.corpus.audit.survey import ROWS_KEYS, Survey, SurveyRow, rows_in, survey
from marathon_eval.corpus.build.builder import MANIFESTS
from marathon_eval.corpus.build.journal import entries_as_json, sha256_of_file, write_atomic
from marathon_eval.corpus.build.manifest import read_manifest
from marathon_eval.errors import MarathonError, did_you_mean

REVIEW_VERSION = 1
REVIEW_VERDICTS = ("accept", "reject")
#: Where the audio of rejected rows goes, inside the data set: nothing of a user's is deleted.
REJECTED = "rejected"


class ReviewVerdict(NamedTuple):
    """What a person said of one row."""

    verdict: str
    reason: str


class Applied(NamedTuple):
    """What was taken out of a data set."""

    rows: list[str]
    files: list[str]
    accepted: int
    judged: int


def review_sample(found: Survey, share: float, seed: int) -> list[SurveyRow]:
    """A share of each task's rows, at least one, drawn with the seed from rows sorted by name."""
    chosen = []
    for task, rows in sorted(found.tasks().items()):
        ordered = sorted(rows, key=lambda row: (row.key, row.where))
        count = min(len(ordered), max(1, round(share * len(ordered))))
        drawn = random.Random(f"{seed}:review:{task}").sample(ordered, count)
        chosen += sorted(drawn, key=lambda row: (row.key, row.where))
    return chosen


def page(found: Survey, rows: Sequence[SurveyRow], beside: Path, share: float, seed: int) -> bytes:
    """The review page; `beside` is the folder that it will lie in, for its links to the audio."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined
    )
    shown = [
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
    head = {"dataset": found.root.name, "seed": seed, "share": share, "of": len(found.rows)}
    return environment.get_template("review.html.j2").render(rows=shown, head=head).encode()


def read_verdicts(path: Path) -> dict[tuple[str, str], ReviewVerdict]:
    """Verdicts by task and row, from the page's JSON. Raises MarathonError."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if content["schema_version"] != REVIEW_VERSION:
            raise MarathonError(
                f"--verdicts: {path}: schema version {content['schema_version']} is not known here"
            )
        entries = content["verdicts"]
        verdicts = {
            (entry["task"], entry["row"]): ReviewVerdict(entry["verdict"], str(entry.get("reason", "")))
            for entry in entries
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise MarathonError(
            f"--verdicts: {path}: no verdicts of a review page ({type(error).__name__}: {error})"
        ) from None
    for (task, row), verdict in verdicts.items():
        if verdict.verdict not in REVIEW_VERDICTS:
            raise MarathonError(
                f"--verdicts: {path}: {task} {row}: '{verdict.verdict}' is not accept or reject"
            )
    return verdicts


def rejected_rows(path: Path, task: str | None = None) -> frozenset[str]:
    """The names of the rows that were rejected, of one task or of all. Raises MarathonError."""
    verdicts = read_verdicts(path)
    return frozenset(
        row for (of, row), verdict in verdicts.items() if verdict.verdict == "reject" and task in (None, of)
    )


def apply(root: Path, dataset: Dataset, verdicts: Mapping[tuple[str, str], ReviewVerdict]) -> Applied:
    """Take the rejected rows out of the metadata, and audio that no row uses any more into `rejected/`.

    What was taken out is kept in `rejected/review.json`, written first, so that a killed call can be repeated.
    Raises MarathonError for a row that is not there.
    """
    found = survey(root, dataset)
    rows = {(row.task, row.key): row for row in found.rows}
    before = recorded(found.root)
    for name in verdicts:
        if name not in rows and name not in before:
            near = did_you_mean(name[1], [known for of, known in rows if of == name[0]])
            raise MarathonError(f"--verdicts: {name[0]} has no row '{name[1]}' in {root}.{near}")
    gone = [rows[name] for name, said in verdicts.items() if said.verdict == "reject" and name in rows]
    entries = {**before, **{(row.task, row.key): entry_of(found, row, verdicts) for row in gone}}
    write_atomic(found.root / REJECTED / "review.json", entries_as_json([*entries.values()]))
    for task in sorted({row.task for row in gone if in_metadata(found, row)}):
        rewrite(found.metadata[task], {row.number for row in gone if row.task == task})
    kept = [row for row in found.rows if row not in gone]
    files = move_audio(
        found, [found.root / entry["audio"] for entry in entries.values() if entry["audio"]], kept
    )
    for task in sorted({row.task for row in gone}):
        amend_manifest(found, task, [row.key for row in gone if row.task == task], kept)
    accepted = sum(said.verdict == "accept" for said in verdicts.values())
    return Applied([row.key for row in gone], files, accepted, len(verdicts))


def in_metadata(found: Survey, row: SurveyRow) -> bool:
    """Whether the row stands in a metadata file; rows that are files themselves go with their audio."""
    file = found.metadata.get(row.task)
    return file is not None and row.where.startswith(file.relative_to(found.root).as_posix() + "#")


def entry_of(
    found: Survey, row: SurveyRow, verdicts: Mapping[tuple[str, str], ReviewVerdict]
) -> dict[str, Any]:
    """A row as it stood, so that a rejection can be undone by hand."""
    return {
        "task": row.task,
        "row": row.key,
        "reason": verdicts[row.task, row.key].reason,
        "audio": row.audio.relative_to(found.root).as_posix() if row.audio is not None else None,
        "metadata": row.where,
        "content": rows_in(found.metadata[row.task])[row.number]
        if in_metadata(found, row)
        else row.reference,
    }


def recorded(root: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """What former calls took out. Raises MarathonError when their record is damaged."""
    path = root / REJECTED / "review.json"
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text(encoding="utf-8"))
        return {(entry["task"], entry["row"]): entry for entry in entries}
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise MarathonError(f"{path}: damaged ({error})") from None


def rewrite(path: Path, numbers: Iterable[int]) -> None:
    """The metadata file without the rows of these numbers, in its own shape."""
    without = set(numbers)
    text = path.read_text(encoding="utf-8-sig")
    if path.suffix == ".jsonl":
        lines = [line for line in text.splitlines() if line.strip()]
        left = [line for number, line in enumerate(lines) if number not in without]
        write_atomic(path, "".join(f"{line}\n" for line in left).encode())
        return
    content = json.loads(text)
    key = (
        None
        if isinstance(content, list)
        else next(key for key in ROWS_KEYS if isinstance(content.get(key), list))
    )
    rows = content if key is None else content[key]
    left = [row for number, row in enumerate(rows) if number not in without]
    write_atomic(path, entries_as_json(left if key is None else {**content, key: left}))


def move_audio(found: Survey, paths: Iterable[Path], kept: Sequence[SurveyRow]) -> list[str]:
    """Audio of rejected rows that no other row uses, moved below `rejected/`; a transcript's line goes with it."""
    used = {row.audio for row in kept}
    moved = []
    for path in sorted({path for path in paths if path.is_file()} - used):
        where = path.relative_to(found.root)
        target = found.root / REJECTED / where
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        for texts in sorted(path.parent.glob("*.trans.txt")):
            lines = texts.read_text(encoding="utf-8").splitlines(keepends=True)
            write_atomic(texts, "".join(line for line in lines if line.split(" ")[0] != path.stem).encode())
        moved.append(where.as_posix())
    return moved


def amend_manifest(found: Survey, task: str, gone: Sequence[str], kept: Sequence[SurveyRow]) -> None:
    """The build's own account without what was rejected: as if it had been built with these verdicts."""
    path = found.root / MANIFESTS / f"{task}.json"
    build = read_manifest(path)
    if build is None:
        return
    folder = found.root / build["root"]
    used = {row.audio for row in kept if row.task == task}
    build["audio"] = [line for line in build["audio"] if folder / line["path"] in used]
    build["rejected"] = sorted({*build["rejected"], *gone})
    build["metadata"] = {
        name: sha256_of_file(folder / name) for name in build["metadata"] if (folder / name).is_file()
    }
    build["counts"] = {
        "files": len(build["audio"]),
        "rows": sum(row.task == task for row in kept),
        "seconds": round(sum(line["frames"] / line["rate"] for line in build["audio"]), 3),
    }
    write_atomic(path, entries_as_json(build))
