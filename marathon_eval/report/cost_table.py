"""Formats what a sweep's presses cost as Markdown or LaTeX: differences to no press with intervals, stars and numbers of rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from marathon_eval.report.cost import CostsByTask, PressCost, costs_fall
from marathon_eval.report.tables import LATEX_LOWER, STAR, for_latex, for_markdown
from marathon_eval.results.directions import LOWER, LOWER_NOTE, marked

COSTS_NOTE = (
    "Difference to no press, in points, paired by document, with its 95 % interval; n: documents that both answered. Star: p below "
    "0.05 after Holm's correction; of graded answers, which have no p, the 95 % interval leaves out 0. Bold: best of the presses at its "
    "ratio, where one is worse."
)

_Key = tuple[str, float, str]


class _Format(NamedTuple):
    """Says how one format writes text, a signed number, bold, a star and the mark of a falling score."""

    escaped: Callable[[str], str]
    signed: Callable[[float], str]
    bold: str
    star: str
    lower: str


def signed_latex(number: float) -> str:
    """Return a number with its sign and one digit, with a minus as long as a plus."""
    return f"{number:+.1f}".replace("-", "$-$")


_MARKDOWN = _Format(for_markdown, lambda number: f"{number:+.1f}", "**{}**", r"\*", LOWER)
_LATEX = _Format(for_latex, signed_latex, r"\textbf{{{}}}", STAR, LATEX_LOWER)


def costs_markdown(costs: CostsByTask) -> str:
    """Return a Markdown table of what presses cost, marked as in LaTeX; an empty text without any."""
    if not costs:
        return ""
    lines = _grid(costs, _MARKDOWN)
    marks = ["---", *(["---:"] * (len(lines[0]) - 1))]
    table = "\n".join("| " + " | ".join(line) + " |" for line in [lines[0], marks, *lines[1:]])
    return f"{_note(costs)}\n\n{table}\n"


def costs_latex(costs: CostsByTask) -> str:
    r"""Return a LaTeX tabular of what presses cost, in points, a row per press and ratio; an empty text without any.

    A star marks a difference by its p (`cost.starred`); where presses of a ratio differ, the best is bold.
    """
    if not costs:
        return ""
    lines = [" & ".join(line) + r" \\" for line in _grid(costs, _LATEX)]
    body = [
        rf"\begin{{tabular}}{{lr{'r' * len(costs)}}}",
        r"\toprule",
        lines[0],
        r"\midrule",
        *lines[1:],
        r"\bottomrule",
    ]
    return "\n".join([f"% {_note(costs)}", *body, r"\end{tabular}", ""])


def _note(costs: CostsByTask) -> str:
    return f"{COSTS_NOTE} {LOWER_NOTE}" if any(costs_fall(costs[task]) for task in costs) else COSTS_NOTE


def _grid(costs: CostsByTask, form: _Format) -> list[list[str]]:
    """Return the cells of the table, its head first."""
    cells: dict[_Key, PressCost] = {
        (name, cost.ratio, task): cost
        for task in costs
        for name, found in costs[task].items()
        for cost in found
    }
    best = _best(cells)
    of_all = {task: _common_n(costs, task) for task in costs}
    rows = sorted({key[:2] for key in cells}, key=lambda row: (row[0], row[1]))

    def text(key: _Key) -> str:
        cost = cells.get(key)
        if cost is None:
            return "--"
        number = form.signed(cost.points)
        shown = (form.bold.format(number) if key in best else number) + (form.star if cost.starred else "")
        if cost.low is not None and cost.high is not None:
            shown += f" [{form.signed(cost.low)}, {form.signed(cost.high)}]"
        return shown if of_all[key[2]] is not None or cost.n is None else f"{shown} n={cost.n}"

    def head(task: str) -> str:
        n = of_all[task]
        name = form.escaped(task) if n is None else f"{form.escaped(task)} (n={n})"
        return marked(name, costs_fall(costs[task]), form.lower)

    return [
        ["press", "ratio", *map(head, costs)],
        *(
            [form.escaped(name), f"{ratio:g}", *(text((name, ratio, task)) for task in costs)]
            for name, ratio in rows
        ),
    ]


def _best(cells: Mapping[_Key, PressCost]) -> set[_Key]:
    """Return the cells that are best among the presses of their ratio and task, and better than one of them."""
    gains = {key: cost.gain for key, cost in cells.items()}
    rivals: dict[tuple[float, str], list[float]] = {}
    for key, gain in gains.items():
        rivals.setdefault(key[1:], []).append(gain)
    return {key for key, gain in gains.items() if gain == max(rivals[key[1:]]) > min(rivals[key[1:]])}


def _common_n(costs: CostsByTask, task: str) -> int | None:
    """Return the number of documents if it is that of every cell of the task, else None."""
    counts = {cost.n for found in costs[task].values() for cost in found}
    return counts.pop() if len(counts) == 1 else None
