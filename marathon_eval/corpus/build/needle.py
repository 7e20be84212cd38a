"""Plans position probes: one labelled event laid over long audio, at every chosen position and length.

All positions of a length share the event, the bed, the distractors and the option order, so that scores differ by
position only. Levels are fixed: the bed at `bed_level_db`, event and distractors `event_over_bed_db` above it. Length
against depth is the plane of needle-in-a-haystack tests of text (https://github.com/gkamradt/LLMTest_NeedleInAHaystack).
"""

from __future__ import annotations

from collections.abc import Sequence

from marathon_eval.api.sound import frames_at
from marathon_eval.corpus.build.distractors import Distractors
from marathon_eval.corpus.build.fields import filled
from marathon_eval.corpus.build.grouping import FileBounds, pack
from marathon_eval.corpus.build.item import Item, Piece
from marathon_eval.corpus.build.plan import BuildPlan, leftovers, one_rate, piece_of
from marathon_eval.corpus.build.recipe import Needle, Recipe
from marathon_eval.corpus.build.source import SourceClip
from marathon_eval.errors import MarathonError


def plan_needles(recipe: Recipe, clips: Sequence[SourceClip], rule: Needle) -> BuildPlan:
    """Plan a file for each event, length and position.

    Raises MarathonError: no bed, event or distractor, too little bed audio, an event longer than a file, too little
    room for the distractors.
    """
    clips = sorted(clips, key=lambda clip: clip.path)
    roles = [rule.bed, rule.event, *([rule.distractor] if rule.distractor and rule.distractors else [])]
    by_role = {role: [clip for clip in clips if clip.fields.get("role") == role] for role in roles}
    for role, role_clips in by_role.items():
        if not role_clips:
            raise MarathonError(f"{recipe.recipe}: no clip has the role '{role}'")
    rate = one_rate(clips, recipe.rate, recipe.recipe)
    beds, candidates = by_role[rule.bed], by_role[roles[-1]] if len(roles) > 2 else []
    items = []
    for number, event in enumerate(by_role[rule.event]):
        distractors = Distractors.drawn(recipe, rule, event, candidates, rate)
        for seconds in rule.lengths_seconds:
            turned = beds[number % len(beds) :] + beds[: number % len(beds)]
            bed = bed_pieces(recipe, turned, round(seconds * rate), rate, rule)
            for name, place in rule.positions.items():
                items.append(probe(recipe, rule, event, (name, place), bed, rate, seconds, distractors))
    others = [clip for clip in clips if clip.fields.get("role") not in roles]
    return BuildPlan(items, leftovers("", [(clip, "has another role") for clip in others]))


def bed_pieces(
    recipe: Recipe, beds: Sequence[SourceClip], frames: int, rate: int, rule: Needle
) -> list[Piece]:
    """Lay bed clips end to end and cut the last at `frames`, repeating them if the rule allows it.

    Raises MarathonError when the clips are too short.
    """
    lengths = [frames_at(clip.stop - clip.start, clip.rate, rate) for clip in beds]
    total = sum(lengths)
    times = -(-frames // total) if rule.repeat_bed and total else 1
    files = pack(lengths * times, FileBounds(least=frames, most=frames, truncate=True)).files
    if not files:
        raise MarathonError(
            f"{recipe.recipe}: the beds have {total / rate:.1f} s in all, {frames / rate:.1f} s are needed"
        )
    pieces, at = [], 0
    for take in files[0]:
        piece = piece_of(beds[take.number % len(beds)], at, take.frames, rate, {"role": rule.bed})
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
    distractors: Distractors,
) -> Item:
    """Plan one file: the bed with the event at one position, a name and a fraction (0 start, 1 end)."""
    frames, length = round(seconds * rate), frames_at(event.stop - event.start, event.rate, rate)
    if length > frames:
        raise MarathonError(f"{event.path}: {event.seconds:.1f} s, longer than the {seconds:g} s around it")
    at = round(position[1] * (frames - length))
    others = distractors.around(at, at + length, frames)
    label = event.fields[rule.label]
    laid = [over_bed(rule, event, at, rate, {"role": rule.event, rule.label: label})]
    for clip, start in others:
        laid.append(
            over_bed(rule, clip, start, rate, {"role": "distractor", rule.label: label_of(rule, clip)})
        )
    fields = {
        **event.fields,
        "position": position[0],
        "depth_percent": f"{100 * position[1]:g}",
        "length": f"{seconds:g}",
        "event_start": round(at / rate, 3),
        "event_stop": round((at + length) / rate, 3),
        "distractor_labels": [label_of(rule, clip) for clip, _ in others],
        "distractor_starts": [round(start / rate, 3) for _, start in others],
        "pair": f"{event.path}:{seconds:g}",
    }
    audio = filled(recipe.layout.audio, fields, f"{recipe.recipe}: layout.audio")
    return Item(audio, rate, frames, (*bed, *laid), fields)


def label_of(rule: Needle, clip: SourceClip) -> str:
    """Return what a distractor is: its label, or its file's name where its path has none."""
    return str(clip.fields.get(rule.label) or clip.fields["stem"])


def over_bed(rule: Needle, clip: SourceClip, at: int, rate: int, fields: dict[str, str]) -> Piece:
    """Return a whole clip as a piece at output frame `at`, faded at both ends, at the level above the bed."""
    length = frames_at(clip.stop - clip.start, clip.rate, rate)
    fade = min(round(rule.fade_seconds * rate), length // 2)
    piece = piece_of(clip, at, length, rate, fields)
    level = {"fade_in": fade, "fade_out": fade, "level_db": rule.bed_level_db + rule.event_over_bed_db}
    return Piece(**{**vars(piece), **level})
