"""Reads rows from json, jsonl, csv, tsv and parquet files, from file names, or through `datasets`."""

from __future__ import annotations

import hashlib
import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from marathon_eval.api.compressed_lines import CompressedLines
from marathon_eval.api.task_functions import TAG
from marathon_eval.errors import AudioError, MarathonError, unknown
from marathon_eval.task.data.archives import ArchivedFiles
from marathon_eval.task.data.arguments import csv_layout, delimiter_of, ignored_arguments
from marathon_eval.task.data.embedded import AudioFolder
from marathon_eval.task.data.line_rows import LONG_FILE, LineRows, checked_lines
from marathon_eval.task.data.parquet import parquet_rows
from marathon_eval.task.data.parsing import parsed_rows
from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import (
    LocalFolder,
    SeveralFolders,
    Source,
    allowed_path,
    match_tree,
    names_folder,
)
from marathon_eval.task.data.table import BUILDERS, FORMATS, Table
from marathon_eval.task.yaml.config import TaskConfig

if TYPE_CHECKING:
    from marathon_eval.task.data.hub_columns import NeededColumns

FILE_TREE = "file_tree"


class TableReader:
    """Reads the splits of one task's dataset. `where` is the `file:line` of dataset_path, for error messages."""

    def __init__(
        self,
        config: TaskConfig,
        data_dir: str | None,
        yaml_folder: Path,
        where: str,
        every_column: bool = False,
    ) -> None:
        self.every_column = every_column
        self.config = config
        self.kwargs = config.dataset_kwargs
        self.where = where
        self.data_dir = None if data_dir is None else _existing(Path(data_dir))
        self.yaml_folder = yaml_folder

    def test_split(self) -> str:
        """Return the split to evaluate: test_split, else, as in lm-eval, validation_split, else "test"."""
        return self.config.test_split or self.config.validation_split or "test"

    def fewshot_split(self) -> str:
        """Return the split that few-shot examples come from."""
        config = self.config
        splits = (
            config.fewshot_config.split,
            config.fewshot_split,
            config.training_split,
            config.validation_split,
        )
        return next((split for split in splits if split), self.test_split())

    def read(self, split: str) -> Table:
        """Read every row of a split. Raises MarathonError naming the file or the dataset."""
        self._refuse_part(split)
        if self.kwargs.file_tree is not None:
            return self._tree(self.kwargs.file_tree)
        path = self.config.dataset_path
        if self.kwargs.data_files is not None and path not in BUILDERS:
            return self._files(self._names_of(split))
        if path in (*FORMATS, FILE_TREE):
            raise MarathonError(f"{self.where}: '{path}' needs dataset_kwargs: data_files")
        if self.kwargs.archives:
            raise MarathonError(f"{self.where}: archives: need data_files, the files with the rows")
        from marathon_eval.task.data.hub_rows import load_split

        names = [] if self.kwargs.data_files is None else self._names_of(split)
        table = load_split(self.config, split, self.where, self.folders(), self._wanted, names)
        if table.sha256 is not None:
            self._check_sha256(table.sha256, names or [path])
        return table

    def _refuse_part(self, split: str) -> None:
        """Raise MarathonError for a part of a split, or several, which `datasets` could read and data files cannot."""
        files = self.kwargs.data_files
        if self.config.dataset_path in BUILDERS or (files is None and self.kwargs.file_tree is None):
            return
        if not set("[]+") & set(split) or (isinstance(files, dict) and split in files):
            return
        raise MarathonError(
            f"{self.where}: the split '{split}' is a part of one or several, and data files are read whole: name one "
            "split; only_rows, --limit or --samples select rows"
        )

    def _wanted(self, column: str) -> bool:
        """Return whether the YAML mentions a column anywhere, so that also its bytes are read.

        A function may read any column.
        """
        return (
            self.every_column
            or TAG in self._mentioned
            or re.search(rf"(?<!\w){re.escape(column)}(?!\w)", self._mentioned) is not None
        )

    @cached_property
    def _mentioned(self) -> str:
        return repr(self.config.model_dump(exclude={"dataset_path", "dataset_kwargs", "metadata"}))

    def folders(self) -> list[Path]:
        """Return the folders that a YAML may read from: --data_dir, the YAML's own and the current one, in this order."""
        return [folder for folder in (self.data_dir, self.yaml_folder, Path.cwd()) if folder is not None]

    def local_files(self) -> list[Path]:
        """Return the files of the evaluated split that a run reads without the hub, those of a file tree too.

        Empty where they are on the hub or missing, and for datasets that `datasets` reads. Raises MarathonError for a
        split that data_files does not name.
        """
        path, tree = self.config.dataset_path, self.kwargs.file_tree
        local = path in (*FORMATS, FILE_TREE) or self.data_dir is not None or names_folder(path)
        if not local or path in BUILDERS or (tree is None and self.kwargs.data_files is None):
            return []
        names = [] if tree is not None else self._names_of(self.test_split())
        try:
            source = self._source(names[0] if names else "")
            if tree is not None:
                found = [row["path"] for row in match_tree(source, tree, self.where)]
            else:
                found = [_below(source, name) for name in self._matched(source, names)]
            files = [Path(source.path(name)) for name in found]
        except (
            MarathonError,
            AudioError,
        ):  # no file fits: the data is elsewhere, or a run says what is wrong
            return []
        return files if all(file.is_file() for file in files) else []

    def _tree(self, patterns: Sequence[str]) -> Table:
        source = self._source("")
        matches = match_tree(source, patterns, self.where)
        rows = [Row(number, "", values) for number, values in enumerate(matches)]
        return Table(rows, source, source.label, _sha256(json.dumps(matches).encode()))

    def _files(self, names: Sequence[str]) -> Table:
        names = self._matched(source := self._source(names[0]), names)
        for _, reason in ignored_arguments(self.config.dataset_path, self.kwargs.model_dump(), names):
            raise MarathonError(f"{self.where}: dataset_kwargs: {reason}")
        digest, audio = hashlib.sha256(), AudioFolder()
        rows: list[Row] = []
        table: Sequence[Row] = rows
        for name in names:
            name = _below(source, name)
            parsed = self._parsed(source, name, digest, audio)
            folder = posixpath.dirname(name)
            if isinstance(parsed, CompressedLines) and len(names) == 1:
                table = LineRows(parsed, folder)
                continue
            values = map(json.loads, parsed) if isinstance(parsed, CompressedLines) else parsed
            rows += [Row(len(rows) + offset, folder, value) for offset, value in enumerate(values)]
        self._check_sha256(digest.hexdigest(), names)
        return Table(table, self._sounds(source), source.label, digest.hexdigest(), audio.paths)

    def _parsed(
        self, source: Source, name: str, digest: Digest, audio: AudioFolder
    ) -> list[Any] | CompressedLines:
        """Return the rows of one file, and add its bytes to the digest, or the hash that a hub has of them.

        Rows of a long file of JSON lines are returned as these lines.
        """
        form, label = self._format(name), f"{source.label}/{name}"
        part = self._part(source, name) if form == "parquet" else None
        if part is not None:
            digest.update(part.sha256.encode())
            return parquet_rows(part.path, part.path.stat().st_size, label, self._wanted, audio)
        path = self._path(source, name)
        try:
            long_lines = form == "jsonl" and path.stat().st_size > LONG_FILE
            if form != "parquet" and not long_lines:
                content = path.read_bytes()
                digest.update(content)
                return self._parsed_content(content, form, label)
            with path.open("rb") as file:  # not read at once: it may hold hours of audio, or a million rows
                while block := file.read(1 << 20):
                    digest.update(block)
            if long_lines:
                return checked_lines(path, label)
        except OSError as error:
            raise self._unread(source, name, error.strerror) from None
        return parquet_rows(path, path.stat().st_size, label, self._wanted, audio)

    def _parsed_content(self, content: bytes, form: str, label: str) -> list[Any]:
        given, encoding = self.kwargs.model_dump(), self.kwargs.encoding
        delimiter, layout = delimiter_of(given, self._argument), csv_layout(given, self._argument)
        return parsed_rows(content, form, self.kwargs.field, label, delimiter, encoding, layout)

    def _argument(self, name: str) -> str:
        """Return the start of an error about an argument; keys.py has told those of a YAML with their own lines."""
        return f"{self.where}: dataset_kwargs"

    def _part(self, source: Source, name: str) -> NeededColumns | None:
        """Return the needed columns of a hub's file, None where the whole file is read."""
        from marathon_eval.task.data.hub import HubRepo

        if not isinstance(source, HubRepo) or isinstance(self.config.expected_sha256, str):
            return None
        from marathon_eval.task.data.hub_columns import needed_columns

        return needed_columns(source, name, self._wanted)

    def _matched(self, source: Source, names: Sequence[str]) -> list[str]:
        """Return the names with each pattern (`data/test-*.parquet`) replaced by the files that match it, sorted."""
        found: list[str] = []
        for name in names:
            if not set("*?[") & set(name):
                found.append(name)
                continue
            folder = posixpath.dirname(re.split(r"[*?\[]", name)[0])
            matches = sorted(one for one in source.names(folder) if fnmatchcase(one, name))
            if not matches:
                raise MarathonError(f"{self.where}: data_files: {source.label} holds no file like {name}")
            found += matches
        return found

    def _sounds(self, source: Source) -> Source:
        """Return where the rows' audio is: below --data_dir, then beside the rows, then in the archives."""
        sounds = source
        if self.data_dir is not None and isinstance(source, LocalFolder) and source.root != self.data_dir:
            sounds = SeveralFolders([LocalFolder(self.data_dir), source])
        archives = self.kwargs.archives
        return ArchivedFiles(sounds, archives, self.where) if archives else sounds

    def _source(self, first: str) -> Source:
        """Return --data_dir, else the hub repository; for a user's own files the YAML's or the current folder."""
        path = self.config.dataset_path
        if path not in (*FORMATS, FILE_TREE):
            if self.data_dir is not None:
                return LocalFolder(self.data_dir)
            if names_folder(path):
                return LocalFolder(allowed_path(path, self.folders(), f"{self.where}: dataset_path"))
            from marathon_eval.task.data.hub import HubRepo

            return HubRepo(path, self.kwargs.revision, self.where)
        if Path(first).is_absolute():
            return LocalFolder(Path(first).parent)
        folders = self.folders()
        return LocalFolder(next((folder for folder in folders if (folder / first).exists()), folders[0]))

    def _path(self, source: Source, name: str) -> Path:
        try:
            path = Path(source.path(name))
        except AudioError as error:
            raise self._unread(source, name, str(error)) from None
        if not path.is_file() and path.exists() and not path.is_dir():
            raise self._unread(source, name, "not a regular file")  # reading a pipe or device may never end
        return path

    def _unread(self, source: Source, name: str, reason: str | None) -> MarathonError:
        return MarathonError(
            f"{self.where}: cannot read {name} in {source.label} ({reason}); set --data_dir to its folder"
        )

    def _names_of(self, split: str) -> list[str]:
        files = self.kwargs.data_files
        if isinstance(files, dict):
            if split not in files:
                raise unknown(self.where, "split", split, files)
            files = files[split]
        names = [files] if isinstance(files, str) else list(files or ())
        if not names:
            raise MarathonError(f"{self.where}: data_files: lists no file")
        for name in names:
            if Path(name).is_absolute():
                allowed_path(name, self.folders(), f"{self.where}: data_files")
        return names

    def _format(self, name: str) -> str:
        suffix = posixpath.splitext(name)[1].lstrip(".").lower()
        form = suffix if suffix in FORMATS else self.config.dataset_path
        if form not in FORMATS:
            raise MarathonError(f"{self.where}: {name}: the format must be one of {', '.join(FORMATS)}")
        return form

    def _check_sha256(self, sha256: str, names: Sequence[str]) -> None:
        expected = self.config.expected_sha256
        if isinstance(expected, str) and sha256 != expected.lower():
            raise MarathonError(
                f"{self.where}: {', '.join(names)} has sha256 {sha256}, but the task expects {expected}"
            )


class Digest(Protocol):
    """Describes a hash that takes bytes, as hashlib's do."""

    def update(self, content: bytes, /) -> None: ...


def columns_of(rows: Iterable[Row]) -> set[str]:
    """Return every column that any row has."""
    columns: set[str] = set()
    for row in rows:
        if isinstance(row.values, dict):
            columns.update(row.values)
    return columns


def _below(source: Source, name: str) -> str:
    return Path(name).name if isinstance(source, LocalFolder) and Path(name).is_absolute() else name


def _existing(folder: Path) -> Path:
    if not folder.is_dir():
        raise MarathonError(f"--data_dir: {folder}: no such folder")
    return folder


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
