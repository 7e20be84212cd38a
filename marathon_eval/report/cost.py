"""Reads what each press and ratio of a sweep costs: the paired differences to the uncompressed model in sweep.json.

A difference pairs the answers of both runs to the same document, so its interval is narrower than those of two scores.
"""

from __future__ import annotations

import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, NotRequired

from annotated_types import MaxLen, MinLen
from pydantic import AllowInfNan, ConfigDict, TypeAdapter, ValidationError
from typing_extensions import TypedDict

from marathon_eval.api.results import scaled_interval
from marathon_eval.errors import MarathonError
from marathon_eval.report.runs import ReportRun
from marathon_eval.results.shape import whole_number
from marathon_eval.scoring.alike import headline_falls

_Number = Annotated[float, AllowInfNan(False)]
_OPEN = ConfigDict(strict=True, extra="allow")


class _Metric(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]  # pydantic's way to configure a TypedDict
    difference: _Number | None
    ci95: Annotated[list[_Number], MinLen(2), MaxLen(2)] | None
    n_unscored: NotRequired[int]


class _Test(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    holm_p: _Number


class _Reading(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    metrics: dict[str, _Metric]
    discordance: NotRequired[_Test | None]
    #: Absent in files of early versions, which count the task's pairs alone.
    n: NotRequired[int]


class _Headline(TypedDict):
    reading: str
    metric: str
    scale: NotRequired[_Number]


class _Difference(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    n_paired: NotRequired[int]
    headline: _Headline | None
    readings: dict[str, _Reading]


class _Entry(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    difference: NotRequired[_Difference | None]


class _Cell(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    label: str
    press: str | None
    ratio: _Number | None
    #: Absent in files of early versions, whose cells all count as named.
    fingerprint_sha256: NotRequired[str]


class _Sweep(TypedDict):
    __pydantic_config__ = _OPEN  # type: ignore[misc]
    cells: list[_Cell]
    tasks: dict[str, dict[str, _Entry]]


#: Below this p, after Holm's correction, tables mark a difference with a star.
STAR_P = 0.05


@dataclass(frozen=True)
class PressCost:
    """Holds the difference to no press at one ratio, in points of the headline, with its 95 % interval and Holm's p.

    There is no p where answers have grades instead of right or wrong. `n` counts the documents that both answered, and
    `falls` says that a lower score is better, as of an error rate.
    """

    ratio: float
    points: float
    low: float | None
    high: float | None
    holm_p: float | None = None
    n: int | None = None
    #: Whether a lower headline is better, as of an error rate, so that a rise is a loss.
    falls: bool = False

    @property
    def gain(self) -> float:
        """The points won over no press; negative for a loss, also where a lower headline is better."""
        return -self.points if self.falls else self.points

    @property
    def starred(self) -> bool:
        """Whether tables mark the difference: its p is below STAR_P; without a p, its interval leaves out 0."""
        return starred(self.holm_p, self.low, self.high)


def starred(holm_p: float | None, low: float | None, high: float | None) -> bool:
    """Return whether a table marks a difference: by its p after Holm's correction; without a p, by its interval."""
    if holm_p is not None:
        return holm_p < STAR_P
    return low is not None and high is not None and (low > 0 or high < 0)


def costs_fall(series: Mapping[str, Sequence[PressCost]]) -> bool:
    """Return whether a lower headline is better of a task, given by its costs by press."""
    return any(cost.falls for costs in series.values() for cost in costs)


#: Costs by task, then by press with its settings, by rising ratio.
CostsByTask = dict[str, dict[str, tuple[PressCost, ...]]]


def sweep_costs(cells: Sequence[ReportRun]) -> CostsByTask:
    """Return the costs of those of a sweep's cells that are among these runs; empty if the runs come from no sweep,
    or from several.

    Raises MarathonError for a sweep.json that cannot be read.
    """
    folders = {folder.parent.parent for cell in cells for folder in cell.folders.values()}
    files = [path for path in sorted(folder / "sweep.json" for folder in folders) if path.is_file()]
    named = {cell.fingerprint_sha256 for cell in cells}
    if len(files) != 1:
        return {}
    falling = {name for cell in cells for name, task in cell.tasks.items() if headline_falls(task)}
    return _costs(_read(files[0]), named, falling)


def _read(path: Path) -> _Sweep:
    try:
        loaded = json.loads(path.read_text(encoding="utf-8"), parse_int=whole_number)
        sweep = TypeAdapter(_Sweep).validate_python(loaded)
    except ValidationError as error:
        place = ": ".join(map(str, error.errors(include_url=False, include_input=False)[0]["loc"]))
        raise MarathonError(
            f"{path}: {place or 'the file'}: is missing or has the wrong type; run the sweep again"
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise MarathonError(f"{path}: not readable as JSON ({error}); run the sweep again") from None
    return sweep


def _costs(sweep: _Sweep, named: Container[str], falling: Container[str]) -> CostsByTask:
    costs: CostsByTask = {}
    for task, by_label in sweep["tasks"].items():
        series: dict[str, list[PressCost]] = {}
        for cell in sweep["cells"]:
            if "fingerprint_sha256" in cell and cell["fingerprint_sha256"] not in named:
                continue
            entry = by_label.get(cell["label"])
            cost = _cost(cell, entry.get("difference"), task in falling) if entry else None
            if cost is not None:
                words = [word for word in cell["label"].split() if word != f"{cost.ratio:g}"]
                series.setdefault(" ".join(words), []).append(cost)
        if series:
            costs[task] = {
                name: tuple(sorted(found, key=lambda cost: cost.ratio)) for name, found in series.items()
            }
    return costs


def _cost(cell: _Cell, difference: _Difference | None, falls: bool) -> PressCost | None:
    headline = difference["headline"] if difference else None
    if difference is None or headline is None or cell["ratio"] is None:
        return None
    reading = difference["readings"].get(headline["reading"])
    metric = reading["metrics"].get(headline["metric"]) if reading else None
    if metric is None or metric["difference"] is None:
        return None
    scale = headline.get("scale", 1.0)
    low, high = scaled_interval(metric["ci95"], scale) or (None, None)
    test = reading.get("discordance") if reading else None
    points, p = metric["difference"] * scale, test["holm_p"] if test else None
    n = reading.get("n", difference.get("n_paired")) if reading else None
    n = n if n is None else n - metric.get("n_unscored", 0)
    return PressCost(cell["ratio"], points, low, high, p, n, falls)
