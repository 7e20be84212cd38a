"""Plans a build from a recipe and a corpus: runs the stages in their order, without decoding audio."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from marathon_eval.corpus.build.balance import balanced_files
from marathon_eval.corpus.build.finalise import Paired, with_questions
from marathon_eval.corpus.build.item import Item
from marathon_eval.corpus.build.needle import plan_needles
from marathon_eval.corpus.build.plan import Left, plan_concatenation
from marathon_eval.corpus.build.recipe import Recipe
from marathon_eval.corpus.build.segments import cut_at_labels
from marathon_eval.corpus.build.select import binned, selected_clips
from marathon_eval.corpus.build.source import SourceClip, clips, named_fields, source_files
from marathon_eval.corpus.build.speech import spoken
from marathon_eval.corpus.build.tables import had_labels
from marathon_eval.errors import MarathonError


@dataclass(frozen=True)
class Order:
    """Holds the settings of one build.

    `tts` is a command, `rejected` are row keys of a review, `limit` is a number of files, and `replace` allows
    overwriting a finished build that was made with other settings.
    """

    source: Path
    output: Path
    jobs: int = 1
    tts: str | None = None
    rejected: frozenset[str] = frozenset()
    limit: int | None = None
    replace: bool = False


class PlannedFiles(NamedTuple):
    """Holds the files with their questions, the material left out, and the folder that piece paths start from."""

    pairs: list[Paired]
    left: list[Left]
    root: Path


def plan(recipe: Recipe, order: Order) -> PlannedFiles:
    """Plan every file of a recipe, sorted by path. Raises MarathonError, also when no file can be made."""
    all_clips, root = source_clips(recipe, order)
    chosen = selected_clips(binned(all_clips, recipe.bins), recipe.select)
    if recipe.concatenate is not None:
        planned = plan_concatenation(recipe, chosen, recipe.concatenate)
    elif recipe.needle is not None:
        planned = plan_needles(recipe, chosen, recipe.needle)
    pairs, dropped = with_questions(recipe, sorted(planned.items, key=lambda item: item.audio))
    if recipe.balance is not None:
        balanced = {
            item.audio
            for item in balanced_files([pair.item for pair in pairs], recipe.balance.by, recipe.seed)
        }
        pairs = [pair for pair in pairs if pair.item.audio in balanced]
    if not pairs:
        raise MarathonError(too_little(recipe, all_clips, chosen, [*planned.left, *dropped]))
    _check_names([pair.item for pair in pairs], recipe.recipe)
    return PlannedFiles(pairs[: order.limit], [*planned.left, *dropped], root)


def source_clips(recipe: Recipe, order: Order) -> tuple[list[SourceClip], Path]:
    """Return the corpus's clips, and the folder that their paths start from.

    Passages are read aloud into `speech/` below the output folder.
    """
    source = recipe.source
    if source.texts is not None:
        root = order.output / "speech" / recipe.recipe
        files = source_files(order.source, source.texts.files, recipe.recipe)
        all_clips = spoken(files, order.source, root, order.tts)
        return (named_fields(all_clips, source.pattern, recipe.recipe) if source.pattern else all_clips), root
    paths = source_files(order.source, source.audio, recipe.recipe)
    all_clips = clips(recipe.recipe, source, order.source, paths)
    if source.segments is not None:
        all_clips = cut_at_labels(all_clips, had_labels(order.source / source.segments.file), source.segments)
    return all_clips, order.source


def too_little(
    recipe: Recipe, all_clips: Sequence[SourceClip], chosen: Sequence[SourceClip], left: Sequence[Left]
) -> str:
    """Return the message that says why nothing can be built, in one line."""
    seconds = sum(clip.seconds for clip in chosen)
    usable = f"{len(chosen)} of {len(all_clips)} clips ({seconds:.0f} s) are usable"
    text = f"{recipe.recipe}: too little material: {usable}"
    if recipe.concatenate is not None:
        text += f", a file needs {recipe.concatenate.min_seconds:g} s of one group"
    largest = max(left, key=lambda entry: entry.seconds, default=None)
    return (
        text
        if largest is None
        else f"{text}; the largest rest is {largest.seconds:.0f} s of {largest.group or 'all'}"
    )


def _check_names(items: Sequence[Item], where: str) -> None:
    seen: set[str] = set()
    for item in items:
        pure = PurePosixPath(item.audio)
        if pure.is_absolute() or ".." in pure.parts or pure.suffix not in (".wav", ".flac"):
            raise MarathonError(
                f"{where}: layout.audio gives {item.audio!r}, not a .wav or .flac below its root"
            )
        if item.audio in seen:
            raise MarathonError(f"{where}: layout.audio names two files {item.audio!r}; use {{part}}")
        seen.add(item.audio)
