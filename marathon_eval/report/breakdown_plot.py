"""Draws a breakdown: confusion, answer letters, accuracy by duration, class and the task's breakdown columns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from marathon_eval.report.svg import INK, LINE, SERIES, drawing
from marathon_eval.report.tables import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from marathon_eval.report.breakdown import Breakdown, Share

#: The height of a bar with its name.
LEAST_BAR_INCHES = 0.18
Panel = Callable[["Axes"], None]


def breakdown_plot(parts: Breakdown, title: str) -> Figure | None:
    """Draw the panels that apply side by side; return None if none applies."""
    panels: list[Panel] = []
    if parts.labels:
        panels.append(lambda axes: _confusion(axes, parts))
    if parts.letters:
        panels.append(lambda axes: _letters(axes, parts.letters))
    if parts.by_duration:
        panels.append(lambda axes: _shares(axes, parts.by_duration, "accuracy by clip duration"))
    if parts.by_class:
        panels.append(lambda axes: _shares(axes, parts.by_class, "accuracy by gold label"))
    for name, shares in parts.by_field.items():
        panels.append(partial(_shares, shares=shares, title=f"accuracy by {_short(name)}"))
    if not panels:
        return None
    most = max(map(len, (parts.by_class, *parts.by_field.values())))
    with drawing() as new_figure:
        figure = new_figure(3.6 * len(panels), max(3.4, LEAST_BAR_INCHES * most))
        for panel, axes in zip(panels, figure.subplots(1, len(panels), squeeze=False)[0], strict=True):
            panel(axes)
        figure.suptitle(one_line(title), fontsize=10)
        return figure


def _confusion(axes: Axes, parts: Breakdown) -> None:
    rows = [[count / max(1, sum(line)) for count in line] for line in parts.confusion]
    axes.imshow(rows, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for y, line in enumerate(parts.confusion):
        for x, count in enumerate(line):
            if count:
                colour = "white" if rows[y][x] > 0.6 else INK
                axes.text(x, y, str(count), ha="center", va="center", fontsize=7, color=colour)
    axes.set_xticks(range(len(parts.answers)), [_short(a) for a in parts.answers], rotation=45, ha="right")
    axes.set_yticks(range(len(parts.labels)), [_short(label) for label in parts.labels])
    axes.set_xlabel("answer")
    axes.set_ylabel("gold")
    axes.set_title("confusion, rows add up to 1")


def _letters(axes: Axes, letters: Sequence[tuple[str, int, int]]) -> None:
    places = range(len(letters))
    axes.bar([p - 0.2 for p in places], [gold for _, gold, _ in letters], 0.38, color=LINE, label="gold")
    axes.bar([p + 0.2 for p in places], [n for _, _, n in letters], 0.38, color=SERIES[0], label="answered")
    axes.set_xticks(list(places), [_short(letter) for letter, _, _ in letters])
    axes.set_title("how often each letter")
    axes.legend(fontsize=7)


def _shares(axes: Axes, shares: Sequence[Share], title: str) -> None:
    places = list(range(len(shares)))
    rates = [share.right / share.n for share in shares]
    # a share of too few rows has no interval and so no whisker
    nan = float("nan")
    low = [nan if s.low is None else max(0.0, s.right / s.n - s.low) for s in shares]
    high = [nan if s.high is None else max(0.0, s.high - s.right / s.n) for s in shares]
    axes.barh(places, rates, color=SERIES[0], alpha=0.75)
    axes.errorbar(rates, places, xerr=[low, high], fmt="none", ecolor=INK, elinewidth=1, capsize=2)
    axes.set_yticks(places, [_short(share.name) for share in shares])
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    axes.set_title(title)


def _short(text: str) -> str:
    text = one_line(text)
    return text if len(text) <= 24 else f"{text[:22]}…"
