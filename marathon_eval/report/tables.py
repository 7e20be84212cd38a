"""A leaderboard as Markdown, LaTeX or JSON; names are escaped for where they go."""

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
    """Without line breaks, control characters and marks that turn the direction of what follows."""
    return _CONTROL.sub(" ", text)


def for_markdown(text: str) -> str:
    """Text that no Markdown renderer takes for markup, nor for HTML."""
    text = one_line(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*\[\]|~])", r"\\\1", text)


def for_latex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in one_line(text))


def markdown(board: Board, intervals: bool = False) -> str:
    """The table as GitHub renders it; runs in bold."""

    def name(row: LeaderboardRow) -> str:
        text = for_markdown(row.name)
        return f"**{text}**" if row.kind == "run" else text

    headings = ["model", *(for_markdown(column.short) for column in board.columns)]
    lines = _grid(board, headings, lambda score: cell_text(score, intervals), name)
    marks = ["---", *(["---:"] * (len(lines[0]) - 1))]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    return table + (f"\n\n{INCOMPLETE_NOTE}" if _any_incomplete(board) else "") + "\n"


def latex(board: Board, intervals: bool = False) -> str:
    r"""A tabular with booktabs rules; needs \usepackage{booktabs}."""

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
    """Columns and rows with unrounded numbers."""
    return {
        "columns": [asdict(column) for column in board.columns],
        "rows": [{**asdict(row), "average": row.average and asdict(row.average)} for row in board.rows],
    }


def champions_markdown(champions: Iterable[Champion]) -> str:
    """One line per category: what it holds, the published champion, the best run, and the reference."""
    lines = [
        "| category | tasks | published champion | best run | reference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for champion in champions:
        found = [champion.published, champion.run, champion.reference]
        texts = ["" if pair is None else f"{for_markdown(pair[0])} {pair[1]:.1f}" for pair in found]
        lines.append("| " + " | ".join([champion.group, ", ".join(champion.columns), *texts]) + " |")
    return "\n".join(lines) + "\n"


def cell_text(score: Score | None, intervals: bool) -> str:
    """`70.5`, `70.5 [68.1, 72.9]`, `70.5†`, or a dash where there is no score."""
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
