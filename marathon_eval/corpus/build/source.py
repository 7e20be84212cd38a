"""Lists the clips of a source corpus, with durations from file headers and fields from names and tables.

All lists are sorted by path, so that a build does not depend on the order of the file system.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from marathon_eval.corpus.build.fields import filled
from marathon_eval.corpus.build.recipe import Events, RecipeSource, RecipeTable
from marathon_eval.corpus.build.tables import Line, parsed_cell, table_lines, transcripts
from marathon_eval.errors import AudioError, MarathonError


@dataclass(frozen=True)
class SourceClip:
    """Describes a stretch of a source file, in frames at the file's rate, with the fields that describe it."""

    path: str
    start: int
    stop: int
    rate: int
    channels: int
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        return (self.stop - self.start) / self.rate

    def knowing(self, **fields: Any) -> SourceClip:
        """Return the same stretch with more fields."""
        return replace(self, fields={**self.fields, **fields})


def source_files(root: Path, patterns: Iterable[str], where: str) -> list[str]:
    """List the files below `root` that match any glob, as sorted POSIX paths. Raises MarathonError if none does."""
    if not root.is_dir():
        raise MarathonError(f"--source: {root}: no such folder")
    patterns = list(patterns)
    for pattern in patterns:
        if pattern.startswith("/") or ".." in PurePosixPath(pattern).parts:
            raise MarathonError(f"{where}: {pattern!r} points outside --source")
    matches = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    if not matches:
        raise MarathonError(f"{where}: no file below {root} matches {' or '.join(patterns)}")
    paths = sorted(path.relative_to(root).as_posix() for path in matches)
    for path in paths:
        if any("\ud800" <= mark <= "\udfff" for mark in path):
            raise MarathonError(f"{where}: {path!a}: the file name is not valid in any encoding; rename it")
    return paths


def clips(recipe: str, source: RecipeSource, root: Path, paths: Sequence[str]) -> list[SourceClip]:
    """Return every clip with its fields, sorted by path.

    Raises MarathonError: an unreadable file, a clip without a row in a table, a broken table.
    """
    all_clips = [header(root, path) for path in paths if path not in source.known_bad]
    if source.pattern:
        all_clips = named_fields(all_clips, source.pattern, recipe)
    for table in source.tables:
        all_clips = joined_with_table(all_clips, table, root, recipe)
    if source.transcripts is not None:
        all_clips = with_transcripts(all_clips, root, source_files(root, [source.transcripts], recipe))
    return with_events(all_clips, source.events, root) if source.events else all_clips


def header(root: Path, path: str) -> SourceClip:
    """Read a file's header and return the whole file as a clip. Raises MarathonError if it holds no audio."""
    from marathon_eval.api.decoding.sound_file import opened_sound

    try:
        with opened_sound(root / path) as sound:
            if sound.fault is not None:
                raise AudioError(sound.fault)
            frames = sound.frames if sound.frames is not None else sum(map(len, sound.blocks(0, None)))
    except AudioError as error:
        raise MarathonError(f"{root / path}: {error}") from None
    pure = PurePosixPath(path)
    fields = {"path": path, "stem": pure.stem, "name": pure.name, "folder": pure.parent.name}
    return SourceClip(path, 0, frames, sound.rate, sound.channels, fields)


def named_fields(all_clips: Sequence[SourceClip], pattern: str, where: str) -> list[SourceClip]:
    """Add the named groups of `pattern` as fields. Raises MarathonError when a path does not match."""
    expression = re.compile(pattern)
    result = []
    for clip in all_clips:
        match = expression.search(clip.path)
        if match is None:
            raise MarathonError(f"{where}: source.pattern does not match {clip.path}")
        result.append(clip.knowing(**match.groupdict(default="")))
    return result


def joined_with_table(
    all_clips: Sequence[SourceClip], table: RecipeTable, root: Path, where: str
) -> list[SourceClip]:
    """Add a table's columns as fields; fields that a clip already has are not replaced. Raises MarathonError."""
    path = root / table.file
    if table.optional and not path.exists():
        return list(all_clips)
    rows = keyed_lines(path, table)
    result, unmatched = [], []
    for clip in all_clips:
        line = rows.get(filled(table.match, clip.fields, where))
        if line is not None:
            result.append(clip.knowing(**{**_columns(line, table), **clip.fields}))
        elif table.unmatched == "keep":
            result.append(clip)
        else:
            unmatched.append(clip.path)
    if unmatched and table.unmatched == "error":
        raise MarathonError(
            f"{path}: has no row for {unmatched[0]} ({len(unmatched)} of {len(all_clips)} clips)"
        )
    return result


def keyed_lines(path: Path, table: RecipeTable) -> dict[str, Line]:
    """Return a table's rows by key. Raises MarathonError if two rows of one key differ in a column in use."""
    rows: dict[str, Line] = {}
    for line in table_lines(path):
        for column in table.fields.values():
            if column not in line.values:
                raise MarathonError(f"{path}:1: no column '{column}', it has {', '.join(line.values)}")
        key = filled(
            table.key, {name.replace(" ", "_"): cell for name, cell in line.values.items()}, line.where
        )
        values = {column: line.values[column] for column in table.fields.values()}
        first = rows.setdefault(key, Line(line.where, values))
        if first.values != values:
            raise MarathonError(f"{line.where}: gives other values for {key} than {first.where}")
    return rows


def _columns(line: Line, table: RecipeTable) -> dict[str, Any]:
    """Return the fields that the recipe takes from a row; an empty cell of a number gives no field."""
    values = {}
    for name, column in table.fields.items():
        kind, text = table.types.get(name, "text"), line.values[column]
        if text or kind in ("text", "entities"):
            values[name] = parsed_cell(text, kind, line.where)
    return values


def with_transcripts(all_clips: Sequence[SourceClip], root: Path, files: Sequence[str]) -> list[SourceClip]:
    """Add `transcript` to every clip, by file name. Raises MarathonError when one is missing."""
    texts = dict(pair for file in files for pair in transcripts(root / file))
    for clip in all_clips:
        if clip.fields["stem"] not in texts:
            raise MarathonError(f"{root / clip.path}: has no transcript")
    return [clip.knowing(transcript=texts[clip.fields["stem"]]) for clip in all_clips]


def with_events(all_clips: Sequence[SourceClip], events: Events, root: Path) -> list[SourceClip]:
    """Add to every clip `events` (sorted classes), `event_set` (joined with `+`) and `event_seconds` (per class)."""
    seconds: dict[str, dict[str, float]] = {clip.fields["name"]: {} for clip in all_clips}
    lengths = {clip.fields["name"]: clip.seconds for clip in all_clips}
    for file in source_files(root, events.files, "events"):
        for line in table_lines(root / file):
            _note_event(line, events, seconds, lengths)
    return [
        clip.knowing(
            events=sorted(seconds[clip.fields["name"]]),
            event_set="+".join(sorted(seconds[clip.fields["name"]])),
            event_seconds=seconds[clip.fields["name"]],
        )
        for clip in all_clips
    ]


def _note_event(
    line: Line, events: Events, seconds: dict[str, dict[str, float]], lengths: Mapping[str, float]
) -> None:
    missing = {events.filename, events.onset, events.offset, events.label} - line.values.keys()
    if missing:
        raise MarathonError(f"{line.where}: no column '{min(missing)}', it has {', '.join(line.values)}")
    name, label = PurePosixPath(line.values[events.filename]).name, line.values[events.label]
    if name not in seconds or not label:  # a file without events has a line with empty cells
        return
    onset, offset = (
        parsed_cell(line.values[column], "float", line.where) for column in (events.onset, events.offset)
    )
    if not 0 <= onset < offset <= lengths[name] + 0.05:
        raise MarathonError(
            f"{line.where}: event {onset}-{offset} s is not inside {name} of {lengths[name]:.3f} s"
        )
    seconds[name][label] = seconds[name].get(label, 0.0) + offset - onset
