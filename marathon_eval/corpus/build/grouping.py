"""How many clips make one file: groups in a fixed order, filled greedily to minutes.

The filling is that of AudioMarathon's released scripts, said once: TAU closes a file when the next clip would pass
the maximum and throws a short rest away; HAD goes on while the minimum is not reached, truncates at the maximum and
loops the last short file. All lengths are whole output frames, so that nothing is lost to rounding.
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
    """So many output frames of the clip with this number."""

    number: int
    frames: int


@dataclass(frozen=True)
class FileBounds:
    """The bounds of one file in output frames; `joint` frames between two clips, negative for a cross-fade."""

    least: int
    most: int
    joint: int = 0
    count: int | None = None
    truncate: bool = False
    rest: str = "discard"


class GroupedFiles(NamedTuple):
    """Files as lists of takes, and the clips that came into none with the reason."""

    files: list[list[Take]]
    left: list[tuple[int, str]]


def grouped(
    clips: Sequence[SourceClip], rule: RecipeGroup, seed: int
) -> dict[tuple[Any, ...], list[SourceClip]]:
    """Clips by the values of `by`, groups and clips sorted; shuffled by (seed, group) where the rule says so."""
    groups: dict[tuple[Any, ...], list[SourceClip]] = {}
    for clip in sorted(clips, key=lambda clip: (clip.path, clip.start)):
        groups.setdefault(tuple(_known(clip.fields, name) for name in rule.by), []).append(clip)
    for values, members in groups.items():
        members.sort(key=lambda clip: tuple(_sortable(clip, name) for name in rule.order))
        if rule.shuffle:
            random.Random(f"{seed}:group:{values}").shuffle(members)
    return dict(sorted(groups.items(), key=lambda group: tuple(map(str, group[0]))))


def _known(fields: Mapping[str, Any], name: str) -> Any:
    if name not in fields:
        raise MarathonError(f"group.by: no field '{name}'; known: {', '.join(sorted(fields))}")
    return fields[name]


def _sortable(clip: SourceClip, name: str) -> tuple[int, float, str]:
    """Numbers by size and before texts."""
    value = clip.start if name == "start" else _known(clip.fields, name)
    return (0, value, "") if isinstance(value, (int, float)) else (1, 0.0, str(value))


def pack(lengths: Sequence[int], filling: FileBounds) -> GroupedFiles:
    """Fill files with clips of these lengths, in order."""
    packed = GroupedFiles([], [])
    takes: list[Take] = []
    for number, frames in enumerate(lengths):
        if _must_close(takes, frames, filling):
            _close(takes, packed, filling)
            takes = []
        if frames > filling.most and not filling.truncate:
            packed.left.append((number, "longer than a file may be"))
            continue
        takes.append(Take(number, frames))
        over = total_frames(takes, filling.joint) - filling.most
        if over > 0:  # only where truncation is allowed
            takes[-1] = Take(number, frames - over)
            if takes[-1].frames <= max(0, -filling.joint):  # nothing would be heard outside the cross-fade
                packed.left.append((takes.pop().number, "does not fit"))
    _finish(takes, packed, filling)
    return packed


def total_frames(takes: Sequence[Take], joint: int) -> int:
    """Output frames of a file with these takes."""
    return sum(take.frames for take in takes) + joint * max(0, len(takes) - 1)


def _must_close(takes: Sequence[Take], frames: int, filling: FileBounds) -> bool:
    if not takes:
        return False
    now = total_frames(takes, filling.joint)
    if filling.count is not None and len(takes) == filling.count:
        return True
    if now + max(0, filling.joint) >= filling.most:
        return True
    return now + filling.joint + frames > filling.most and (now >= filling.least or not filling.truncate)


def _close(takes: list[Take], packed: GroupedFiles, filling: FileBounds) -> None:
    whole = filling.count is None or len(takes) == filling.count
    if total_frames(takes, filling.joint) >= filling.least and whole:
        packed.files.append(takes)
    else:
        packed.left.extend((take.number, "too little for a file") for take in takes)


def _finish(takes: list[Take], packed: GroupedFiles, filling: FileBounds) -> None:
    """The last, short file: thrown away, kept, or its clips repeated from the first until the minimum is reached."""
    short = total_frames(takes, filling.joint) < filling.least
    if takes and short and filling.rest == "keep":
        packed.files.append(takes)
        return
    if takes and short and filling.rest == "loop":
        first = list(takes)
        while total_frames(takes, filling.joint) < filling.least:
            again = first[len(takes) % len(first)]
            needed = filling.least - total_frames(takes, filling.joint) - filling.joint
            takes.append(Take(again.number, min(again.frames, max(1, needed))))
    if takes:
        _close(takes, packed, filling)
