"""Groups clips and fills files with them greedily, in a fixed order, up to a target duration.

The rules are those of AudioMarathon's released scripts: TAU closes a file when the next clip would pass the maximum
and discards a short rest; HAD adds clips until the minimum is reached, truncates at the maximum and loops the clips
of the last short file. All lengths are whole output frames, so that nothing is lost to rounding.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from marathon_eval.corpus.build.recipe import RecipeGroup
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.errors import MarathonError


class Take(NamedTuple):
    """Stands for the first `frames` output frames of the clip with this number."""

    number: int
    frames: int


@dataclass(frozen=True)
class FileBounds:
    """Holds the bounds of one file in output frames; `joint` is the gap between two clips, negative for a cross-fade.

    `count` is the exact number of clips per file; `rest` says what to do with a short last file: discard, loop, keep.
    """

    least: int
    most: int
    joint: int = 0
    count: int | None = None
    truncate: bool = False
    rest: str = "discard"


class GroupedFiles(NamedTuple):
    """Holds the files as lists of takes, and the clips that are in no file, each with the reason."""

    files: list[list[Take]]
    left: list[tuple[int, str]]


def grouped(
    clips: Sequence[SourceClip], rule: RecipeGroup, seed: int
) -> dict[tuple[Any, ...], list[SourceClip]]:
    """Group clips by the values of `by`, and sort groups and clips; `shuffle` shuffles clips with (seed, group)."""
    groups: dict[tuple[Any, ...], list[SourceClip]] = {}
    for clip in sorted(clips, key=lambda clip: (clip.path, clip.start)):
        groups.setdefault(tuple(_field(clip.fields, name) for name in rule.by), []).append(clip)
    for values, members in groups.items():
        members.sort(key=lambda clip: tuple(_sortable(clip, name) for name in rule.order))
        if rule.shuffle:
            random.Random(f"{seed}:group:{values}").shuffle(members)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))


def _field(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise MarathonError(f"group.by: no field '{name}'; known: {', '.join(sorted(fields))}")
    return fields[name]


def _sortable(clip: SourceClip, name: str) -> tuple[int, float, str]:
    """Return a sort key that orders numbers by size and before texts."""
    value = clip.start if name == "start" else _field(clip.fields, name)
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0.0, str(value))


def pack(lengths: Sequence[int], bounds: FileBounds) -> GroupedFiles:
    """Fill files with clips of these lengths (in frames), in order."""
    result = GroupedFiles([], [])
    takes: list[Take] = []
    for number, frames in enumerate(lengths):
        if _must_close(takes, frames, bounds):
            _close(takes, result, bounds)
            takes = []
        if frames > bounds.most and not bounds.truncate:
            result.left.append((number, "longer than a file may be"))
            continue
        takes.append(Take(number, frames))
        over = total_frames(takes, bounds.joint) - bounds.most
        if over > 0:  # happens only where truncation is allowed
            takes[-1] = Take(number, frames - over)
            if takes[-1].frames <= max(0, -bounds.joint):  # the rest would lie inside the cross-fade
                result.left.append((takes.pop().number, "does not fit"))
    _finish(takes, result, bounds)
    return result


def total_frames(takes: Sequence[Take], joint: int) -> int:
    """Return the output frames of a file with these takes."""
    return sum(take.frames for take in takes) + joint * max(0, len(takes) - 1)


def _must_close(takes: Sequence[Take], frames: int, bounds: FileBounds) -> bool:
    if not takes:
        return False
    now = total_frames(takes, bounds.joint)
    if bounds.count is not None and len(takes) == bounds.count:
        return True
    if now + max(0, bounds.joint) >= bounds.most:
        return True
    return now + bounds.joint + frames > bounds.most and (now >= bounds.least or not bounds.truncate)


def _close(takes: list[Take], result: GroupedFiles, bounds: FileBounds) -> None:
    whole = bounds.count is None or len(takes) == bounds.count
    if total_frames(takes, bounds.joint) >= bounds.least and whole:
        result.files.append(takes)
    else:
        result.left.extend((take.number, "too little for a file") for take in takes)


def _finish(takes: list[Take], result: GroupedFiles, bounds: FileBounds) -> None:
    """Close the last file. A short one is discarded, kept, or looped: its clips repeat up to the minimum."""
    short = total_frames(takes, bounds.joint) < bounds.least
    if takes and short and bounds.rest == "keep":
        result.files.append(takes)
        return
    if takes and short and bounds.rest == "loop":
        first = list(takes)
        while total_frames(takes, bounds.joint) < bounds.least:
            again = first[len(takes) % len(first)]
            needed = bounds.least - total_frames(takes, bounds.joint) - bounds.joint
            takes.append(Take(again.number, min(again.frames, max(1, needed))))
    if takes:
        _close(takes, result, bounds)
