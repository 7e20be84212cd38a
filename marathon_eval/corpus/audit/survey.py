"""Reads a data set's folder: every row of every metadata file, exactly as written, and every audio file.

Unlike a task's loader it raises no error for a bad row but records a fault. Besides the described layouts it reads
any JSON or JSONL file that lists rows with an audio path.
"""

from __future__ import annotations

import os
import re
import string
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from marathon_eval.api.audio import Audio
from marathon_eval.corpus.audit.expected import Dataset, Expected
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.row_files import RowFile, row_file, rows_in
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.sources import walks

AUDIO_SUFFIXES = {
    ".wav",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".mp2",
    ".au",
    ".aiff",
    ".aif",
    ".aifc",
    ".w64",
    ".caf",
}
AUDIO_SUFFIXES |= {".m4a", ".mp4", ".m4b", ".aac", ".webm", ".mka", ".wma", ".amr"}
#: Folders that `build` and `review` write into a data set; their content is not part of the data.
NOT_DATA = {"manifests", "rejected", "speech"}
AUDIO_KEYS = ("path", "audio_path", "audio")


@dataclass(frozen=True)
class SurveyRow:
    """Holds one row as written. `audio` is the resolved path of its file; `answer` is the index of the right option."""

    task: str
    where: str
    number: int
    written: str
    audio: Path | None
    question: str | None = None
    options: tuple[str, ...] = ()
    gold: str | None = None
    answer: int | None = None
    label: str | None = None
    speaker: str | None = None
    uid: str | None = None
    reference: str | None = None
    also_true: tuple[str, ...] = ()
    question_idx: str | None = None
    key: str = ""
    #: Of a task's rows: all its clips, its columns, and the columns that the answer is read from.
    clips: tuple[Audio, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict, hash=False)
    gold_columns: frozenset[str] = frozenset(("answer_gt", "answer"))


@dataclass
class Survey:
    """Holds a data set's rows, its audio files (sorted), its metadata files by task, and faults of unreadable metadata."""

    root: Path
    rows: list[SurveyRow] = field(default_factory=list)
    files: list[Path] = field(default_factory=list)
    metadata: dict[str, Path] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    #: The files whose rows can be removed and relabelled, by task.
    row_files: dict[str, RowFile] = field(default_factory=dict)
    #: File names in rows that have a fault: such a file is used, although its row is not here.
    mentioned: set[str] = field(default_factory=set)

    def file_of(self, row: SurveyRow) -> RowFile | None:
        """Return the file that a row stands in; None for a row that consists of its audio file, or of a table."""
        file = self.row_files.get(row.task)
        return file if file and row.where.rpartition("#")[0] == below(file.path, self.root) else None

    def tasks(self) -> dict[str, list[SurveyRow]]:
        """Return the rows by task."""
        by_task: dict[str, list[SurveyRow]] = {}
        for row in self.rows:
            by_task.setdefault(row.task, []).append(row)
        return by_task


def survey(root: Path, dataset: Dataset, claimed: Collection[Path] = ()) -> Survey:
    """Read everything below a folder, except metadata that is `claimed` (real paths): tasks read it themselves.

    Raises MarathonError if the folder does not exist or holds neither rows nor audio.
    """
    if not root.is_dir():
        raise MarathonError(f"{root}: no such folder")
    root = Path(os.path.abspath(root))
    surveyed = Survey(root)
    paths = [*walked(root)]
    surveyed.files = [path for path in paths if path.suffix.lower() in AUDIO_SUFFIXES]
    for path in paths:
        if path.suffix in (".json", ".jsonl") and Path(os.path.realpath(path)) not in claimed:
            _add_metadata(surveyed, path, dataset)
    for task, expected in dataset.tasks.items():
        if expected.tree is not None:
            _add_tree(surveyed, task, expected)
    surveyed.rows = keyed(surveyed.rows, root)
    if not surveyed.rows and not surveyed.files and not claimed:
        raise MarathonError(f"{root}: holds neither audio nor metadata")
    return surveyed


def walked(root: Path) -> Iterator[Path]:
    """Yield every file, sorted, so that the order does not depend on the file system."""
    for folder, inner, names in os.walk(root, followlinks=True):
        inner[:] = sorted(
            name
            for name in inner
            if name not in NOT_DATA and not name.startswith(".") and walks(root, folder, name)
        )
        for name in sorted(names):
            yield Path(folder, name)


def _add_metadata(surveyed: Survey, path: Path, dataset: Dataset) -> None:
    task = next((name for name, expected in dataset.tasks.items() if expected.metadata == path.name), None)
    where = path.relative_to(surveyed.root).as_posix()
    try:
        rows = rows_in(path)
    except (OSError, ValueError, RecursionError) as error:
        surveyed.faults.append(Fault("broken_metadata", task or path.stem, where, str(error).splitlines()[0]))
        return
    if task is None and not _looks_like_rows(rows):
        return
    task = task or path.stem
    if not isinstance(rows, list):
        surveyed.faults.append(Fault("broken_metadata", task, where, "holds no list of rows"))
        return
    surveyed.metadata[task], surveyed.row_files[task] = path, row_file(path)
    expected = dataset.tasks.get(task, Expected())
    for number, content in enumerate(rows):
        row = row_of(content, task, f"{where}#{number}", number, path.parent, expected, surveyed.root)
        if isinstance(row, Fault):
            surveyed.faults.append(row)
        else:
            surveyed.rows.append(row)


def _looks_like_rows(rows: Any) -> bool:
    """Return whether this is a list of objects of which the first names an audio file."""
    first = rows[0] if isinstance(rows, list) and rows else None
    path = audio_path(first) if isinstance(first, dict) else None
    return path is not None and PurePosixPath(path).suffix.lower() in AUDIO_SUFFIXES


def audio_path(content: Mapping[str, Any]) -> str | None:
    """Return the audio path of a row; of a list of paths, the first."""
    value = next((content[key] for key in AUDIO_KEYS if content.get(key)), None)
    value = value[0] if isinstance(value, list) and value else value
    return value if isinstance(value, str) else None


def row_of(
    content: Any, task: str, where: str, number: int, folder: Path, expected: Expected, root: Path
) -> SurveyRow | Fault:
    """Return a row, or a fault if the content cannot be read as one."""
    if not isinstance(content, dict):
        return Fault("bad_row", task, where, f"is {type(content).__name__}, not an object")
    path = audio_path(content)
    if path is None:
        return Fault("bad_row", task, where, f"names no audio file under {' or '.join(AUDIO_KEYS)}")
    audio = located(path, folder, root)
    if audio is None:
        return Fault("outside_root", task, where, path)
    options = options_of(content)
    gold = content.get("answer_gt", content.get("answer"))
    if options and gold is None:
        return Fault("bad_row", task, where, "has options but no answer")
    answer = answer_place(str(gold), options) if gold is not None else None
    text = options[answer] if answer is not None and expected.label != "" else None
    return SurveyRow(
        task,
        where,
        number,
        path,
        audio,
        question=None if content.get("question") is None else str(content["question"]),
        options=options,
        gold=None if gold is None else str(gold),
        answer=answer,
        label=_text(content, expected.label) or text,
        speaker=_text(content, expected.speaker),
        uid=_text(content, "uniq_id") or _text(content, "id"),
        question_idx=_text(content, "question_idx"),
        also_true=tuple(map(str, content.get(expected.also_true or "", None) or ())),
        fields=content,
    )


def _text(content: Mapping[str, Any], key: str | None) -> str | None:
    value = content.get(key) if key is not None else None
    return None if value is None else str(value)


def located(path: str, folder: Path, root: Path) -> Path | None:
    """Return the path of a row's audio, beside the metadata or in its `wav` folder; None if it leaves the root."""
    places = [Path(os.path.normpath(folder / inner / path)) for inner in ("", "wav")]
    if PurePosixPath(path).is_absolute() or not places[0].is_relative_to(os.path.normpath(root)):
        return None
    return next((place for place in places if place.exists()), places[0])


def options_of(content: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the option texts, from `choice_a` ..., or from `choices` or `options` as a list or by letter."""
    lettered = [content.get(f"choice_{letter}") for letter in string.ascii_lowercase]
    if lettered[0] is not None:
        texts = [text for text in lettered if text is not None]
    else:
        choices = content.get("choices", content.get("options")) or ()
        texts = (
            [*choices.values()]
            if isinstance(choices, dict)
            else [*choices]
            if isinstance(choices, list)
            else []
        )
    return tuple("" if text is None else str(text) for text in texts)


def answer_place(gold: str, options: Sequence[str]) -> int | None:
    """Return the index of the option that the gold answer names by letter or by text; None if there is none."""
    letter = gold.strip().upper()
    if len(letter) == 1 and letter in string.ascii_uppercase[: len(options)]:
        return string.ascii_uppercase.index(letter)
    folded = [option.strip().casefold() for option in options]
    return folded.index(gold.strip().casefold()) if gold.strip().casefold() in folded else None


def _add_tree(surveyed: Survey, task: str, expected: Expected) -> None:
    """Add a row for each file whose path matches the task's pattern, unless the metadata has a row for it."""
    pattern = re.compile(expected.tree or "")
    listed = {row.audio for row in surveyed.rows if row.task == task}
    for path in surveyed.files:
        where = path.relative_to(surveyed.root).as_posix()
        match = pattern.search(f"{surveyed.root.name}/{where}")
        if match is None or path in listed:
            continue
        groups = match.groupdict()
        label = groups.get("label")
        answer = expected.choices.index(label) if label in expected.choices else None
        reference = reference_text(path) if expected.transcripts else None
        row = SurveyRow(
            task, where, len(surveyed.rows), where, path, options=tuple(expected.choices), gold=label
        )
        row = replace(row, answer=answer, label=label, speaker=groups.get("speaker"), reference=reference)
        surveyed.rows.append(row)


def reference_text(path: Path) -> str:
    """Return an audio file's reference text, from its own .txt or its line in the folder's .trans.txt; else empty."""
    text_file = path.with_suffix(".txt")
    if text_file.is_file():
        return text_file.read_text(encoding="utf-8", errors="replace").strip()
    for file in sorted(path.parent.glob("*.trans.txt")):
        for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, text = line.strip().partition(" ")
            if name == path.stem:
                return text.strip()
    return ""


def below(path: Path, root: Path) -> str:
    """Return a path below the root with slashes; one that lies elsewhere, such as audio of a table, in full."""
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else path.as_posix()


def keyed(rows: Sequence[SurveyRow], root: Path) -> list[SurveyRow]:
    """Return the rows with their `key`, the name in a review: the audio's path below the root, and `#` with a number.

    Audio that lies elsewhere, because it stood inside a table, has the name that its row gives it. The number is the
    row's `question_idx`, which stays the same when other rows are removed. Of rows without one that share their audio,
    it is the row's id if no other row has it, or else they are counted: `clips/1.wav#0`.
    """
    counts = Counter((row.task, row.audio) for row in rows)
    ids = Counter((row.task, row.audio, row.uid) for row in rows)
    seen: Counter[tuple[str, Path | None]] = Counter()
    result = []
    for row in rows:
        inside = row.audio is not None and row.audio.is_relative_to(root)
        path = below(row.audio, root) if row.audio is not None and inside else row.written
        place = row.question_idx
        if place is None and counts[row.task, row.audio] > 1:
            own = row.uid is not None and ids[row.task, row.audio, row.uid] == 1
            place = row.uid if own else str(seen[row.task, row.audio])
        result.append(replace(row, key=path if place is None else f"{path}#{place}"))
        seen[row.task, row.audio] += 1
    return result
