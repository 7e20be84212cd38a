"""Checks the types in a run's files, which may come from other people, so that all verbs can rely on them.

The types are written as TypedDicts, which pydantic checks (https://docs.pydantic.dev/latest/concepts/strict_mode/). A key
that they do not name is accepted: later versions add some.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Annotated, Any, NotRequired

from annotated_types import Ge, MaxLen, MinLen
from pydantic import AfterValidator, AllowInfNan, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from marathon_eval.results.run_name import run_name_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Integers of more digits are rejected: no float can hold them.
MAX_DIGITS = 200
#: What a task may be called: its name is part of a file's name.
_TASK_NAME = re.compile(r"[^/\\\0]{1,200}")

_STRICT = ConfigDict(strict=True, extra="allow")
_Number = Annotated[float, AllowInfNan(False)]
_Count = Annotated[int, Ge(0)]
_Objects = dict[str, dict[str, Any]]


class _Metric(TypedDict):
    """One metric of one reading."""

    __pydantic_config__ = _STRICT  # type: ignore[misc]  # pydantic's way to configure a TypedDict
    value: _Number | None
    ci95: NotRequired[Annotated[list[_Number], MinLen(2), MaxLen(2)] | None]
    no_interval: NotRequired[str | None]


class _Press(TypedDict):
    press: str
    ratio: _Number


class _Fingerprint(TypedDict):
    model: str
    press: NotRequired[_Press | None]


class _Manifest(TypedDict, total=False):
    manifest_sha256: str | None


class _Headline(TypedDict):
    reading: str
    metric: str
    scale: NotRequired[_Number]


class _Selection(TypedDict, total=False):
    subset: str | None
    limit: _Number | None
    samples: dict[str, Any] | None
    seconds: Annotated[list[_Number | None], MinLen(2), MaxLen(2)] | None
    tasks: _Objects


class _Task(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]
    readings: list[str]
    n_meta: _Count
    n_loaded: _Count
    n_missing: _Count
    n_filtered: _Count
    n_scored: _Count
    n_errors: _Count
    n_unverified: NotRequired[_Count]
    n_cut: NotRequired[_Count]
    n_unanswered: dict[str, _Count]
    n_left_out: NotRequired[dict[str, _Count]]
    headline: NotRequired[_Headline | None]
    breakdown: NotRequired[dict[str, dict[str, dict[str, Any]]]]
    usage: dict[str, Any]
    metrics: NotRequired[dict[str, _Objects]]
    filters: NotRequired[dict[str, list[dict[str, Any]]]]


def _nameable(name: str) -> str:
    if run_name_fault(name) is not None:
        raise ValueError("no run can be called so")
    return name


class _Config(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]
    run_name: NotRequired[Annotated[str, AfterValidator(_nameable)] | None]


class _Results(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]
    model: str
    fingerprint: _Fingerprint
    fingerprint_sha256: str
    tasks: _Objects
    groups: dict[str, Any]
    config: _Config
    versions: dict[str, Any]
    manifests: dict[str, _Manifest]
    cache: dict[str, _Count]
    started: str
    wall_s: _Number
    interrupted: bool
    condition: NotRequired[dict[str, Any] | None]
    selection: NotRequired[_Selection | None]
    spent: NotRequired[dict[str, Any]]
    selftest: NotRequired[dict[str, Any]]


class _Clip(TypedDict):
    path: str
    sha256: NotRequired[str | None]
    start: NotRequired[_Number]
    stop: NotRequired[_Number | None]
    transform: NotRequired[str]
    seconds: NotRequired[_Number | None]


class _Reading(TypedDict):
    answer: str | None
    rule: str
    scores: dict[str, _Number | None]


class _Sample(TypedDict):
    __pydantic_config__ = _STRICT  # type: ignore[misc]
    doc_id: int
    target: str | list[str] | None
    response: str | list[str] | None
    status: str
    error: str | None
    readings: dict[str, _Reading]
    usage: dict[str, Any]
    cached: NotRequired[bool]
    prompt_sha256: str | None
    audio: list[_Clip]
    fields: dict[str, Any]
    judge: NotRequired[dict[str, Any]]
    choices: NotRequired[list[str]]
    letters: NotRequired[list[str]]
    cluster: NotRequired[str | None]
    turns_sha256: NotRequired[list[str]]


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def whole_number(digits: str) -> int:
    """Parse an integer, as `parse_int` of json.loads. Raises ValueError for one that no float can hold."""
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits")
    return int(digits)


def fault_of_results(loaded: Mapping[str, Any]) -> str | None:
    """Return the first place in results.json with a wrong type, as `tasks: gtzan: n_scored`, or None."""
    fault = _wrong(loaded, _Results)
    if fault is not None:
        return fault
    faults = (_fault_of_task(name, task) for name, task in loaded.get("tasks", {}).items())
    return next((fault for fault in faults if fault is not None), None)


def parsed_sample(line: bytes) -> dict[str, Any]:
    """Parse a line of samples_<task>.jsonl. Raises ValueError for one that is no JSON or has a wrong type somewhere."""
    try:
        row: dict[str, Any] = _adapter(_Sample).validate_json(line)
    except ValidationError:  # pydantic also refuses texts that json accepts, such as half a surrogate pair
        row = _parsed(line)
        fault = _wrong(row, _Sample) if isinstance(row, dict) else "the line"
        if fault is not None:
            raise ValueError(f"{fault}: is missing or has the wrong type") from None
    return row


def _parsed(line: bytes) -> Any:
    try:
        return json.loads(line.decode(), parse_int=whole_number)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"not readable as JSON ({error})") from None


def _fault_of_task(name: str, task: Mapping[str, Any]) -> str | None:
    if not _TASK_NAME.fullmatch(name):
        return f"tasks: {name!r}"
    fault = _wrong(task, _Task, "tasks", name)
    if fault is not None:
        return fault
    faults = (
        _wrong(task.get(reading), dict[str, _Metric], "tasks", name, reading) for reading in task["readings"]
    )
    return next((fault for fault in faults if fault is not None), None)


def _wrong(value: Any, kind: Any, *place: str) -> str | None:
    try:
        _adapter(kind).validate_python(value)
    except ValidationError as error:
        found: Sequence[int | str] = error.errors(
            include_url=False, include_context=False, include_input=False
        )[0]["loc"]
        return ": ".join([*place, *map(str, found)]) or "the line"
    return None
