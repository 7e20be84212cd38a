"""Writes Markdown tables whose cells may hold any text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """Return the text as code in a table's cell, or an empty cell for an empty text."""
    shown = str(text).replace("\n", "⏎")  # a | between backticks is no cell's end
    mark = "``" if "`" in shown else "`"
    return f"{mark}{shown}{mark}" if shown else ""


def words(text: str) -> str:
    """Return a sentence as a table's cell: one line, nothing read as HTML or as the table's own marks."""
    line = " ".join(text.split())
    return line.replace("|", "\\|").replace("<", "&lt;").replace("{", "&#123;").replace("*", "\\*")


def table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; the cells are Markdown already."""
    lines = [titles, ["---"] * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"
