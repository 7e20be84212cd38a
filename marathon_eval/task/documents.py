"""Loads a task's documents: selects rows, runs the row steps, finds the audio, and keeps the error of a bad row."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, overload

from marathon_eval.api.audio import Audio
from marathon_eval.api.doc import Doc, DocSet
from marathon_eval.api.task_functions import task_function
from marathon_eval.errors import AudioError, MarathonError, RowError
from marathon_eval.task.data.audio_cells import returned_audio, with_cells
from marathon_eval.task.data.dataset_function import processed_rows
from marathon_eval.task.data.line_rows import LineRows
from marathon_eval.task.data.references import audio_rule, reference_of
from marathon_eval.task.data.row_steps import steps_named
from marathon_eval.task.data.rows import TableReader, columns_of
from marathon_eval.task.data.selection import (
    ANY_LENGTH,
    Row,
    RowLengths,
    Selected,
    only,
    picked,
    select,
    subset_named,
)
from marathon_eval.task.data.sources import EmbeddedAudio, StoredFiles, inside, locate
from marathon_eval.task.data.table import Table
from marathon_eval.task.examples import Examples
from marathon_eval.task.prompt.choices import Choices, refuse_words_for_columns
from marathon_eval.task.prompt.prompt import OURS, Question
from marathon_eval.task.prompt.template import FromRow, RowFunction, check_names
from marathon_eval.task.yaml.config import TaskConfig
from marathon_eval.task.yaml.loader import Document


class DocsOfRows(Sequence[Doc]):
    """Makes documents of rows when they are read, so that few are in memory at the same time; a slice is a list."""

    #: Documents that are made at once.
    AT_ONCE = 1000

    def __init__(self, rows: Sequence[Row], made: Callable[[Sequence[Row]], list[Doc]]) -> None:
        self._rows = rows
        self._made = made

    def __len__(self) -> int:
        return len(self._rows)

    def __iter__(self) -> Iterator[Doc]:
        for first in range(0, len(self), self.AT_ONCE):
            yield from self[first : first + self.AT_ONCE]

    @overload
    def __getitem__(self, index: int) -> Doc: ...
    @overload
    def __getitem__(self, index: slice) -> list[Doc]: ...
    def __getitem__(self, index: int | slice) -> Doc | list[Doc]:
        if isinstance(index, slice):
            return self._made(self._rows[index])
        return self._made([self._rows[index]])[0]


class _Finished(NamedTuple):
    """Holds a row's number and its fields after the row steps, or the error that ended them."""

    number: int
    fields: Mapping[str, Any]
    error: str | None = None


class _Read(NamedTuple):
    """Holds a finished row with what was read of it: options, target, and the names and references of its clips.

    A document is made of them once the clips' files are fetched.
    """

    row: _Finished
    choices: tuple[str, ...]
    target: str | tuple[str, ...] | None
    names: tuple[str, ...]
    references: list[tuple[str, float, float | None]]


class DocLoader:
    """Builds a task's documents: `_finished` runs the row steps, then `_completed` reads target and audio.

    Filters read `choices`; these may exist even if the question has no options.
    """

    def __init__(self, config: TaskConfig, document: Document, question: Question, choices: Choices) -> None:
        self.config = config
        self.question = question
        self.choices = choices
        self.where = document.where("dataset_path")
        self.rows_function = task_function(config.process_docs)
        at = document.where("process_docs")
        self.steps = steps_named(
            config.process_docs, at, lambda name: document.own_code("row_step", name, at)
        )
        self.examples = Examples(config, document, question) if config.num_fewshot else None
        names = config.doc_to_audio or []
        where = f"{document.where('doc_to_audio')}: doc_to_audio"
        listed = names if isinstance(names, list) else [names]
        self.audio = [audio_rule(name, where) for name in listed]

    def load(
        self,
        reader: TableReader,
        subset: str | None,
        limit: float | None,
        samples: Sequence[int] | None,
        lengths: RowLengths = ANY_LENGTH,
        sounds_needed: bool = True,
    ) -> DocSet:
        """Return the documents of the evaluated split. Raises MarathonError if the dataset cannot be used.

        With bounds on the seconds of audio (`lengths` or the task's own), the audio of all selected rows is fetched.
        """
        table = replace(reader.read(reader.test_split()), sounds_needed=sounds_needed)
        if self.rows_function is not None:
            table = replace(table, rows=processed_rows(self.rows_function, table.rows, self.where))
        table = replace(table, rows=only(table.rows, self.config.only_rows, self.where))
        columns = columns_of(table.rows)
        if not columns:
            raise MarathonError(f"{self.where}: {table.label} holds no rows with named columns")
        selected = self._selected(table, subset)
        own = RowLengths(self.config.min_seconds, self.config.max_seconds)
        n_length, n_filtered = 0, selected.n_filtered
        if own == lengths == ANY_LENGTH:
            docs = self._docs(picked(selected.rows, limit, samples, self.where), table, columns)
        else:
            every = self._docs(selected.rows, table, columns)
            of_task = own.within(every)
            docs = lengths.within(of_task)
            n_length, n_filtered = len(of_task) - len(docs), n_filtered + len(every) - len(docs)
            docs = picked(docs, limit, samples, self.where)
        return DocSet(
            docs=docs if self.examples is None else self.examples.added(docs, reader, table, self._clips),
            n_meta=len(table.rows),
            n_missing=selected.n_missing,
            n_filtered=n_filtered,
            source=table.label,
            subset=selected.subset,
            metadata_sha256=table.sha256,
            version=_version(self.config.expected_sha256, table.sha256),
            n_length=n_length,
        )

    def _docs(self, rows: Sequence[Row], table: Table, columns: set[str]) -> Sequence[Doc]:
        """Return these rows as documents with target and audio, after fetching the audio files.

        Documents of a long file are built on each read. Raises MarathonError for a name of the task that no row has.
        """
        if isinstance(rows, LineRows):
            named = set(columns)
            for row in rows if self.steps else ():
                named.update(self._finished(row, table).fields)
            self._check_columns(named)
            self._check_options(named, (self._finished(row, table).fields for row in rows))
            return DocsOfRows(
                rows, lambda part: self._completed([self._finished(row, table) for row in part], part, table)
            )
        finished = [self._finished(row, table) for row in rows]
        named = columns.union(*(row.fields for row in finished))
        self._check_columns(named)
        self._check_options(named, (row.fields for row in finished))
        return self._completed(finished, rows, table)

    def _completed(self, finished: Sequence[_Finished], rows: Sequence[Row], table: Table) -> list[Doc]:
        """Return the documents of these rows, which are finished, with target and audio, after fetching the audio files."""
        parts = [self._read(one, row.folder, table) for one, row in zip(finished, rows, strict=True)]
        if table.source is not None and table.sounds_needed:
            read = [part for part in parts if not isinstance(part, Doc)]
            table.source.fetch([name for part in read for name in part.names if name not in table.embedded])
        return [part if isinstance(part, Doc) else _with_files(part, table) for part in parts]

    def _selected(self, table: Table, subset: str | None) -> Selected:
        return select(
            table.rows,
            subset_named(self.config, subset, self.where),
            lambda row: " ".join(self._audio_texts(row, table)),
            (lambda row: self._dropped_missing(row, table)) if self._may_drop(table) else None,
        )

    def _may_drop(self, table: Table) -> bool:
        """Return whether the task lets rows be dropped whose audio is missing."""
        drops = self.config.on_missing_audio == "drop" or bool(self.config.known_missing)
        return drops and table.source is not None and table.sounds_needed

    def _audio_texts(self, row: Row, table: Table) -> list[str]:
        """Return the audio's names as written in the row, or none if they cannot be read."""
        try:
            return [reference_of(value)[0] for value in self._audio_values(row.values, table)]
        except RowError:
            return []

    def _dropped_missing(self, row: Row, table: Table) -> bool:
        """Return whether to drop a row because its audio is missing.

        Any missing audio counts with `on_missing_audio: drop`, otherwise only audio that matches `known_missing`.
        """
        patterns = ["*"] if self.config.on_missing_audio == "drop" else self.config.known_missing
        source = table.source
        if source is None or not patterns:
            return False
        suspects = [
            n for n in self._audio_texts(row, table) if any(fnmatchcase(n, pattern) for pattern in patterns)
        ]
        try:
            return any(locate(source, row.folder, name) is None for name in suspects)
        except AudioError:
            return False

    def _finished(self, row: Row, table: Table) -> _Finished:
        """Run the row steps on a row."""
        if not isinstance(row.values, dict):
            return _Finished(
                row.number, {}, f"row {row.number}: is {type(row.values).__name__}, not an object"
            )
        try:
            fields: Mapping[str, Any] = row.values
            for step in self.steps:
                fields = step(fields, table.source)
        except RowError as error:
            return _Finished(row.number, row.values, f"row {row.number}: {error}")
        return _Finished(row.number, fields)

    def _check_columns(self, known: set[str]) -> None:
        """Raise MarathonError for names that no row has: the task is wrong then, not the rows."""
        ours = known | (OURS if self.question.choices.given else frozenset())
        for rule in (*self.question.rules(), self.choices, *self.audio):
            check_names(rule, ours)

    def _check_options(self, known: set[str], rows: Iterable[Mapping[str, Any]]) -> None:
        """Raise MarathonError for options that are the names of columns."""
        refuse_words_for_columns(self.choices, known, self.question.shown, rows)

    def _read(self, row: _Finished, folder: str, table: Table) -> _Read | Doc:
        """Read a row's options, target and audio; return a document with its error if that fails."""
        number, fields, before = row
        if before is not None:
            return Doc(number, fields, error=before)
        try:
            references = [reference_of(value) for value in self._audio_values(fields, table)]
            self._check_audio(references)
            choices = self.choices.texts(fields)
            target = self._gold(fields)
            names = tuple(_located(table, folder, path) for path, _, _ in references)
        except RowError as error:
            return Doc(number, fields, error=f"row {number}: {error}")
        return _Read(row, choices, target, names, references)

    def _clips(self, fields: Mapping[str, Any], folder: str, table: Table) -> tuple[Audio, ...]:
        """Return the clips of a few-shot example, whose files are fetched. Raises RowError."""
        references = [reference_of(value) for value in self._audio_values(fields, table)]
        self._check_audio(references)
        names = [_located(table, folder, path) for path, _, _ in references]
        if table.source is not None:
            table.source.fetch([name for name in names if name not in table.embedded])
        return _clips_of(names, references, table)

    def _gold(self, fields: Mapping[str, Any]) -> str | tuple[str, ...] | None:
        """Return the right answer, None for a split without gold answers. Raises RowError.

        Returns "" for a row without a gold answer if the task's judge needs no reference.
        """
        if self.config.gold_is == "absent":
            return None
        grading = self.config.judge.grade if self.config.judge else None
        try:
            return self.question.gold(fields)
        except RowError:
            if grading is None or grading.reference == "required":
                raise
            return ""

    def _audio_values(self, fields: Any, table: Table) -> list[Any]:
        """Return the values of the doc_to_audio rules, with lists flattened."""
        if not isinstance(fields, Mapping):
            return []
        values: list[Any] = []
        optional = self.config.audio_optional
        for rule in self.audio:
            if optional and any(fields.get(name) is None for name in rule.names):
                continue
            value = _audio_of(rule, fields, table)
            values += value if isinstance(value, list) else [value]
        return [value for value in values if value is not None and value != ""] if optional else values

    def _check_audio(self, references: Sequence[object]) -> None:
        """Raise RowError for a row without audio, unless the task says that audio is optional."""
        if self.audio and not references and not self.config.audio_optional:
            raise RowError(
                f"{self.audio[0].where}: gives no audio; `audio_optional: true` lets rows be asked without"
            )


def _audio_of(rule: FromRow, fields: Mapping[str, Any], table: Table) -> Any:
    """Return the audio that a rule gives for a row; a function of the task's own gets the audio of `table` as cells."""
    if not isinstance(rule, RowFunction):
        return rule.value(fields)
    cells = with_cells(fields, table.embedded)
    return returned_audio(rule.value(cells), cells, table.embedded, rule.where)


def _version(expected: str | dict[str, str] | None, sha256: str | None) -> str | None:
    """Return the release whose metadata file has this hash, else "unknown"; None if the task names no releases."""
    if not isinstance(expected, dict) or not expected:
        return None
    return next((name for name, digits in expected.items() if digits.lower() == sha256), "unknown")


def _located(table: Table, folder: str, path: str) -> str:
    """Return the audio's name relative to the dataset's root. Raises AudioError."""
    source = table.source
    if source is None or isinstance(path, EmbeddedAudio):
        return str(path)
    if isinstance(source, StoredFiles):
        return source.path(path)
    if (name := locate(source, folder, path)) is not None:
        return name
    if not table.sounds_needed:
        return inside(posixpath.join(folder, path))
    raise AudioError(f"{path}: no such audio file in {source.label}, nor below wav/ there")


def _with_files(read: _Read, table: Table) -> Doc:
    """Return the document with the paths of its audio on this machine, or with the error that prevents it."""
    number, fields, _ = read.row
    try:
        audio = _clips_of(read.names, read.references, table)
    except AudioError as error:
        return Doc(number, fields, error=f"row {number}: {error}")
    return Doc(number, fields, audio, None, read.choices, read.target, read.names)


def _clips_of(
    names: Sequence[str], references: Sequence[tuple[str, float, float | None]], table: Table
) -> tuple[Audio, ...]:
    """Return the clips of these names, whose files are fetched, with the stretches of `references`. Raises AudioError."""
    source, embedded = table.source, table.embedded
    return tuple(
        Audio(name if source is None else embedded.get(name) or source.path(name), start, stop)
        for name, (_, start, stop) in zip(names, references, strict=True)
    )
