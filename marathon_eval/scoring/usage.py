"""Summarises what responses cost: a row's repeats as their mean, a task's usages as medians with intervals."""

from __future__ import annotations

import math
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import fields
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from marathon_eval.api.model import Response, Usage
from marathon_eval.scoring.stats import median_interval

if TYPE_CHECKING:
    from marathon_eval.api.results import Sample

#: The timed stages of a response, in seconds.
STAGES = ("encode_s", "prefill_s", "decode_s")
_USAGE = tuple(field.name for field in fields(Usage))
_VALUES_OF = attrgetter(*_USAGE)


def sounding_tokens(usage: Mapping[str, Any]) -> tuple[int | None, int | None]:
    """Return a response's audio tokens before and after its press, without those that stand for no sound.

    A press removes padding before any other token. None where the model can't know a number.
    """
    audio, kept = usage.get("audio_tokens"), usage.get("kept_tokens")
    padding = (usage.get("details") or {}).get("padding_tokens", 0)
    if audio is None or not padding:
        return audio, kept
    return audio - padding, None if kept is None else min(kept, audio - padding)


class UsageColumns:
    """Collects every number of the responses' usage, `details` included, one column per name.

    Times of warm-up responses (the first batch after loading) are left out; `warm_up` counts these responses.
    """

    def __init__(self) -> None:
        self._columns: dict[str, array[float]] = {}
        self._warm_ups = 0

    def add(self, usage: Mapping[str, Any]) -> None:
        """Add the usage of one response."""
        details = usage.get("details") or {}
        warm = bool(details.get("warm_up"))
        self._warm_ups += warm
        for key, value in (*usage.items(), *details.items()):
            if _is_measure(value) and not (warm and key.endswith("_s")):
                column = self._columns.get(key)
                if column is None:
                    column = self._columns[key] = array("d")
                column.append(value)

    def merged(self) -> dict[str, Any]:
        """Return `{name: {median, ci95, n}}` and `warm_up`; empty without any number."""
        summaries: dict[str, Any] = {key: _summary(sorted(values)) for key, values in self._columns.items()}
        return {**summaries, "warm_up": self._warm_ups} if summaries else {}


def _summary(ordered: list[float]) -> dict[str, Any]:
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    interval = median_interval(ordered)
    return {
        "median": median,
        "ci95": None if interval is None else (interval.low, interval.high),
        "n": len(ordered),
    }


def _is_measure(value: object) -> bool:
    """Whether a value is a number that JSON and a float can hold; a server may report others."""
    try:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    except OverflowError:
        return False


def _measures(usage: Usage) -> dict[str, Any]:
    """Return the numbers of one response's usage that are there."""
    values = zip(_USAGE, _VALUES_OF(usage), strict=True)
    return {key: value for key, value in values if value is not None and _is_measure(value)}


def _means(measured: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the mean of each number over the responses that have it."""
    means: dict[str, Any] = {}
    for key in _USAGE:
        values = [one[key] for one in measured if key in one]
        if values:
            means[key] = values[0] if len(values) == 1 else sum(values) / len(values)
    return means


def answer_seconds(sample: Sample) -> float | None:
    """Return the model's seconds for a row's responses, cached ones included; None where none was timed."""
    times = [sample.usage[stage] for stage in STAGES if sample.usage.get(stage) is not None]
    if not times:  # a speech recogniser times its whole work on a clip
        whole = (sample.usage.get("details") or {}).get("transcribe_s")
        times = [whole] if _is_measure(whole) else []
    # a row's usage is the mean over its repeats
    repeats = len(sample.response) if isinstance(sample.response, list) else 1
    return sum(times) * repeats if times else None


def mean_usage(responses: Sequence[Response]) -> dict[str, Any]:
    """Return the mean usage over a row's repeats, without absent numbers.

    `details` and `finish_reason` are those of the first response.
    """
    measured = [_measures(response.usage) for response in responses]
    usage = measured[0] if len(measured) == 1 else _means(measured)
    if responses and responses[0].usage.details:
        usage["details"] = dict(responses[0].usage.details)
    if responses:
        usage["finish_reason"] = responses[0].finish_reason
    return usage
