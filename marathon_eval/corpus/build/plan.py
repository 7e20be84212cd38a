"""Plans every file and the source stretches in it, before any audio is decoded."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from marathon_eval.api.sound import frames_at
from marathon_eval.corpus.build.balance import at_most
from marathon_eval.corpus.build.fields import filled
from marathon_eval.corpus.build.grouping import FileBounds, Take, grouped, pack
from marathon_eval.corpus.build.item import Item, Piece
from marathon_eval.corpus.build.recipe import Collect, Concatenate, Recipe
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.errors import MarathonError


class Left(NamedTuple):
    """Describes material that is in no file: the number of clips and seconds of a group, and why."""

    group: str
    why: str
    clips: int
    seconds: float


class BuildPlan(NamedTuple):
    """Holds the planned files, and the material that is in none of them."""

    items: list[Item]
    left: list[Left]


def plan_concatenation(recipe: Recipe, clips: Sequence[SourceClip], rule: Concatenate) -> BuildPlan:
    """Plan files for the clips of every group. Raises MarathonError: mixed sample rates, an unknown field."""
    items: list[Item] = []
    left: list[Left] = []
    for values, members in grouped(clips, recipe.group, recipe.seed).items():
        rate = one_rate(members, recipe.rate, recipe.recipe)
        bounds = filling_of(rule, rate)
        lengths = [frames_at(clip.stop - clip.start, clip.rate, rate) for clip in members]
        usable = [number for number, frames in enumerate(lengths) if frames > max(0, -2 * bounds.joint)]
        files = pack([lengths[number] for number in usable], bounds)
        group_fields = dict(zip(recipe.group.by, values, strict=True))
        for part, takes in enumerate(files.files, start=1):
            chosen = [(members[usable[take.number]], take) for take in takes]
            items.append(_item(recipe, rule, chosen, rate, {**group_fields, "part": part}))
        reasons = [(members[usable[number]], why) for number, why in files.left]
        shut_out = set(range(len(members))) - set(usable)
        reasons += [(members[number], "shorter than its cross-fades") for number in sorted(shut_out)]
        left += leftovers("/".join(map(str, values)), reasons)
    return BuildPlan(at_most(items, rule.at_most), left)


def filling_of(rule: Concatenate, rate: int) -> FileBounds:
    """Convert the recipe's bounds from seconds to output frames."""
    joint = rule.gap_seconds - rule.crossfade_seconds
    return FileBounds(
        least=round(rule.min_seconds * rate),
        most=round(rule.max_seconds * rate),
        joint=round(joint * rate),
        count=rule.count,
        truncate=rule.when_full == "truncate",
        rest=rule.rest,
    )


def one_rate(clips: Iterable[SourceClip], recipe_rate: int | None, where: str) -> int:
    """Return the output rate in Hz: the recipe's, else that of all clips. Raises MarathonError when they differ."""
    if recipe_rate is not None:
        return recipe_rate
    rates = Counter(clip.rate for clip in clips)
    if len(rates) > 1:
        counts = ", ".join(f"{count} clips at {rate} Hz" for rate, count in sorted(rates.items()))
        raise MarathonError(f"{where}: {counts}; set `rate:` in the recipe to resample them")
    return next(iter(rates))


def _item(
    recipe: Recipe,
    rule: Concatenate,
    chosen: Sequence[tuple[SourceClip, Take]],
    rate: int,
    group_fields: Mapping[str, Any],
) -> Item:
    joint = round((rule.gap_seconds - rule.crossfade_seconds) * rate)
    fade = max(0, -joint)
    pieces, at = [], 0
    for number, (clip, take) in enumerate(chosen):
        piece = piece_of(clip, at, take.frames, rate, {name: clip.fields[name] for name in recipe.keep})
        ends = {"fade_in": fade if number else 0, "fade_out": fade if number + 1 < len(chosen) else 0}
        pieces.append(Piece(**{**vars(piece), **ends, "level_db": rule.level_db}))
        at += take.frames + joint
    fields = {**group_fields, **collected(recipe.collect, [clip for clip, _ in chosen])}
    audio = filled(recipe.layout.audio, fields, f"{recipe.recipe}: layout.audio")
    return Item(audio, rate, at - joint, tuple(pieces), fields)


def piece_of(clip: SourceClip, at: int, frames: int, rate: int, fields: Mapping[str, Any]) -> Piece:
    """Return a piece: the first `frames` output frames of a clip, laid at output frame `at`."""
    needed = -(-frames * clip.rate // rate)
    stop = clip.start + min(needed, clip.stop - clip.start)
    return Piece(clip.path, clip.start, stop, clip.rate, at, frames, fields=fields)


def collected(rules: Mapping[str, Collect], clips: Sequence[SourceClip]) -> dict[str, Any]:
    """Return a file's fields, made from those of its clips."""
    return {
        name: COLLECTORS[rule.how]([clip.fields[rule.source] for clip in clips])
        for name, rule in rules.items()
    }


def _longest(seconds: Sequence[Mapping[str, float]]) -> str:
    """Return the class with the most seconds in all; of equal ones, the first by name."""
    sums: dict[str, float] = {}
    for of_clip in seconds:
        for name, length in of_clip.items():
            sums[name] = sums.get(name, 0.0) + length
    return max(sorted(sums), key=lambda name: sums[name], default="")


COLLECTORS: dict[str, Callable[[Any], Any]] = {
    "first": lambda values: values[0],
    "min": min,
    "number": len,
    "sum": sum,
    "count": lambda lists: sum(len(values) for values in lists),
    "union": lambda lists: sorted({value for values in lists for value in values}),
    "join": lambda texts: " ".join(texts),
    "longest": _longest,
}


def leftovers(group: str, reasons: Iterable[tuple[SourceClip, str]]) -> list[Left]:
    """Sum up the clips that are in no file, by reason."""
    ordered = sorted(reasons, key=lambda pair: pair[1])
    summed = []
    for why, pairs in groupby(ordered, key=lambda pair: pair[1]):
        clips = [clip for clip, _ in pairs]
        seconds = round(sum(clip.seconds for clip in clips), 3)
        summed.append(Left(group, why, len(clips), seconds))
    return summed
