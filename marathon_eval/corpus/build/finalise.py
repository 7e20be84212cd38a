"""Writes the metadata, the last stage of a build: rows numbered, in the release's layout, without rejected rows."""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from marathon_eval.corpus.build.fields import fill_value, filled
from marathon_eval.corpus.build.item import Item
from marathon_eval.corpus.build.journal import entries_as_json
from marathon_eval.corpus.build.plan import Left
from marathon_eval.corpus.build.question import BuiltQuestion, question_for
from marathon_eval.corpus.build.recipe import Recipe, RecipeLayout
from marathon_eval.errors import MarathonError


class Paired(NamedTuple):
    """Holds a file with its questions: one, none (for transcripts, or folders as labels), or all questions of a passage."""

    item: Item
    asked: tuple[BuiltQuestion, ...]


def with_questions(recipe: Recipe, items: Iterable[Item]) -> tuple[list[Paired], list[Left]]:
    """Pair every file with its questions; files with too few false options are left out. Raises MarathonError."""
    pairs, left = [], []
    for item in items:
        if recipe.question is None:
            pairs.append(Paired(item, tuple(item.fields.get("asked", ()))))
            continue
        draw = random.Random(f"{recipe.seed}:question:{item.fields.get('pair', item.audio)}")
        asked = question_for(recipe.question, item.fields, draw, f"{recipe.recipe}: {item.audio}")
        if asked is None:
            left.append(
                Left(item.audio, "too few options are false", len(item.pieces), round(item.seconds, 3))
            )
        else:
            pairs.append(Paired(item, (asked,)))
    return pairs, left


def row_count(recipe: Recipe, pairs: Sequence[Paired], rejected: frozenset[str]) -> int:
    """Count the rows that were not rejected."""
    return sum(
        row_key(recipe.layout, item, place, len(asked)) not in rejected
        for item, asked in pairs
        for place in range(max(1, len(asked)))
    )


def rows(recipe: Recipe, pairs: Sequence[Paired], rejected: frozenset[str]) -> list[dict[str, Any]]:
    """Return the metadata's rows. `uniq_id` counts rejected rows too, so that the other rows keep their numbers."""
    layout, result, number = recipe.layout, [], 0
    for item, asked in pairs:
        path = PurePosixPath(item.audio)
        if layout.audio_folder:
            path = path.relative_to(layout.audio_folder)
        item_fields = {**item.fields, "path": path.as_posix(), "seconds": round(item.seconds, 3)}
        for place, question in enumerate(asked or (None,)):
            fields = {**item_fields, **(question.fields() if question else {})}
            fields |= {"uniq_id": number, "question_idx": place}
            number += 1
            if row_key(layout, item, place, len(asked)) not in rejected:
                result.append(fill_value(layout.row, fields, f"{recipe.recipe}: layout.row"))
    return result


def row_key(layout: RecipeLayout, item: Item, place: int, of: int) -> str:
    """Return a row's key as `survey.keyed` does: its audio's path below --output_path, and `#` with a number."""
    path = (PurePosixPath(layout.root) / item.audio).as_posix()
    return f"{path}#{place}" if of > 1 or "question_idx" in layout.row else path


def still_used(recipe: Recipe, pairs: Sequence[Paired], rejected: frozenset[str]) -> list[Paired]:
    """Return the files of which at least one row was not rejected."""
    return [
        pair
        for pair in pairs
        if any(
            row_key(recipe.layout, pair.item, place, len(pair.asked)) not in rejected
            for place in range(max(1, len(pair.asked)))
        )
    ]


def metadata_files(recipe: Recipe, pairs: Sequence[Paired], rejected: frozenset[str]) -> dict[str, bytes]:
    """Return the metadata files, by path below the layout's root. Raises MarathonError for an unknown field."""
    layout, files = recipe.layout, {}
    if layout.metadata is not None:
        content: Any = rows(recipe, pairs, rejected)
        if layout.rows_key is not None:
            content = {**layout.head, layout.rows_key: content}
        files[layout.metadata] = entries_as_json(content)
    if layout.transcripts is not None:
        remaining = still_used(recipe, pairs, rejected)
        files |= transcript_files(layout, [pair.item for pair in remaining], recipe.recipe)
    return files


def transcript_files(layout: RecipeLayout, items: Sequence[Item], where: str) -> dict[str, bytes]:
    """Return LibriSpeech's transcript files: one per folder, with a line per audio file."""
    lines: dict[str, list[str]] = {}
    for item in items:
        name = filled(layout.transcripts or "", item.fields, f"{where}: layout.transcripts")
        lines.setdefault(name, []).append(
            f"{PurePosixPath(item.audio).stem} {collected_transcript(item.fields, where)}"
        )
    return {name: ("\n".join(sorted(of_file)) + "\n").encode() for name, of_file in sorted(lines.items())}


def collected_transcript(fields: Mapping[str, Any], where: str) -> str:
    """Return a file's transcript. Raises MarathonError when the recipe collects none."""
    if "transcript" not in fields:
        raise MarathonError(f"{where}: layout.transcripts needs the field 'transcript' under `collect:`")
    return str(fields["transcript"])
