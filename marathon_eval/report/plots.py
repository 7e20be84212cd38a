"""Draws the report's figures with matplotlib: radar, score against ratio, score against prefill time, timing.

It avoids pyplot, which keeps global state. Texts are drawn literally, so `$` in a name starts no formula.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from marathon_eval.report.addresses import address
from marathon_eval.report.cost import costs_fall
from marathon_eval.report.svg import INK, LINE, MARKERS, SERIES, STYLES, drawing, for_paper, linked
from marathon_eval.report.tables import one_line
from marathon_eval.report.timing import TIMED, Spread
from marathon_eval.results.directions import marked

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from marathon_eval.report.cost import CostsByTask, PressCost
    from marathon_eval.report.curves import Curves, Point, Tradeoff
    from marathon_eval.report.leaderboard import LeaderboardRow, Score
    from marathon_eval.report.published import PublishedColumn

#: Lines in a radar; more could not be distinguished.
MOST_IN_RADAR = 8
#: Runs from which on a heat map is drawn, and the most that it has rows for.
FEWEST_IN_HEAT_MAP, MOST_IN_HEAT_MAP = 4, 60
NAMED_STAGES = dict(zip(TIMED, ("encode", "prefill", "decode", "transcribe"), strict=True))


def radar(rows: Sequence[LeaderboardRow], columns: Sequence[PublishedColumn]) -> Figure | None:
    """Draw scores (0-100) by task, one line per row, at most MOST_IN_RADAR; return None below three tasks.

    A row that lacks a score in some column is left out, because the gap would look like a zero.
    """
    whole = [row for row in rows if all(column.task in row.scores for column in columns)]
    if len(columns) < 3 or not whole:
        return None
    angles = [2 * math.pi * place / len(columns) for place in range(len(columns))]
    with drawing() as new_figure:
        figure = new_figure(6.4, 5.4)
        axes = figure.add_subplot(projection="polar")
        for number, row in enumerate(whole[:MOST_IN_RADAR]):
            values = [row.scores[column.task].value for column in columns]
            axes.plot([*angles, 0.0], [*values, values[0]], label=_label(row.name), **_look(number))
        axes.set_xticks(angles, [column.short for column in columns])
        axes.set_ylim(0, 100)
        axes.set_yticks([20, 40, 60, 80, 100])
        axes.tick_params(axis="y", labelsize=7)
        _legend_below(figure, axes)
        return figure


def heat_map(rows: Sequence[LeaderboardRow], columns: Sequence[PublishedColumn]) -> Figure | None:
    """Draw scores (0-100) as coloured cells, a row per run and a column per task; return None for few of either."""
    shown = rows[:MOST_IN_HEAT_MAP]
    if len(shown) < FEWEST_IN_HEAT_MAP or len(columns) < 2:
        return None
    nan = float("nan")
    values = [[row.scores[c.task].value if c.task in row.scores else nan for c in columns] for row in shown]
    with drawing() as new_figure:
        figure = new_figure(2.6 + 0.55 * len(columns), 1.0 + 0.22 * len(shown))
        axes = figure.add_subplot()
        axes.pcolormesh(values, cmap="Blues", vmin=0, vmax=100)
        for y, line in enumerate(values):
            for x, value in enumerate(line):
                if not math.isnan(value):
                    colour = "white" if value > 60 else INK
                    place = x + 0.5, y + 0.5
                    look: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": 7, "color": colour}
                    axes.text(*place, f"{value:.0f}", **look).set_in_layout(False)
        axes.set_xticks([x + 0.5 for x in range(len(columns))], [one_line(c.short) for c in columns])
        axes.tick_params(axis="x", labelrotation=45)
        axes.set_yticks([y + 0.5 for y in range(len(shown))], [_label(row.name) for row in shown], fontsize=7)
        axes.invert_yaxis()
        places = [
            (x, y) for y, row in enumerate(shown) for x, c in enumerate(columns) if c.task in row.scores
        ]
        found = [address(run=shown[y].name, task=columns[x].task) for x, y in places]
        _links(axes, [x + 0.5 for x, _ in places], [y + 0.5 for _, y in places], found)
        return figure


def ratio_curves(curves: Curves, title: str) -> Figure:
    """Draw score against the fraction of audio tokens removed: a line with intervals per press, baselines dashed."""
    with drawing() as new_figure:
        figure = new_figure(6.4, 4.6)
        axes = figure.add_subplot()
        _draw_curves(axes, curves)
        axes.set_title(one_line(title))
        axes.set_ylabel("score")
        axes.set_xlabel("ratio: fraction of audio tokens removed")
        _legend_below(figure, axes)
        return figure


def ratio_by_task(by_task: Mapping[str, Curves]) -> Figure:
    """Draw score against ratio for every task, as small panels with one legend."""
    wide = min(4, len(by_task))
    high = math.ceil(len(by_task) / wide)
    with drawing() as new_figure:
        figure = new_figure(2.7 * wide, 2.1 * high + 0.5)
        grid = figure.subplots(high, wide, squeeze=False, sharex=True)
        panels = [axes for line in grid for axes in line]
        for axes, (task, curves) in zip(panels, by_task.items(), strict=False):
            _draw_curves(axes, curves, task)
            axes.set_title(one_line(task), fontsize=9)
        for axes in panels[len(by_task) :]:
            axes.set_axis_off()
        for axes in panels[max(0, len(by_task) - wide) : len(by_task)]:
            axes.set_xlabel("ratio", fontsize=8)
            axes.tick_params(axis="x", labelbottom=True)
        _legend_below(figure, panels[0])
        return figure


def cost_by_task(costs: CostsByTask) -> Figure:
    """Draw the paired difference to no press against the ratio, a panel per task, with 95 % intervals.

    The presses of one ratio stand side by side, so that equal values do not hide each other.
    """
    with drawing() as new_figure:
        figure = new_figure(6.4, 2.4 * len(costs) + 0.8)
        panels = figure.subplots(len(costs), 1, squeeze=False, sharex=True)[:, 0]
        for axes, (task, series) in zip(panels, costs.items(), strict=True):
            _draw_costs(axes, series)
            axes.set_title(marked(one_line(task), costs_fall(series)), fontsize=9)
            axes.set_ylabel("difference to\nno press, points")
        panels[-1].set_xlabel("ratio: fraction of audio tokens removed")
        _legend_below(figure, panels[0])
        return figure


def _draw_costs(axes: Axes, series: Mapping[str, Sequence[PressCost]]) -> None:
    ratios = [cost.ratio for costs in series.values() for cost in costs]
    shifts = _side_by_side(ratios, len(series), share=0.7)
    for number, (name, costs) in enumerate(series.items()):
        places = [cost.ratio + shifts[number] for cost in costs]
        look = {**_look(number), "linestyle": "none"}
        axes.plot(places, [cost.points for cost in costs], label=_label(name), **look)
        _intervals(axes, places, [(cost.low, cost.high) for cost in costs], look["color"])
    axes.set_xticks(sorted(set(ratios)), [f"{ratio:g}" for ratio in sorted(set(ratios))])
    axes.axhline(0, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    axes.grid(visible=True, axis="y", color=LINE, linewidth=0.6)


def _side_by_side(ratios: Iterable[float], n: int, share: float) -> list[float]:
    """Return what to add to the ratios of each of n series, within `share` of the least distance of two ratios."""
    found = sorted(set(ratios))
    step = share * min((after - before for before, after in pairwise(found)), default=0.1) / n
    return [step * (number - (n - 1) / 2) for number in range(n)]


def _intervals(
    axes: Axes, places: Sequence[float], ends: Sequence[tuple[float | None, float | None]], color: str
) -> None:
    known = [(place, low, high) for place, (low, high) in zip(places, ends, strict=True) if low is not None]
    axes.vlines(
        [place for place, _, _ in known],
        [low for _, low, _ in known],
        [high or 0.0 for _, _, high in known],
        color=color,
        linewidth=1.0,
        alpha=0.7,
    )


def _within_100(axes: Axes, scores: Iterable[Score]) -> None:
    """End the axis of the scores at 0 and 100 unless a score is beyond it, as an error rate or its interval may be."""
    low, high = axes.get_ylim()
    beyond = any(score.falls or score.value > 100 for score in scores)
    axes.set_ylim(low if axes.dataLim.y0 < 0 else max(low, 0.0), high if beyond else min(high, 100.0))


def _links(axes: Axes, places: Sequence[float], heights: Sequence[float], addresses: Sequence[str]) -> None:
    """Lay a link over every point of a page's figure, all but transparent: what has no colour takes no click."""
    if linked.get():
        points = axes.scatter(places, heights, s=90, alpha=0.01, linewidths=0, urls=list(addresses), zorder=5)
        points.set_in_layout(False)  # to lay out what is not seen would take seconds


def _draw_curves(axes: Axes, curves: Curves, task: str | None = None) -> None:
    drawn = {name: _with_start(points, curves.baselines) for name, points in curves.series.items()}
    shifts = _side_by_side((p.ratio for points in drawn.values() for p in points), len(drawn), share=0.4)
    for number, (name, points) in enumerate(drawn.items()):
        look = _look(number)
        places = [p.ratio + shifts[number] for p in points]
        heights = [p.score.value for p in points]
        axes.plot(places, heights, label=_label(name), clip_on=False, **look)
        _intervals(axes, places, [(p.score.low, p.score.high) for p in points], look["color"])
        found = [address(run=p.label, **({"task": task} if task else {})) for p in points]
        _links(axes, places, heights, found)
    for point in curves.baselines:
        axes.axhline(point.score.value, color=INK, linewidth=0.9, linestyle=(0, (4, 3)))
    _within_100(axes, [p.score for points in (*drawn.values(), curves.baselines) for p in points])
    axes.grid(visible=True, color=LINE, linewidth=0.6)


def _with_start(points: Sequence[Point], baselines: Sequence[Point]) -> list[Point]:
    """Return the points with the uncompressed run as ratio 0 in front, if there is exactly one."""
    if len(baselines) == 1 and points[0].ratio > 0:
        return [baselines[0], *points]
    return list(points)


def pareto(items: Sequence[Tradeoff], order: Sequence[str]) -> Figure:
    """Draw score against median prefill seconds; runs on the Pareto front are labelled and joined by a line.

    `order` lists the series of the curves, so that a press has the same colour in both figures.
    """
    with drawing() as new_figure:
        figure = new_figure(6.4, 4.6)
        axes = figure.add_subplot()
        names = list(dict.fromkeys([*order, *(item.series for item in items)]))
        for number, name in enumerate(names):
            points = [item for item in items if item.series == name]
            look = {**_look(number), "linestyle": "none"}
            axes.plot(
                [i.seconds for i in points], [i.score.value for i in points], label=_label(name), **look
            )
        front = [item for item in items if item.front]
        axes.plot(
            [i.seconds for i in front],
            [i.score.value for i in front],
            color=INK,
            linewidth=1.0,
            zorder=1,
            drawstyle="steps-post",
        )
        _within_100(axes, [item.score for item in items])
        _links(
            axes,
            [i.seconds for i in items],
            [i.score.value for i in items],
            [address(run=i.label) for i in items],
        )
        _name_front(figure, axes, front)
        axes.set_xlabel("median prefill seconds per answer")
        axes.set_ylabel("score")
        axes.grid(visible=True, color=LINE, linewidth=0.6)
        _legend_below(figure, axes)
        return figure


#: Where a label may stand, in points from its point; the first that is free is taken.
_SPOTS = ((3, 5), (3, -10), (-16, 5), (-16, -10), (12, 0), (-24, 0))


def _name_front(figure: Figure, axes: Axes, front: Sequence[Tradeoff]) -> None:
    """Write the ratio beside each point of the front; a label that fits nowhere is left out."""
    figure.draw_without_rendering()  # the layout decides how far apart points are
    taken: list[tuple[float, float]] = []
    points = 72 / figure.dpi
    for item in front:
        x, y = axes.transData.transform((item.seconds, item.score.value)) * points
        free = [
            (right, up)
            for right, up in _SPOTS
            if all(abs(x + right - a) > 18 or abs(y + up - b) > 9 for a, b in taken)
        ]
        if free:
            taken.append((x + free[0][0], y + free[0][1]))
            ratio = f"{item.ratio:g}" if item.ratio else "none"
            place = item.seconds, item.score.value
            axes.annotate(one_line(ratio), place, free[0], textcoords="offset points", fontsize=7)


def timing_boxes(spreads: Mapping[str, Mapping[str, Spread]]) -> Figure:
    """Draw a panel per stage with a box per run: median, quartiles, 5 % and 95 %. Takes `spreads[run][stage]`."""
    stages = [stage for stage in TIMED if any(stage in by_stage for by_stage in spreads.values())]
    with drawing() as new_figure:
        figure = new_figure(2.2 + 2.1 * len(stages), 0.9 + 0.24 * len(spreads))
        grid = figure.subplots(1, len(stages), squeeze=False, sharey=True)[0]
        names = list(spreads)
        for axes, stage in zip(grid, stages, strict=True):
            boxes = [(place, spreads[n][stage]) for place, n in enumerate(names) if stage in spreads[n]]
            axes.bxp(
                [_box(s) for _, s in boxes], [p for p, _ in boxes], orientation="horizontal", **_box_look()
            )
            axes.set_title(NAMED_STAGES[stage])
            axes.set_xlim(left=0)
            axes.grid(visible=True, axis="x", color=LINE, linewidth=0.6)
        grid[0].set_yticks(range(len(names)), [_label(name) for name in names], fontsize=8)
        grid[0].set_ylim(len(names) - 0.4, -0.6)
        figure.supxlabel("seconds per answer", fontsize=8)
        return figure


def _box(spread: Spread) -> dict[str, Any]:
    return {
        "med": spread.median,
        "q1": spread.q1,
        "q3": spread.q3,
        "whislo": spread.p5,
        "whishi": spread.p95,
        "fliers": [],
    }


def _box_look() -> dict[str, Any]:
    return {
        "widths": 0.6,
        "showfliers": False,
        "boxprops": {"color": INK},
        "whiskerprops": {"color": INK},
        "capprops": {"color": INK},
        "medianprops": {"color": SERIES[1], "linewidth": 1.6},
    }


def _look(number: int) -> dict[str, Any]:
    """Return a series' colour, marker and dash, which also differ for readers who do not see the colours."""
    return {
        "color": SERIES[number % len(SERIES)],
        "marker": MARKERS[number % len(MARKERS)],
        "linestyle": STYLES[number // len(SERIES) % len(STYLES)],
        "linewidth": 1.5,
        "markersize": 4,
    }


def _label(name: str) -> str:
    """Shorten a long name, and put a space before `_`, because matplotlib omits such names from legends."""
    text = one_line(name)
    text = text if len(text) <= 60 else f"{text[:44]}…{text[-15:]}"
    return f" {text}" if text.startswith("_") else text


def _legend_below(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    longest = max(map(len, names), default=1)
    width = 36 if for_paper.get() else 72
    figure.legend(
        handles, names, loc="outside lower center", ncols=max(1, min(4, width // (longest + 6))), fontsize=8
    )
