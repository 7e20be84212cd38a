"""Selects the clips to use by their fields and durations, and sorts numbers into classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from marathon_eval.corpus.build.recipe import Bins, Select
from marathon_eval.corpus.build.source import SourceClip


def binned(clips: Sequence[SourceClip], bins: Mapping[str, Bins]) -> list[SourceClip]:
    """Add to each clip the class of its number; clips without the number or outside every range are dropped."""
    for name, rule in bins.items():
        classes = ((clip, _range_of(clip.fields.get(rule.field), rule)) for clip in clips)
        clips = [clip.knowing(**{name: class_name}) for clip, class_name in classes if class_name is not None]
    return list(clips)


def _range_of(number: Any, rule: Bins) -> str | None:
    if number is None:
        return None
    whole = int(number)
    return next((name for name, (first, last) in rule.ranges.items() if first <= whole <= last), None)


def selected_clips(clips: Iterable[SourceClip], rule: Select) -> list[SourceClip]:
    """Return the clips that the rule selects; values are compared as text."""
    longest = float("inf") if rule.max_seconds is None else rule.max_seconds
    return [
        clip
        for clip in clips
        if rule.min_seconds <= clip.seconds <= longest
        and _matches(clip.fields, rule.where)
        and not any(_matches(clip.fields, drop) for drop in rule.drop)
    ]


def _matches(fields: Mapping[str, Any], allowed: Mapping[str, Sequence[Any]]) -> bool:
    return all(str(fields.get(name)) in {str(value) for value in values} for name, values in allowed.items())
