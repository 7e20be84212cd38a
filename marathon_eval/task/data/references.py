"""Reads a row's references to audio: a path, maybe with start and stop, each from its own column."""

from __future__ import annotations

import math
import re
import reprlib
from collections.abc import Mapping, Sequence
from typing import Any

from marathon_eval.errors import RowError, did_you_mean
from marathon_eval.task.data.embedded import CONTENT, SAMPLES
from marathon_eval.task.prompt.template import FromRow, from_row
from marathon_eval.task.yaml.data_config import AudioColumns

#: Seconds that `start` and `stop` may not reach: no clip is so long, and sample numbers stay within a float.
MAX_TIME = 1e9
_DECIMAL_COMMA = re.compile(r"\s*[+-]?\d+,\d*\s*")


class StretchRule:
    """Joins path, start and stop from three columns or templates. An empty start is 0, an empty stop the end."""

    def __init__(self, columns: AudioColumns, where: str) -> None:
        self.where = where
        self.path = from_row(columns.path, f"{where}: path")
        self.times = {
            key: from_row(source, f"{where}: {key}")
            for key, source in (("start", columns.start), ("stop", columns.stop))
            if source is not None
        }
        self.names = self.path.names.union(*(rule.names for rule in self.times.values()))

    def value(self, values: Mapping[str, Any]) -> Any:
        """Return the row's audio with its stretch. Raises RowError for a time that is no number of seconds."""
        path = self.path.value(values)
        stretch = {key: self._seconds(rule, values) for key, rule in self.times.items()}
        if isinstance(path, list):
            return [{"path": self._path_of(item), **stretch} for item in path]
        return {"path": self._path_of(path), **stretch}

    def _path_of(self, value: Any) -> Any:
        """Return the path of a cell that is `{bytes, path}` without bytes; other values as they are. Raises RowError."""
        if not isinstance(value, Mapping):
            return value
        _refuse_others(value, (*CONTENT, *(key for key in ("start", "stop") if key not in self.times)))
        return value.get("path")

    def _seconds(self, rule: FromRow, values: Mapping[str, Any]) -> float | None:
        missing = [name for name in rule.names if name in values and values[name] in (None, "")]
        raw = None if missing else rule.value(values)
        try:
            seconds = None if raw in (None, "") else float(raw)
        except (TypeError, ValueError, OverflowError):
            seconds = math.nan
        if seconds is not None and not abs(seconds) < MAX_TIME:
            raise RowError(
                f"{rule.where}: must be a number of seconds, got {reprlib.repr(raw)}{_comma_hint(rule, raw)}"
            )
        return seconds


def _comma_hint(rule: FromRow, raw: Any) -> str:
    """Return what to write for a number with a decimal comma; empty for anything else."""
    if not isinstance(raw, str) or not _DECIMAL_COMMA.fullmatch(raw):
        return ""
    column = next(iter(rule.names), "COLUMN") if len(rule.names) == 1 else "COLUMN"
    return f"""; for a decimal comma write "{{{{ {column} | replace(',', '.') }}}}" in place of the column"""


def audio_rule(source: str | AudioColumns, where: str) -> FromRow:
    """Return the rule of one entry of doc_to_audio. Raises MarathonError for a broken template."""
    return from_row(source, where) if isinstance(source, str) else StretchRule(source, where)


def reference_of(value: Any) -> tuple[str, float, float | None]:
    """Return path, start and stop of an audio value: a path, or a mapping with `path`, maybe `start` and `stop`.

    Raises RowError for any other value.
    """
    if isinstance(value, str):
        return value, 0.0, None
    if isinstance(value, Mapping) and value.get("array") is not None:
        raise RowError(
            f"audio must be a path or, in a parquet or arrow table, samples whose array must be {SAMPLES}; got {reprlib.repr(value)}"
        )
    if isinstance(value, Mapping) and isinstance(value.get("path"), str):
        _refuse_others(value, (*CONTENT, "start", "stop"))
        start, stop = value.get("start") or 0.0, value.get("stop")
        if _is_time(start) and (stop is None or _is_time(stop)):
            return value["path"], float(start), None if stop is None else float(stop)
    raise RowError(f"audio must be a path, or path, start and stop in seconds, got {reprlib.repr(value)}")


def _refuse_others(value: Mapping[str, Any], allowed: Sequence[str]) -> None:
    """Raise RowError where a cell of audio has a value under another key: it could be meant as a bound of the stretch."""
    for key in value:
        if key not in allowed and value[key] is not None:
            raise RowError(
                f"audio has the key '{key}', and its keys are {', '.join(allowed)}.{did_you_mean(str(key), allowed)}"
            )


def _is_time(value: Any) -> bool:
    """Return whether a value is a number of seconds: finite, as 1e400 in JSON is not, and within a float."""
    return isinstance(value, (int, float)) and abs(value) < MAX_TIME
