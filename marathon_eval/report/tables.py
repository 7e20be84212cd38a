"""Formats a leaderboard as Markdown, LaTeX or JSON, and escapes names for each format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from marathon_eval.report.leaderboard import Board, Champion, LeaderboardRow, Score
from marathon_eval.report.listening import Listening, ListeningScore
from marathon_eval.report.published import PublishedColumn
from marathon_eval.report.runs import ReportRun
from marathon_eval.results.directions import LOWER, LOWER_NOTE, marked

INCOMPLETE = "†"
LATEX_LOWER = r"$\downarrow$"
PARTIAL_NOTE = "n: rows scored, where these are not all rows of the task."
LISTENING_NOTE = "Listening: score minus control, paired by document, with its 95 % interval."
INCOMPLETE_NOTE = f"{INCOMPLETE} incomplete: not every row was scored."
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{letter: "\\" + letter for letter in "&%$#_{}"},
}
STAR = "$^{*}$"
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

    headings = _headings(board, for_markdown, LOWER)
    lines = _grid(board, headings, lambda score: cell_text(score, intervals), name)
    marks = ["---", *(["---:"] * (len(lines[0]) - 1))]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    below = [*map(for_markdown, short_names(board.columns)), *map(for_markdown, unnamed_notes(board))]
    return "\n\n".join([table, *board_notes(board), *below]) + "\n"


def latex(board: Board, intervals: bool = False) -> str:
    r"""Return the leaderboard as a LaTeX tabular with booktabs rules; it needs \usepackage{booktabs}.

    Of several runs the best of a column is bold.
    """

    def number(score: Score | None) -> str:
        return cell_text(score, intervals).replace(INCOMPLETE, r"$^\dagger$").replace("–", "--")

    headings = _headings(board, for_latex, LATEX_LOWER)
    grid = _grid(board, headings, number, lambda r: for_latex(r.name))
    for place, column in enumerate(board.columns, 1):
        _embolden(grid, board, place, column.task)
    lines = [" & ".join(line) + r" \\" for line in grid]
    columns = "l" + "r" * (len(board.columns) + board.averaged)
    body = [
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
    ]
    if any(LATEX_LOWER in heading for heading in headings):
        body.append(
            rf"\multicolumn{{{len(columns)}}}{{l}}{{\footnotesize {LATEX_LOWER}: lower is better}} \\"
        )
    meaning = [one_line(f"% {line}") for line in short_names(board.columns)]
    return "\n".join([*meaning, *body, r"\end{tabular}", ""])


def short_names(columns: Sequence[PublishedColumn]) -> list[str]:
    """Return a line such as `Columns are tasks: MC = gtzan.`, or none where the heads are the tasks' own names."""
    short = [f"{column.short} = {column.task}" for column in columns if column.short != column.task]
    return [f"Columns are tasks: {', '.join(short)}."] if short else []


def _embolden(grid: list[list[str]], board: Board, place: int, task: str) -> None:
    runs = [(number, row.scores.get(task)) for number, row in enumerate(board.rows, 1) if row.kind == "run"]
    scores = {number: -score.value if score.falls else score.value for number, score in runs if score}
    if len(scores) > 1:
        for number, value in scores.items():
            if value == max(scores.values()):
                grid[number][place] = rf"\textbf{{{grid[number][place]}}}"


def table_as_json(board: Board, heard: Sequence[Listening] = ()) -> dict[str, Any]:
    """Return the leaderboard's columns and rows, and score minus control, with unrounded numbers."""
    return {
        "listening": [asdict(entry) for entry in heard],
        "columns": [asdict(column) for column in board.columns],
        "rows": [{**asdict(row), "average": row.average and asdict(row.average)} for row in board.rows],
    }


def listening_markdown(entries: Sequence[Listening], columns: Sequence[PublishedColumn]) -> str:
    """Return a Markdown table of score minus control, one row per run and control; an empty text without any."""
    if not entries:
        return ""
    lines = _listening_grid(entries, columns, for_markdown, LOWER)
    marks = ["---", "---", *(["---:"] * (len(lines[0]) - 2))]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    gaps = map(for_markdown, listening_gaps(entries))
    return "\n\n".join([LISTENING_NOTE, table, *_lower_note(lines[0], LOWER), *gaps]) + "\n"


def listening_latex(entries: Sequence[Listening], columns: Sequence[PublishedColumn]) -> str:
    r"""Return a LaTeX tabular of score minus control; an empty text without any."""
    if not entries:
        return ""
    grid = _listening_grid(entries, columns, for_latex, LATEX_LOWER)
    lines = [" & ".join(line) + r" \\" for line in grid]
    shape = "ll" + "r" * (len(grid[0]) - 2)
    body = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", lines[0], r"\midrule", *lines[1:], r"\bottomrule"]
    notes = [LISTENING_NOTE, *_lower_note(grid[0], LATEX_LOWER)]
    return "\n".join([*(f"% {note}" for note in notes), *body, r"\end{tabular}", ""])


def _lower_note(headings: Sequence[str], lower: str) -> list[str]:
    """Return what the mark `lower` means, if one of the heads has it."""
    return [LOWER_NOTE] if any(heading.endswith(f" {lower}") for heading in headings) else []


def _listening_grid(
    entries: Sequence[Listening],
    columns: Sequence[PublishedColumn],
    escaped: Callable[[str], str],
    lower: str,
) -> list[list[str]]:
    tasks = [column for column in columns if any(column.task in entry.scores for entry in entries)]
    return [
        [
            *("listening", "control"),
            *(
                marked(escaped(column.short), listening_falls(entries, column.task), lower)
                for column in tasks
            ),
        ],
        *(
            [
                escaped(entry.run),
                escaped(entry.control),
                *(listening_text(entry.scores.get(column.task)) for column in tasks),
            ]
            for entry in entries
        ),
    ]


def listening_falls(entries: Iterable[Listening], task: str) -> bool:
    """Return whether a lower score of the task is better, so that what is heard lowers it."""
    return any(score.falls for entry in entries if (score := entry.scores.get(task)) is not None)


def listening_text(score: ListeningScore | None) -> str:
    """Return `+34.2 [28.1, 40.3] n=200`, with the number of paired documents, or a dash without a value."""
    if score is None or score.value is None:
        return "–"
    interval = f" [{score.no_interval}]" if score.no_interval else ""
    if score.low is not None and score.high is not None:
        interval = f" [{score.low:+.1f}, {score.high:+.1f}]"
    return f"{score.value:+.1f}{interval} n={score.n}"


def listening_gaps(entries: Iterable[Listening]) -> list[str]:
    """Return a line for each score without a value, with the reason."""
    return [
        f"No listening of {entry.run}, {task}, {entry.control}: {score.reason}"
        for entry in entries
        for task, score in entry.scores.items()
        if score.value is None
    ]


def champions_markdown(champions: Iterable[Champion], columns: Sequence[PublishedColumn] = ()) -> str:
    """Return a Markdown table of the best published model, run and reference of each category.

    Below it stand the names of the tasks that `columns` shorten.
    """
    lines = [
        "| category | tasks | published champion | best run | reference |",
        "| --- | --- | --- | --- | --- |",
    ]
    for champion in champions:
        best = [champion.published, champion.run, champion.reference]
        texts = ["" if pair is None else f"{for_markdown(pair[0])} {pair[1]:.1f}" for pair in best]
        lines.append("| " + " | ".join([champion.group, ", ".join(champion.columns), *texts]) + " |")
    return "\n\n".join(["\n".join(lines), *map(for_markdown, short_names(columns))]) + "\n"


def cell_text(score: Score | None, intervals: bool) -> str:
    """Return `70.5`, `70.5 [68.1, 72.9]`, `70.5†` (incomplete), `70.5 n=2 of 9`, or a dash if there is no score."""
    if score is None:
        return "–"
    text = f"{score.value:.1f}" + ("" if score.whole else INCOMPLETE)
    if intervals and score.low is not None and score.high is not None:
        text += f" [{score.low:.1f}, {score.high:.1f}]"
    elif intervals and score.no_interval:
        text += f" [{score.no_interval}]"
    return text + ("" if score.n is None else f" {rows_text(score)}")


def rows_text(score: Score) -> str:
    """Return `n=2 of 9`, or `n=9` for all rows of another subset than the task's own."""
    return f"n={score.n}" + ("" if score.n == score.full_n else f" of {score.full_n}")


def _headings(board: Board, escaped: Callable[[str], str], lower: str) -> list[str]:
    """Return the heads of a leaderboard's columns, those of error rates with the mark `lower`."""
    heads = [marked(escaped(column.short), board.falls(column.task), lower) for column in board.columns]
    average = [marked("Avg", board.average_falls, lower)] if board.averaged else []
    return ["model", *heads, *average]


def _grid(
    board: Board,
    headings: Sequence[str],
    number: Callable[[Score | None], str],
    name: Callable[[LeaderboardRow], str],
) -> list[list[str]]:
    lines = [list(headings)]
    for row in board.rows:
        line = [name(row), *(number(row.scores.get(column.task)) for column in board.columns)]
        lines.append([*line, number(row.average)] if board.averaged else line)
    return lines


def unnamed_notes(board: Board) -> list[str]:
    """Return a sentence on the tasks that have no score because their files name no headline."""
    if not board.without_headline:
        return []
    return [
        f"No score in {', '.join(board.without_headline)}: the task names no headline (the key headline of its file)."
    ]


def displaced_notes(cells: Iterable[ReportRun]) -> list[str]:
    """Return a line for each task of a run that stands in the place of runs with another headline."""
    notes = []
    for cell in cells:
        for task, headlines in cell.displaced.items():
            shown = cell.tasks[task].headline
            # of headlines that differ in nothing else, the scale is told
            scaled = shown is not None and any(_named(shown) == _named(headline) for headline in headlines)
            others = dict.fromkeys(_named(headline, scaled) or "none" for headline in headlines)
            runs = "1 run" if len(headlines) == 1 else f"{len(headlines)} runs"
            notes.append(
                f"{cell.label}: {task} is shown by {_named(shown, scaled) or 'a run without a headline'}, in the place of "
                f"{runs} with another headline ({', '.join(others)}); give the folder of each run to see all"
            )
    return notes


def _named(headline: Mapping[str, Any] | None, scaled: bool = False) -> str:
    """Return `strict accuracy`, with its scale if `scaled`; an empty text without a headline."""
    if headline is None:
        return ""
    scale = f" with scale {headline.get('scale', 1.0):g}" if scaled else ""
    return f"{headline['reading']} {headline['metric']}{scale}"


def board_notes(board: Board) -> list[str]:
    """Return the explanations of the marks that occur in the table."""
    scores = [score for row in board.rows for score in row.scores.values()]
    incomplete = [INCOMPLETE_NOTE] if any(not score.whole for score in scores) else []
    lower = [LOWER_NOTE] if any(score.falls for score in scores) else []
    return [*incomplete, *([PARTIAL_NOTE] if any(score.n is not None for score in scores) else []), *lower]
