"""Draws accuracy by two columns of numbers as a heat map, with a panel for each run."""

from __future__ import annotations

import math
from collections.abc import Mapping
from textwrap import fill
from typing import TYPE_CHECKING, Any

from marathon_eval.report.addresses import address
from marathon_eval.report.svg import INK, drawing, for_paper, linked
from marathon_eval.report.tables import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from marathon_eval.report.crossed import Crossed

#: Panels in a figure; further runs are left out.
MOST_PANELS = 6


def crossed_plot(task: str, by_run: Mapping[str, Crossed]) -> Figure:
    """Draw the runs' heat maps: accuracy in per cent in each cell, and below it the number of its rows."""
    shown = dict(list(by_run.items())[:MOST_PANELS])
    wide = 1 if for_paper.get() else min(2, len(shown))
    high = math.ceil(len(shown) / wide)
    columns = max(len(part.xs) for part in shown.values())
    lines = max(len(part.ys) for part in shown.values())
    with drawing() as new_figure:
        figure = new_figure((1.4 + 0.62 * columns) * wide, (1.3 + 0.45 * lines) * high)
        panels = list(figure.subplots(high, wide, squeeze=False).flat)
        for axes in panels[len(shown) :]:
            axes.set_axis_off()
        for axes, (run, part) in zip(panels, shown.items(), strict=False):
            _panel(axes, part, {"run": run, "task": task})
            letters = max(20, round(12 * figure.get_figwidth() / wide))
            axes.set_title(
                fill(one_line(f"{task}, {run}"), letters, max_lines=3, placeholder="…"), fontsize=8
            )
        return figure


def _panel(axes: Axes, part: Crossed, place: Mapping[str, str]) -> None:
    rates = [[right / n if n else math.nan for right, n in line] for line in part.cells]
    axes.pcolormesh(rates, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=1)
    for y, line in enumerate(part.cells):
        for x, (right, n) in enumerate(line):
            if n:
                colour = "white" if right / n > 0.6 else INK
                look: dict[str, Any] = {"ha": "center", "va": "center", "color": colour}
                axes.text(x + 0.5, y + 0.42, f"{100 * right / n:.0f}", fontsize=9, **look)
                axes.text(x + 0.5, y + 0.76, f"n {n}", fontsize=6, **look)
    axes.set_xticks([x + 0.5 for x in range(len(part.xs))], [one_line(value) for value in part.xs])
    axes.set_yticks([y + 0.5 for y in range(len(part.ys))], [one_line(value) for value in part.ys])
    axes.set_xlabel(one_line(part.x))
    axes.set_ylabel(one_line(part.y))
    axes.tick_params(length=0)
    axes.invert_yaxis()
    if linked.get():
        _link_cells(axes, part, place)


def _link_cells(axes: Axes, part: Crossed, place: Mapping[str, str]) -> None:
    """Lay a link over every cell that opens its rows, all but transparent: what has no colour takes no click."""
    cells = [(x, y) for y, line in enumerate(part.cells) for x, (_, n) in enumerate(line) if n]
    found = [address(**place, **{f"f.{part.x}": part.xs[x], f"f.{part.y}": part.ys[y]}) for x, y in cells]
    points = axes.scatter(
        [x + 0.5 for x, _ in cells],
        [y + 0.5 for _, y in cells],
        s=500,
        marker="s",
        alpha=0.01,
        linewidths=0,
        urls=found,
        zorder=5,
    )
    points.set_in_layout(False)
