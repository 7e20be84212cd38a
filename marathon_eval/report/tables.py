"""Formats a leaderboard as Markdown, LaTeX or JSON, and escapes names for each format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Any

from marathon_eval.report.leaderboard import Board, Champion, LeaderboardRow, Score

INCOMPLETE = "†"
INCOMPLETE_NOTE = f"{INCOMPLETE} incomplete: not every row was scored."
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]+")


def one_line(text: str) -> str:
    """Replace line breaks, control characters and text-direction marks by spaces."""
    return _CONTROL.sub(" ", text)


def for_markdown(text: str) -> str:
    """Escape the text so that no Markdown renderer reads it as markup or HTML."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", text)


def for_latex(text: str) -> str:
    """Escape the text so that LaTeX prints it literally."""
    return "".join(_LATEX.get(letter, letter) for letter in one_line(text))


def markdown(board: Board, intervals: bool = False) -> str:
    """Return the leaderboard as a Markdown table for GitHub; runs are in bold."""

    def name(row: LeaderboardRow) -> str:
        text = for_markdown(row.name)
        return f"**{text}**" if row.kind == "run" else text

    headings = ["model", *(for_markdown(column.short) for column in board.columns)]
    lines = _grid(board, headings, lambda score: cell_text(score, intervals), name)
    marks = ["---", *(["---:"] * (len(lines[0]) - 1))]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    return table + (f"\n\n{INCOMPLETE_NOTE}" if _any_incomplete(board) else "") + "\n"


def latex(board: Board, intervals: bool = False) -> str:
    r"""Return the leaderboard as a LaTeX tabular with booktabs rules; it needs \usepackage{booktabs}."""

    def number(score: Score | None) -> str:
        return cell_text(score, intervals).replace(INCOMPLETE, r"$^\dagger$").replace("–", "--")

    headings = ["model", *(for_latex(column.short) for column in board.columns)]
    lines = [
        " & ".join(line) + r" \\" for line in _grid(board, headings, number, lambda r: for_latex(r.name))
    ]
    columns = "l" + "r" * (len(board.columns) + board.averaged)
    body = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
    ]
    return "\n".join([*body, r"\end{tabular}", ""])


def table_as_json(board: Board) -> dict[str, Any]:
    """Return the leaderboard's columns and rows with unrounded numbers."""
    return {
        "columns": [asdict(column) for column in board.columns],
        "rows": [{**asdict(row), "average": row.average and asdict(row.average)} for row in board.rows],
    }


def champions_markdown(champions: Iterable[Champion]) -> str:
    """Return a Markdown table of the best published model, run and reference of each category."""
    lines = [
        "| category | tasks | published champion | best run | reference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for champion in champions:
        best = [champion.published, champion.run, champion.reference]
        texts = ["" if pair is None else f"{for_markdown(pair[0])} {pair[1]:.1f}" for pair in best]
        lines.append("| " + " | ".join([champion.group, ", ".join(champion.columns), *texts]) + " |")
    return "\n".join(lines) + "\n"


def cell_text(score: Score | None, intervals: bool) -> str:
    """Return `70.5`, `70.5 [68.1, 72.9]`, `70.5†` (incomplete), or a dash if there is no score."""
    if score is None:
        return "–"
    text = f"{score.value:.1f}" + ("" if score.whole else INCOMPLETE)
    if intervals and score.low is not None and score.high is not None:
        text += f" [{score.low:.1f}, {score.high:.1f}]"
    return text


def _grid(
    board: Board,
    headings: Sequence[str],
    number: Callable[[Score | None], str],
    name: Callable[[LeaderboardRow], str],
) -> list[list[str]]:
    lines = [[*headings, "Avg"] if board.averaged else list(headings)]
    for row in board.rows:
        line = [name(row), *(number(row.scores.get(column.task)) for column in board.columns)]
        lines.append([*line, number(row.average)] if board.averaged else line)
    return lines


def _any_incomplete(board: Board) -> bool:
    return any(not score.whole for row in board.rows for score in row.scores.values())
