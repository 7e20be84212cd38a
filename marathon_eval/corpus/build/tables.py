"""Reads the text files that corpora have beside their audio; errors name the file and the line.

TAU: https://zenodo.org/records/3819968. VoxCeleb: https://www.robots.ox.ac.uk/~vgg/data/voxceleb/. SLUE:
https://arxiv.org/abs/2111.10367. DESED: https://project.inria.fr/desed/. HAD: https://zenodo.org/records/10377492.
LibriSpeech: https://www.openslr.org/12.
"""

from __future__ import annotations

import ast
import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

from marathon_eval.errors import MarathonError


class Line(NamedTuple):
    """Holds one row of a table, with its file and line (`meta.csv:5`)."""

    where: str
    values: dict[str, str]


class Segment(NamedTuple):
    """Describes a labelled stretch of a HAD clip in seconds; `genuine` is False where fake speech was inserted."""

    start: float
    stop: float
    genuine: bool


class Labelled(NamedTuple):
    """Holds the label line of a HAD clip: its segments in time order, and whether any part of the clip is fake."""

    where: str
    segments: tuple[Segment, ...]
    has_fake: bool


def read_text(path: Path) -> str:
    """Read a corpus's text file, without a byte-order mark. Raises MarathonError."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise MarathonError(f"{path}: no such file; --source must be the corpus's own folder") from None
    except (OSError, UnicodeDecodeError) as error:
        raise MarathonError(f"{path}: cannot read ({error})") from None


def table_lines(path: Path) -> Iterator[Line]:
    """Yield the rows of a CSV or TSV with a header, with spaces stripped from cells. Raises MarathonError.

    The separator is the tab, semicolon or comma that is most frequent in the header.
    """
    lines = read_text(path).split("\n")
    if not lines[0].strip():
        raise MarathonError(f"{path}:1: empty, a header was expected")
    delimiter = max("\t;,", key=lambda mark: (lines[0].count(mark), mark == ","))
    # in a TSV, quotation marks are part of the text
    quoting: Literal[0, 3] = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    reader = csv.reader(lines, delimiter=delimiter, quoting=quoting)
    try:
        names = [name.strip() for name in next(reader)]
        for cells in reader:
            where = f"{path}:{reader.line_num}"
            if not any(cell.strip() for cell in cells):
                continue
            if len(cells) != len(names):
                raise MarathonError(f"{where}: {len(cells)} columns, the header has {len(names)}")
            yield Line(where, {name: cell.strip() for name, cell in zip(names, cells, strict=True)})
    except csv.Error as error:
        raise MarathonError(f"{path}:{reader.line_num}: broken table ({error})") from None


def had_labels(path: Path) -> dict[str, Labelled]:
    """Read the labels of each clip from lines `name 0-1.20-T/1.20-1.56-F/1.56-3.40-T 0`. Raises MarathonError."""
    labels: dict[str, Labelled] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        where = f"{path}:{number}"
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 3 or parts[2] not in ("0", "1"):
            raise MarathonError(f"{where}: expected `name start-end-T/... 0|1`, got {line.strip()[:80]!r}")
        if parts[0] in labels:
            raise MarathonError(f"{where}: {parts[0]} was already labelled in {labels[parts[0]].where}")
        segments = sorted(_segment(text, where) for text in parts[1].split("/"))
        labels[parts[0]] = Labelled(where, tuple(segments), parts[2] == "0")
    return labels


def _segment(text: str, where: str) -> Segment:
    start, _, rest = text.partition("-")
    stop, _, mark = rest.partition("-")
    try:
        segment = Segment(float(start), float(stop), mark == "T")
    except ValueError:
        raise MarathonError(f"{where}: segment {text!r} is not start-end-T or start-end-F") from None
    if mark not in ("T", "F") or not 0 <= segment.start < segment.stop:
        raise MarathonError(f"{where}: segment {text!r} is not start-end-T or start-end-F with start < end")
    return segment


def transcripts(path: Path) -> Iterator[tuple[str, str]]:
    """Yield clip name and text from lines `1089-134686-0000 HE HOPED THERE WOULD BE STEW`. Raises MarathonError."""
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if line.strip():
            name, _, text = line.strip().partition(" ")
            if not text.strip():
                raise MarathonError(f"{path}:{number}: {name} has no text")
            yield name, text.strip()


def parsed_cell(text: str, kind: str, where: str) -> Any:
    """Convert a cell to the recipe's type: text, int, float or entities. Raises MarathonError.

    `entities` reads a list of [type, start, length], such as `[['GPE', 4, 6]]`, and returns the types.
    """
    try:
        return _PARSERS[kind](text)
    except (ValueError, SyntaxError, TypeError, IndexError, OverflowError, RecursionError):
        raise MarathonError(f"{where}: {text[:80]!r} cannot be read as {kind}") from None


def _entities(text: str) -> list[str]:
    if text in ("", "None", "nan", "[]"):
        return []
    items = ast.literal_eval(text)  # accepts literals only, no names and no calls
    if not isinstance(items, list) or not all(isinstance(item[0], str) for item in items):
        raise ValueError
    return [item[0] for item in items]


_PARSERS: dict[str, Callable[[str], Any]] = {
    "text": str,
    "int": lambda text: int(float(text)),
    "float": float,
    "entities": _entities,
}
