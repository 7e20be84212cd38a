"""Plans position probes: one labelled event laid over long audio, at every chosen position and length.

All positions of a length share the event, the bed and the option order, so that scores differ by position only.
Levels are fixed: the bed at `bed_level_db`, the event `event_over_bed_db` above it.
"""

from __future__ import annotations

from collections.abc import Sequence

from marathon_eval.api.sound import frames_at
from marathon_eval.corpus.build.fields import filled
from marathon_eval.corpus.build.grouping import FileBounds, pack
from marathon_eval.corpus.build.item import Item, Piece
from marathon_eval.corpus.build.plan import BuildPlan, leftovers, one_rate, piece_of
from marathon_eval.corpus.build.recipe import Needle, Recipe
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.errors import MarathonError


def plan_needles(recipe: Recipe, clips: Sequence[SourceClip], rule: Needle) -> BuildPlan:
    """Plan a file for each event, length and position.

    Raises MarathonError: no bed or no event, too little bed audio, an event longer than a file.
    """
    clips = sorted(clips, key=lambda clip: clip.path)
    beds = [clip for clip in clips if clip.fields.get("role") == rule.bed]
    events = [clip for clip in clips if clip.fields.get("role") == rule.event]
    for role, role_clips in ((rule.bed, beds), (rule.event, events)):
        if not role_clips:
            raise MarathonError(f"{recipe.recipe}: no clip has the role '{role}'")
    rate = one_rate(clips, recipe.rate, recipe.recipe)
    items = []
    for number, event in enumerate(events):
        for seconds in rule.lengths_seconds:
            turned = beds[number % len(beds) :] + beds[: number % len(beds)]
            bed = bed_pieces(recipe, turned, round(seconds * rate), rate, rule)
            for name, place in rule.positions.items():
                items.append(probe(recipe, rule, event, (name, place), bed, rate, seconds))
    others = [clip for clip in clips if clip not in beds and clip not in events]
    return BuildPlan(items, leftovers("", [(clip, "has neither role") for clip in others]))


def bed_pieces(
    recipe: Recipe, beds: Sequence[SourceClip], frames: int, rate: int, rule: Needle
) -> list[Piece]:
    """Lay bed clips end to end and cut the last at `frames`. Raises MarathonError when the clips are too short."""
    lengths = [frames_at(clip.stop - clip.start, clip.rate, rate) for clip in beds]
    files = pack(lengths, FileBounds(least=frames, most=frames, truncate=True)).files
    if not files:
        raise MarathonError(
            f"{recipe.recipe}: the beds have {sum(lengths) / rate:.1f} s in all, {frames / rate:.1f} s are needed"
        )
    pieces, at = [], 0
    for take in files[0]:
        piece = piece_of(beds[take.number], at, take.frames, rate, {"role": rule.bed})
        pieces.append(Piece(**{**vars(piece), "level_db": rule.bed_level_db}))
        at += take.frames
    return pieces


def probe(
    recipe: Recipe,
    rule: Needle,
    event: SourceClip,
    position: tuple[str, float],
    bed: Sequence[Piece],
    rate: int,
    seconds: float,
) -> Item:
    """Plan one file: the bed with the event at one position, a name and a fraction (0 start, 1 end)."""
    frames, length = round(seconds * rate), frames_at(event.stop - event.start, event.rate, rate)
    if length > frames:
        raise MarathonError(f"{event.path}: {event.seconds:.1f} s, longer than the {seconds} s around it")
    at, fade = round(position[1] * (frames - length)), min(round(rule.fade_seconds * rate), length // 2)
    label = event.fields[rule.label]
    piece = piece_of(event, at, length, rate, {"role": rule.event, rule.label: label})
    level = {"fade_in": fade, "fade_out": fade, "level_db": rule.bed_level_db + rule.event_over_bed_db}
    fields = {
        **event.fields,
        "position": position[0],
        "length": f"{seconds:g}",
        "event_start": round(at / rate, 3),
        "event_stop": round((at + length) / rate, 3),
        "pair": f"{event.path}:{seconds:g}",
    }
    audio = filled(recipe.layout.audio, fields, f"{recipe.recipe}: layout.audio")
    return Item(audio, rate, frames, (*bed, Piece(**{**vars(piece), **level})), fields)
