"""Draws all figures that a report has data for: as inline SVG for the page, or as SVG and PNG files."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from marathon_eval.report import curves, plots
from marathon_eval.report.cost import sweep_costs
from marathon_eval.report.crossed_plot import crossed_plot
from marathon_eval.report.svg import for_paper, inline_svg, linked, save, save_for_paper
from marathon_eval.report.timing import TIMED, Spread, Timing
from marathon_eval.scoring.usage import STAGES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from marathon_eval.report.gather import Report

TITLES = {
    "radar": "Scores by task",
    "heat": "Scores of all runs by task",
    "cost": "Difference to no press, paired by document",
    "ratio": "Score against ratio",
    "ratio_by_task": "Score against ratio, task by task",
    "pareto": "Score against prefill time",
    "timing": "Seconds per answer by stage",
}
#: How the names of the figures by two columns begin, one for each task that has them.
CROSSED, CROSSED_TITLE = "map_", "Accuracy by two columns of numbers"


def inline(report: Report) -> dict[str, str]:
    """Return the figures as SVG elements by name, for the page."""
    token = linked.set(True)
    try:
        return {name: inline_svg(figure, name, title_of(name)) for name, figure in drawn(report)}
    finally:
        linked.reset(token)


def title_of(name: str) -> str:
    """Return the title of a figure of this name."""
    return CROSSED_TITLE if name.startswith(CROSSED) else TITLES[name]


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Write all figures as SVG and PNG, as PDF at a column's width, and a breakdown of every run and task, whose PDF keeps its width.

    Raises MarathonError.
    """
    from marathon_eval.report.breakdown_plot import breakdown_plot

    written = [path for name, figure in drawn(report) for path in save(figure, folder, name)]
    token = for_paper.set(True)
    try:
        written += [save_for_paper(figure, folder, name) for name, figure in drawn(report)]
    finally:
        for_paper.reset(token)
    numbers = {cell.label: number for number, cell in enumerate(report.cells)}
    for task, by_cell in report.gathered.breakdowns.items():
        for label, parts in by_cell.items():
            figure = breakdown_plot(parts, f"{label}: {task}")
            if figure is not None:
                name = f"{file_name(task)}_{numbers[label]:02}_{file_name(label)}"
                written += save(figure, folder / "breakdown", name)
                written.append(save_for_paper(figure, folder / "breakdown", name))
    return written


def file_name(text: str) -> str:
    """Return a label with all characters replaced that a file name should not hold, cut to 80 characters."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text)[:80].strip("_.")


def drawn(report: Report) -> Iterator[tuple[str, Figure]]:
    """Yield name and figure of everything that these runs have data for."""
    plain = [row for row in report.runs_board if row.plain]
    radar = plots.radar(plain or report.runs_board, report.board.columns)
    if radar is not None:
        yield "radar", radar
    heat = plots.heat_map(report.runs_board, report.board.columns)
    if heat is not None:
        yield "heat", heat
    yield from _crossed_maps(report)
    costs = sweep_costs(report.cells)
    if costs:
        yield "cost", plots.cost_by_task(costs)
    yield from _over_ratios(report)
    spreads = _spreads(report)
    if spreads:
        yield "timing", plots.timing_boxes(spreads)


def _crossed_maps(report: Report) -> Iterator[tuple[str, Figure]]:
    """Yield a figure for every task with runs whose rows have two columns of numbers."""
    for number, (task, by_cell) in enumerate(report.gathered.breakdowns.items()):
        maps = {label: parts.crossed for label, parts in by_cell.items() if parts.crossed is not None}
        if maps:
            yield f"{CROSSED}{number}_{re.sub(r'[^A-Za-z0-9]+', '_', task)[:60]}", crossed_plot(task, maps)


def _over_ratios(report: Report) -> Iterator[tuple[str, Figure]]:
    """Yield the curves and the Pareto front of the runs that can be compared, over the tasks that all of them share."""
    compared = curves.compared_over_ratios(report.cells)
    tasks = curves.shared_tasks(compared)
    by_task = {task: found for task in tasks if (found := curves.curves(compared, [task])) is not None}
    mean_curves = curves.curves(compared, tasks)
    if mean_curves is not None:
        yield "ratio", plots.ratio_curves(mean_curves, f"mean of {', '.join(tasks)}")
    if len(tasks) > 1 and by_task:
        yield "ratio_by_task", plots.ratio_by_task(by_task)
    if mean_curves is None:
        return
    items = curves.tradeoffs(compared, prefill_medians(report, tasks), tasks)
    if items:
        yield "pareto", plots.pareto(items, list(mean_curves.series))


def prefill_medians(report: Report, tasks: Collection[str]) -> dict[str, float]:
    """Return the median prefill seconds by run over these tasks; answers to others are longer or shorter."""
    found = {}
    for number, cell in enumerate(report.cells):
        timing = Timing()
        for columns in report.gathered.tasks:
            if columns.task in tasks and number in columns.cells:
                timing.add(columns.cells[number])
        spread = timing.spread(STAGES[1])
        if spread is not None:
            found[cell.label] = spread.median
    return found


def _spreads(report: Report) -> dict[str, dict[str, Spread]]:
    """Return the spread of seconds by run and stage; runs without timing are left out."""
    spreads: dict[str, dict[str, Spread]] = {}
    for label, timing in report.gathered.timings.items():
        by_stage = {stage: spread for stage in TIMED if (spread := timing.spread(stage)) is not None}
        if by_stage:
            spreads[label] = by_stage
    return spreads
