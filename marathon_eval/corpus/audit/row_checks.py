"""Checks rows against their audio and against their other columns; each check is a pure function that yields faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median

from marathon_eval.corpus.audit.checks import (
    FEW_ROWS,
    P_VALUE,
    independence_p,
    plain_label,
)
from marathon_eval.corpus.audit.decode import DecodedFile
from marathon_eval.corpus.audit.fault import Fault
from marathon_eval.corpus.audit.survey import SurveyRow

#: A column is a label if it agrees with the answer in this share of the rows; the others contradict it.
AGREES = 0.9
LABELLED_ROWS = 10
#: A transcript is far too short below both limits: characters a second, and a share of the task's median.
SPARSE_PER_SECOND, SPARSE_SHARE = 2.0, 0.25
SPARSE_SECONDS, SPARSE_ROWS = 10.0, 3
#: However the others are: in a minute or more, fewer than 12 characters a minute of sound. The slowest speech has some
#: 120 letters a minute, and 60 characters in languages that are written without spaces.
LEAST_PER_SECOND, LEAST_SECONDS = 0.2, 60.0


def row_audio_faults(
    task: str, rows: Sequence[SurveyRow], heard: Mapping[Path, DecodedFile], place: str
) -> Iterator[Fault]:
    """Yield faults of rows whose audio was decoded: stretches, clips twice, transcripts, and rates that tell the class."""
    for row in rows:
        yield from stretch_faults(row, heard)
        yield from repeated_clips(row, heard)
    yield from short_references(task, rows, heard)
    yield from telling_rates(task, rows, heard, place)


def stretch_faults(row: SurveyRow, heard: Mapping[Path, DecodedFile]) -> Iterator[Fault]:
    """Yield stretches that are not inside their file."""
    for clip in row.clips:
        file = heard.get(Path(clip.path))
        if file is None or file.error is not None:
            continue
        end = file.seconds if clip.stop is None else clip.stop
        if not (0 <= clip.start < end <= file.seconds + 1 / max(1, file.rate)):
            seen = (
                f"{clip.start:g}-{'end' if clip.stop is None else f'{clip.stop:g}'} s of {file.seconds:.3f} s"
            )
            yield Fault("stretch_outside", row.task, row.where, seen)


def repeated_clips(row: SurveyRow, heard: Mapping[Path, DecodedFile]) -> Iterator[Fault]:
    """Yield rows that hold the same sound twice."""
    sounds = Counter(
        (file.sha256 if file is not None and file.sha256 else clip.path, clip.start, clip.stop)
        for clip in row.clips
        for file in [heard.get(Path(clip.path))]
    )
    if any(count > 1 for count in sounds.values()):
        yield Fault("repeated_clip", row.task, row.where, f"the same sound twice: {row.written}")


def short_references(
    task: str, rows: Sequence[SurveyRow], heard: Mapping[Path, DecodedFile]
) -> Iterator[Fault]:
    """Yield transcripts that are far too short for their audio: beside the others of the task, or for any speech."""
    paces = [
        (row, len(row.reference.strip()) / seconds, seconds)
        for row in rows
        if row.reference and (seconds := _seconds(row, heard)) >= SPARSE_SECONDS
    ]
    usual = median(pace for _, pace, _ in paces) if len(paces) >= SPARSE_ROWS else 0.0
    for row, pace, seconds in paces:
        seen = f"{len((row.reference or '').strip())} characters for {seconds:.1f} s"
        if pace < min(SPARSE_PER_SECOND, SPARSE_SHARE * usual):
            yield Fault("short_reference", task, row.where, f"{seen}, others have {usual:.1f} a second")
        elif pace * seconds < LEAST_PER_SECOND * _sounding(row, heard, seconds):
            yield Fault("short_reference", task, row.where, f"{seen}, less than the slowest speech has")


def _sounding(row: SurveyRow, heard: Mapping[Path, DecodedFile], seconds: float) -> float:
    """Return the seconds without the longest silence of each file; 0 where they are too few to say anything."""
    files = {Path(clip.path) for clip in row.clips} or {row.audio or Path()}
    left = seconds - sum(heard[path].silence_seconds for path in files if path in heard)
    return left if left >= LEAST_SECONDS else 0.0


def _seconds(row: SurveyRow, heard: Mapping[Path, DecodedFile]) -> float:
    """Return the seconds of a row's audio, 0 where a length is unknown."""
    if row.clips:
        ends = [
            (heard[Path(clip.path)].seconds if clip.stop is None else clip.stop) - clip.start
            for clip in row.clips
            if Path(clip.path) in heard
        ]
        return sum(ends) if len(ends) == len(row.clips) else 0.0
    file = heard.get(row.audio) if row.audio is not None else None
    return file.seconds if file is not None else 0.0


def telling_rates(
    task: str, rows: Sequence[SurveyRow], heard: Mapping[Path, DecodedFile], place: str
) -> Iterator[Fault]:
    """Yield sample rates and channel counts from which the class can be guessed."""
    known = [
        (row.label, heard[row.audio])
        for row in rows
        if row.label is not None and row.audio is not None and row.audio in heard and heard[row.audio].rate
    ]
    classes = {label for label, _ in known}
    if len(known) < FEW_ROWS or not 1 < len(classes) <= len(known) / 5:
        return
    for what, values in (
        ("sample rate", [(label, file.rate) for label, file in known]),
        ("number of channels", [(label, file.channels) for label, file in known]),
    ):
        kinds = {value for _, value in values}
        if len(kinds) > 1 and independence_p(Counter(values)) < P_VALUE:
            seen = f"{what} and class depend on each other: {', '.join(map(str, sorted(kinds)))}"
            yield Fault("rate_tells_class", task, place, seen)


def label_faults(task: str, rows: Sequence[SurveyRow]) -> Iterator[Fault]:
    """Yield rows whose answer contradicts the column that gives the class of the others."""
    answered = [row for row in rows if row.answer is not None and row.fields]
    if len(answered) < LABELLED_ROWS:
        return
    for column in sorted(_label_columns(answered)):
        agreeing = Counter(plain_label(str(row.fields[column])) for row in answered if _names(row, column))
        for row in answered:
            if row.fields.get(column) is None or row.answer in _places(row, column):
                continue
            label = plain_label(str(row.fields[column]))
            seen = f"{column} is {row.fields[column]!r}, the answer {row.options[row.answer or 0]!r}"
            yield Fault("gold_not_label" if label in agreeing else "unknown_class", task, row.where, seen)


def _label_columns(rows: Sequence[SurveyRow]) -> Iterator[str]:
    """Yield the columns of text that agree with the answers in nearly all rows, and have more than one value."""
    columns = {
        name for row in rows for name, value in row.fields.items() if isinstance(value, str) and value.strip()
    }
    for column in columns:
        if any(column in row.gold_columns for row in rows):
            continue
        agreeing = [row for row in rows if _names(row, column)]
        values = {row.fields[column] for row in agreeing}
        if AGREES * len(rows) <= len(agreeing) and len(values) > 1:
            yield column


def _names(row: SurveyRow, column: str) -> bool:
    """Return whether the column's text stands in the right option, and in none of the others."""
    return row.answer is not None and _places(row, column) == [row.answer]


def _places(row: SurveyRow, column: str) -> list[int]:
    """Return the options in which the column's text stands as whole words."""
    value = row.fields.get(column)
    if not isinstance(value, str) or not value.strip():
        return []
    pattern = re.compile(rf"(?<!\w){re.escape(plain_label(value))}(?!\w)")
    return [place for place, text in enumerate(row.options) if pattern.search(plain_label(text))]
