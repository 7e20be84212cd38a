"""Reads rows from json, jsonl, csv and parquet files, from file names, or through `datasets`."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import posixpath
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from marathon_eval.errors import AudioError, MarathonError, unknown
from marathon_eval.task.data.selection import Row
from marathon_eval.task.data.sources import LocalFolder, Source, allowed_path, match_tree, names_folder
from marathon_eval.task.data.table import BUILDERS, FORMATS, Table
from marathon_eval.task.yaml.config import TaskConfig

FILE_TREE = "file_tree"
#: Limits against decompression bombs: a table is refused if it unpacks to more than both these bytes and this
#: multiple of its file's size, or if it has more rows.
UNPACKED_BYTES, UNPACKED_TIMES, MAX_ROWS = 256 << 20, 100, 1_000_000
#: Rows of parquet that are read at a time; few, since a row may contain a whole clip.
BATCH_ROWS = 64


class TableReader:
    """Reads the splits of one task's dataset. `where` is the `file:line` of dataset_path, for error messages."""

    def __init__(self, config: TaskConfig, data_dir: str | None, yaml_folder: Path, where: str) -> None:
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
        if self.kwargs.file_tree is not None:
            return self._tree(self.kwargs.file_tree)
        path = self.config.dataset_path
        if self.kwargs.data_files is not None and path not in BUILDERS:
            return self._files(self._names_of(split))
        if path in (*FORMATS, FILE_TREE):
            raise MarathonError(f"{self.where}: '{path}' needs dataset_kwargs: data_files")
        from marathon_eval.task.data.hub_rows import load_split

        names = [] if self.kwargs.data_files is None else self._names_of(split)
        return load_split(self.config, split, self.where, self.folders(), names)

    def folders(self) -> list[Path]:
        """Return the folders that a YAML may read from: --data_dir, the YAML's own and the current one, in this order."""
        return [folder for folder in (self.data_dir, self.yaml_folder, Path.cwd()) if folder is not None]

    def _tree(self, patterns: Sequence[str]) -> Table:
        source = self._source("")
        matches = match_tree(source, patterns, self.where)
        rows = [Row(number, "", values) for number, values in enumerate(matches)]
        return Table(rows, source, source.label, _sha256(json.dumps(matches).encode()))

    def _files(self, names: Sequence[str]) -> Table:
        source = self._source(names[0])
        digest = hashlib.sha256()
        rows: list[Row] = []
        for name in names:
            name = _below(source, name)
            content = self._content(source, name)
            digest.update(content)
            parsed = parsed_rows(content, self._format(name), self.kwargs.field, f"{source.label}/{name}")
            folder = posixpath.dirname(name)
            rows += [Row(len(rows) + offset, folder, values) for offset, values in enumerate(parsed)]
        self._check_sha256(digest.hexdigest(), names)
        return Table(rows, source, source.label, digest.hexdigest())

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

    def _content(self, source: Source, name: str) -> bytes:
        try:
            path = Path(source.path(name))
            if not path.is_file() and path.exists() and not path.is_dir():
                raise AudioError("not a regular file")  # reading a pipe or device may never end
            return path.read_bytes()
        except (OSError, AudioError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise MarathonError(
                f"{self.where}: cannot read {name} in {source.label} ({reason}); set --data_dir to its folder"
            ) from None

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


def parsed_rows(content: bytes, form: str, field: str | None, name: str) -> list[Any]:
    """Parse the rows in a file's bytes. Raises MarathonError naming the file and, for text formats, the line."""
    if form == "parquet":
        return _parquet(content, name)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise MarathonError(f"{name}: not readable as text ({error.reason})") from None
    if form == "csv":
        return _csv(text, name)
    return _json_lines(text, name) if form == "jsonl" else _json(text, field, name)


def _json(text: str, field: str | None, name: str) -> list[Any]:
    """Parse a list of rows, or the list under `field`; like `datasets`, also accept one object per line."""
    try:
        loaded = json.loads(text)
    except (ValueError, RecursionError) as error:
        if _is_json(text.strip().partition("\n")[0]):
            return _json_lines(text, name)
        raise MarathonError(f"{name}: not readable as JSON ({error})") from None
    if field is not None and isinstance(loaded, dict):
        if field not in loaded:
            raise unknown(name, "key", field, loaded)
        loaded = loaded[field]
    if not isinstance(loaded, list):
        what = (
            f"an object with {', '.join(list(loaded)[:5])}" if isinstance(loaded, dict) else repr(loaded)[:40]
        )
        raise MarathonError(f"{name}: must be a list of rows, but is {what}")
    return loaded


def _is_json(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _csv(text: str, name: str) -> list[Any]:
    reader = csv.DictReader(io.StringIO(text, newline=""), restkey="", strict=True)
    rows: list[Any] = []
    try:
        for row in reader:
            if "" in row:
                raise MarathonError(f"{name}:{reader.line_num}: has more cells than the header")
            rows.append(row)
    except csv.Error as error:
        raise MarathonError(f"{name}:{reader.line_num}: not readable as CSV ({error})") from None
    return rows


def _json_lines(text: str, name: str) -> list[Any]:
    rows = []
    # not str.splitlines, which also splits at characters that may occur in a JSON string
    for number, line in enumerate(re.split("\r\n|\r|\n", text), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except (ValueError, RecursionError) as error:
                raise MarathonError(f"{name}:{number}: not readable as JSON ({error})") from None
    return rows


def _parquet(content: bytes, name: str) -> list[Any]:
    import pyarrow  # type: ignore[import-untyped]  # ships no stubs
    import pyarrow.parquet  # type: ignore[import-untyped]  # ships no stubs

    most = max(UNPACKED_BYTES, UNPACKED_TIMES * len(content))
    rows: list[Any] = []
    unpacked = 0
    try:
        for batch in pyarrow.parquet.ParquetFile(io.BytesIO(content)).iter_batches(batch_size=BATCH_ROWS):
            unpacked += batch.nbytes
            if unpacked > most or len(rows) > MAX_ROWS:
                raise MarathonError(
                    f"{name}: unpacks to more than the limit of {most} bytes or {MAX_ROWS} rows"
                )
            rows += batch.to_pylist()
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError) as error:  # all three mean damaged bytes
        raise MarathonError(f"{name}: not readable as parquet ({error})") from None
    return rows


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
