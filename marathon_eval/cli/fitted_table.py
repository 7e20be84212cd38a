"""Prints a table that fits the terminal without cutting or hiding a cell, however narrow the terminal is.

A table that is too wide first breaks long names over two lines, then is split by columns: each part repeats the columns
that name a row, and says that more columns follow. Where that makes too many parts, every row becomes a
block of lines.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import wrap
from typing import TYPE_CHECKING

from marathon_eval.cli.plain_output import plain_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

#: Characters per line below which a long name is not broken.
LEAST_NAME_WIDTH = 11
#: A table in more parts is harder to read than a block of lines per row.
MOST_PARTS = 3
CONTINUED = "more columns of the same rows:"


def table_console(width_of_a_pipe: int) -> Console:
    """Return a console on standard output, as wide as the terminal or, in a pipe, `width_of_a_pipe` characters.

    $COLUMNS sets another width. Text that looks like rich markup is printed as it is, and control characters are
    escaped, because names come from files.
    """
    return plain_console(width=None if _has_width() else width_of_a_pipe)


def _has_width() -> bool:
    """Whether the output has a width of its own: a terminal's, or that of $COLUMNS."""
    given = os.environ.get("COLUMNS", "")
    return sys.stdout.isatty() or (given.isdecimal() and int(given) > 0)


def print_sentences(console: Console, text: str) -> None:
    """Print the lines around a table, wrapped at words to the width of the output; in a pipe without one as they are.

    A word that is wider, such as a path, is not broken.
    """
    if _has_width():
        text = "\n".join(_wrapped(line, console.width) for line in text.split("\n"))
    console.print(text, markup=False, highlight=False, soft_wrap=True)


def _wrapped(line: str, width: int) -> str:
    """Return a line in parts, each with the indent of the first. rich would break or cut a word that is too wide."""
    indent = line[: len(line) - len(line.lstrip(" "))]
    parts = wrap(line, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    return "\n".join(parts) or line


@dataclass
class FittedTable:
    """Holds a table as text. The first `n_keys` of the `n_text` left-aligned columns name a row."""

    headings: Sequence[str]
    n_text: int
    n_keys: int
    title: str = ""
    #: Rows in sections, which a blank line separates.
    sections: list[list[list[str]]] = field(default_factory=lambda: [[]])

    def add_row(self, *cells: str) -> None:
        """Add a row; cells that are not given are empty. An empty key is that of the row above."""
        self.sections[-1].append([*cells, *[""] * (len(self.headings) - len(cells))])

    def add_section(self) -> None:
        """End a section."""
        if self.sections[-1]:
            self.sections.append([])

    @property
    def rows(self) -> list[list[str]]:
        """The rows of all sections."""
        return [row for section in self.sections for row in section]

    def print(self, console: Console) -> None:
        """Print the title and the table in the first form that fits the console's width."""
        if self.title:
            console.print(self.title, style="italic", highlight=False, soft_wrap=True)
        parts = self._parts(console.width)
        for place, columns in enumerate(parts):
            if place:
                console.print(CONTINUED, style="italic", highlight=False)
            console.print(self._part(columns, self._fitted(columns, console.width)), highlight=False)
        if not parts:
            for line in self._blocks():
                console.print(line, highlight=False, soft_wrap=True)

    def widths(self) -> list[int]:
        """Return the characters of each column's widest cell or heading."""
        from rich.cells import cell_len

        lines = [list(self.headings), *self.rows]
        return [max(cell_len(row[place]) for row in lines) for place in range(len(self.headings))]

    def _fitted(self, columns: Sequence[int], width: int) -> dict[int, int] | None:
        """Return the widths of these columns, with names broken where they must be; None if they do not fit."""
        natural = self.widths()
        fitted = {place: natural[place] for place in columns}
        # rich draws two spaces before each column, and one at the right edge
        while (excess := sum(fitted.values()) + 2 * len(fitted) + 1 - width) > 0:
            widest = max((place for place in columns if place < self.n_text), key=lambda place: fitted[place])
            if fitted[widest] <= LEAST_NAME_WIDTH:
                return None
            fitted[widest] = max(LEAST_NAME_WIDTH, fitted[widest] - excess)
        return fitted

    def _parts(self, width: int) -> list[list[int]]:
        """Return the columns of each part: keys and as many others as fit. Empty if these are too many."""
        keys = list(range(self.n_keys))
        parts: list[list[int]] = [list(keys)]
        for place in range(self.n_keys, len(self.headings)):
            if self._fitted([*parts[-1], place], width):
                parts[-1].append(place)
            elif self._fitted([*keys, place], width):
                parts.append([*keys, place])
            else:
                return []
        parts = [part for part in parts if part != keys]
        return parts if len(parts) <= MOST_PARTS else []

    def _part(self, columns: Sequence[int], widths: dict[int, int] | None) -> Table:
        from rich import box
        from rich.table import Table

        table = Table(box=box.SIMPLE_HEAD, padding=(0, 0, 0, 1))
        for place in columns:
            table.add_column(
                self.headings[place],
                width=None if widths is None else widths[place],
                overflow="fold",
                justify="left" if place < self.n_text else "right",
            )
        for section in self.sections:
            for row in section:
                table.add_row(*(row[place] for place in columns))
            if any(len(section) > 1 for section in self.sections):
                table.add_section()
        return table

    def _blocks(self) -> Iterator[str]:
        """Yield each row as `key key` and a line per filled cell."""
        keys = [""] * self.n_keys
        for row in self.rows:
            keys = [row[place] or (keys[place] if place == 0 else "") for place in range(self.n_keys)]
            yield " ".join(filter(None, keys))
            for place in range(self.n_keys, len(row)):
                if row[place]:
                    yield f"  {self.headings[place]}: {row[place]}"
