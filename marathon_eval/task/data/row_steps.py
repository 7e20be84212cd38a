"""Defines the row steps that `process_docs` may name; each takes one row and returns it with added columns."""

from __future__ import annotations

import json
import posixpath
import re
import reprlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from marathon_eval.api.own_code import OwnCode
from marathon_eval.api.task_functions import task_function
from marathon_eval.errors import MarathonError, RowError, did_you_mean, unknown
from marathon_eval.task.data.sources import Source
from marathon_eval.task.data.table import FORMATS
from marathon_eval.task.yaml.data_config import Join, RowStepConfig

Fields = Mapping[str, Any]
RowStep = Callable[[Fields, "Source | None"], Fields]


def librispeech_transcript(fields: Fields, source: Source | None) -> Fields:
    """Add `transcript`, read from `<utterance>.txt` beside the clip, else from `<speaker>-<chapter>.trans.txt`.

    The layout is LibriSpeech's (https://www.openslr.org/12). Whole ids are compared, so that 1-2-1 never gets the
    line of 1-2-10. Raises RowError if neither file has a text.
    """
    name = str(fields.get("path", ""))
    folder, base = posixpath.split(name)
    utterance = posixpath.splitext(base)[0]
    single = posixpath.join(folder, f"{utterance}.txt")
    chapter = posixpath.join(folder, f"{utterance.rpartition('-')[0]}.trans.txt")
    if source is not None and source.exists(single):
        text = _read(source, single).strip()
        # some releases repeat the id at the start of the line
        return {**fields, "transcript": _filled(text.removeprefix(f"{utterance} "), single)}
    if source is not None and source.exists(chapter):
        for line in _read(source, chapter).splitlines():
            identity, _, text = line.partition(" ")
            if identity == utterance:
                return {**fields, "transcript": _filled(text.strip(), chapter)}
    raise RowError(f"{name}: no transcript in {single} or {chapter}")


def race_difficulty(fields: Fields, source: Source | None) -> Fields:
    """Add `difficulty`: the word "high" or "middle" that the audio's path contains, else "unknown".

    RACE records the difficulty in the path only. A path with both words counts as high.
    """
    path = str(fields.get("audio_path", fields.get("path", "")))
    level = "high" if "high" in path else "middle" if "middle" in path else "unknown"
    return {**fields, "difficulty": level}


class JsonFields:
    """Adds the keys of JSON objects that stand as text in columns."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.columns = columns

    def __call__(self, fields: Fields, source: Source | None) -> Fields:
        """Return the row with the keys as columns. Raises RowError for other text, and for a key that is a column."""
        added: dict[str, Any] = {}
        for column in self.columns:
            content = _present(fields, column, "json_fields")
            try:
                parsed = json.loads(content) if isinstance(content, str) else content
            except (ValueError, RecursionError) as error:
                raise RowError(f"json_fields: {column}: not readable as JSON ({error})") from None
            if not isinstance(parsed, Mapping):
                raise RowError(f"json_fields: {column}: must be a JSON object, got {reprlib.repr(parsed)}")
            added |= _without_clash({**fields, **added}, parsed, f"json_fields: {column}")
        return {**fields, **added}


class PrefixStripper:
    """Removes a prefix such as `(A) ` from texts."""

    def __init__(self, columns: Sequence[str], prefix: str) -> None:
        self.columns = columns
        parts = map(re.escape, prefix.split("{letter}"))
        self.pattern = re.compile("[A-Z]".join(parts))

    def __call__(self, fields: Fields, source: Source | None) -> Fields:
        """Return the row with the prefix removed. Raises RowError if the row lacks a column."""
        return {
            **fields,
            **{name: self._stripped(_present(fields, name, "strip_prefix")) for name in self.columns},
        }

    def _stripped(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._stripped(item) for item in value]
        if not isinstance(value, str):
            return value
        match = self.pattern.match(value)
        return value[match.end() :] if match else value


class Joiner:
    """Adds the columns of a second file's row with the same key; the file is read once for each source."""

    def __init__(self, rule: Join, where: str) -> None:
        self.rule = rule
        self.where = f"{where}: process_docs: join"
        self._rows: dict[str, Mapping[str, Fields]] = {}

    def __call__(self, fields: Fields, source: Source | None) -> Fields:
        """Return the row with the columns. Raises RowError without a match, MarathonError if the file is unusable."""
        if source is None:
            raise MarathonError(f"{self.where}: needs a dataset of files")
        if source.label not in self._rows:
            self._rows[source.label] = self._read(source)
        key = str(_present(fields, self.rule.column, "join"))
        found = self._rows[source.label].get(key)
        if found is None:
            raise RowError(f"join: {self.rule.file} has no row whose '{self._key}' is '{key}'")
        return {**fields, **_without_clash(fields, found, f"join: {self.rule.file}")}

    @property
    def _key(self) -> str:
        return self.rule.file_column or self.rule.column

    def _read(self, source: Source) -> Mapping[str, Fields]:
        from marathon_eval.task.data.parsing import parsed_rows

        form = posixpath.splitext(self.rule.file)[1].lstrip(".").lower()
        if form not in FORMATS:
            raise MarathonError(
                f"{self.where}: {self.rule.file}: the format must be one of {', '.join(FORMATS)}"
            )
        try:
            content = Path(source.path(self.rule.file)).read_bytes()
        except (OSError, RowError) as error:
            reason = error.strerror if isinstance(error, OSError) else error
            raise MarathonError(
                f"{self.where}: cannot read {self.rule.file} in {source.label} ({reason})"
            ) from None
        rows: dict[str, Fields] = {}
        for number, row in enumerate(parsed_rows(content, form, None, self.rule.file)):
            if not isinstance(row, Mapping) or row.get(self._key) is None:
                raise MarathonError(f"{self.where}: {self.rule.file}: row {number} has no '{self._key}'")
            if str(row[self._key]) in rows:
                raise MarathonError(
                    f"{self.where}: {self.rule.file}: '{self._key}' is '{row[self._key]}' in two rows"
                )
            rows[str(row[self._key])] = {name: value for name, value in row.items() if name != self._key}
        return rows


ROW_STEPS: dict[str, RowStep] = {step.__name__: step for step in (librispeech_transcript, race_difficulty)}


def row_step_names() -> list[str]:
    """Return every built-in row step that `process_docs` may name, sorted."""
    return sorted([*ROW_STEPS, *RowStepConfig.model_fields])


def row_step_factories() -> dict[str, Any]:
    """Return the function of each row step without arguments, and the settings' type of each with arguments."""
    return {**ROW_STEPS, **{name: field.annotation for name, field in RowStepConfig.model_fields.items()}}


def steps_named(
    names: str | Sequence[str | RowStepConfig] | None,
    where: str,
    own: Callable[[str], OwnCode | None] = lambda name: None,
) -> list[RowStep]:
    """Return the row steps in order; `own` finds a user's by its name.

    Raises MarathonError with the nearest name for an unknown one.
    """
    return [
        _named(step, where, own) if isinstance(step, str) else _configured(step, where)
        for step in ([names] if isinstance(names, str) else names or ())
    ]


def _named(name: str, where: str, own: Callable[[str], OwnCode | None]) -> RowStep:
    # a !function processes all rows at once (dataset_function.py), so it is no per-row step
    if task_function(name) is not None:
        return lambda fields, source: fields
    code = own(name)
    if code is not None:
        return own_step(code, where)
    if name in RowStepConfig.model_fields:
        raise MarathonError(f"{where}: process_docs: {name} needs settings: write {{{name}: ...}}")
    if name not in ROW_STEPS:
        raise unknown(
            f"{where}: process_docs", "built-in row step", name, [*ROW_STEPS, *RowStepConfig.model_fields]
        )
    return ROW_STEPS[name]


def own_step(code: OwnCode, where: str) -> RowStep:
    """Return the row step of a user's file: a function, or a callable class, of the row and maybe its source."""
    function = code.callable_with({}, 2, f"{where}: process_docs: '{code.name}'")

    def step(fields: Fields, source: Source | None) -> Fields:
        made = function(dict(fields), source)
        if not isinstance(made, Mapping):
            raise RowError(f"{code.file}: must return the row's columns, got {reprlib.repr(made)}")
        return made

    return step


def _configured(step: RowStepConfig, where: str) -> RowStep:
    chosen = [name for name in RowStepConfig.model_fields if getattr(step, name) is not None]
    if len(chosen) != 1:
        raise MarathonError(
            f"{where}: process_docs: each step has one of {', '.join(RowStepConfig.model_fields)}, got "
            f"{' and '.join(chosen) or 'none'}"
        )
    if step.json_fields is not None:
        return JsonFields(_listed(step.json_fields))
    if step.strip_prefix is not None:
        return PrefixStripper(_listed(step.strip_prefix.columns), step.strip_prefix.prefix)
    assert step.join is not None
    return Joiner(step.join, where)


def _listed(names: str | Sequence[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _present(fields: Fields, column: str, step: str) -> Any:
    if fields.get(column) is None:
        raise RowError(f"{step}: the row has no '{column}'.{did_you_mean(column, fields)}")
    return fields[column]


def _without_clash(fields: Fields, added: Fields, what: str) -> Fields:
    """Return the added columns. Raises RowError if the row has one of them with another value."""
    for name, value in added.items():
        if name in fields and fields[name] != value:
            raise RowError(
                f"{what}: '{name}' is {reprlib.repr(value)}, in the row {reprlib.repr(fields[name])}"
            )
    return added


def _filled(text: str, name: str) -> str:
    # with an empty reference, the word error rate would be the number of words in the response
    if not text:
        raise RowError(f"{name}: holds no transcript")
    return text


def _read(source: Source, name: str) -> str:
    try:
        return Path(source.path(name)).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RowError(f"{name}: not readable as text ({error})") from None
