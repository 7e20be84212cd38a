"""Writes a data set as plain files: rows.jsonl, and the audio of its tables below audio/."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.files import json_line, write_atomically
from marathon_eval.task.data.rows import TableReader
from marathon_eval.task.data.sources import EmbeddedAudio, StoredFiles
from marathon_eval.task.data.table import FORMATS, Table
from marathon_eval.task.yaml.config import TaskConfig

ROWS_FILE, AUDIO_FOLDER = "rows.jsonl", "audio"


class PlainCopy(NamedTuple):
    """Holds the file of rows, and the numbers of rows and of audio files that were written."""

    path: Path
    rows: int
    files: int


def export_rows(dataset: str, folder: Path, split: str, name: str | None, revision: str | None) -> PlainCopy:
    """Write one split of a data set into a folder and return what was written.

    `dataset` is a data file, a folder, or a name on the hub. Audio inside the rows becomes a file below audio/, and the
    row its path; rows that name files of their own keep the names. Raises MarathonError.
    """
    if (folder / ROWS_FILE).exists():
        raise MarathonError(f"{folder / ROWS_FILE}: exists already; choose another folder")
    table = _read(dataset, split, name, revision)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        copier = _Copier(folder, table)
        write_atomically(folder / ROWS_FILE, copier.lines())
    except OSError as error:
        raise MarathonError(f"{error.filename or folder}: cannot write ({error.strerror})") from None
    return PlainCopy(folder / ROWS_FILE, len(table.rows), len(copier.written))


def _read(dataset: str, split: str, name: str | None, revision: str | None) -> Table:
    path = Path(dataset)
    kwargs: dict[str, Any] = {} if revision is None else {"revision": revision}
    source, data_dir = dataset, None
    if path.is_file():
        form = path.suffix.lstrip(".").lower()
        if form not in FORMATS:
            raise MarathonError(f"{dataset}: the format must be one of {', '.join(FORMATS)}")
        source, data_dir, kwargs = form, str(path.parent), {**kwargs, "data_files": path.name}
    elif path.is_dir():
        source = data_dir = str(path.resolve())
    config = TaskConfig(
        dataset_path=source,
        dataset_name=name,
        dataset_kwargs=kwargs,
        doc_to_text="-",
        doc_to_target="-",
    )
    return TableReader(config, data_dir, Path.cwd(), "export", every_column=True).read(split)


class _Copier:
    """Copies audio while the rows are written."""

    def __init__(self, folder: Path, table: Table) -> None:
        self.folder = folder
        self.table = table
        self.written: dict[str, str] = {}

    def lines(self) -> Iterator[str]:
        """Yield each row as a line of JSON, once its audio is copied."""
        for row in self.table.rows:
            yield json_line(row.values if not isinstance(row.values, Mapping) else self._plain(row.values))

    def _plain(self, value: Any) -> Any:
        if isinstance(value, EmbeddedAudio):
            return self._copied(str(value), self.table.embedded[value])
        if isinstance(value, Mapping):
            stored = value.get("path")
            if (
                isinstance(self.table.source, StoredFiles)
                and isinstance(stored, str)
                and not value.get("bytes")
            ):
                try:
                    return self._copied(stored, self.table.source.path(stored))
                except AudioError:
                    return dict(value)
            return {key: self._plain(item) for key, item in value.items()}
        return [self._plain(item) for item in value] if isinstance(value, list) else value

    def _copied(self, name: str, path: str) -> str:
        """Copy a file and return its path below the folder."""
        if path not in self.written:
            given = Path(name).name
            place = f"{AUDIO_FOLDER}/{given}"
            if place in self.written.values():
                place = f"{AUDIO_FOLDER}/{len(self.written)}_{given}"
            target = self.folder / place
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(os.path.realpath(path), target)
            self.written[path] = place
        return self.written[path]
