"""Computes score against ratio for each press, and score against prefill time with the Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from marathon_eval.report.leaderboard import Score, mean_interval, score_of
from marathon_eval.report.runs import ReportRun
from marathon_eval.scoring.alike import headline_score, unlike


@dataclass(frozen=True)
class Point:
    """Places a run at its ratio; the score is on the 0-100 scale."""

    ratio: float
    score: Score
    label: str


@dataclass(frozen=True)
class Curves:
    """Holds each series' points by rising ratio, the uncompressed runs as `baselines`, and the averaged tasks."""

    series: dict[str, tuple[Point, ...]]
    baselines: tuple[Point, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Tradeoff:
    """Places a run by median prefill seconds and score; `front` says whether it is on the Pareto front."""

    label: str
    series: str
    ratio: float
    seconds: float
    score: Score
    front: bool


def compared_over_ratios(cells: Sequence[ReportRun]) -> list[ReportRun]:
    """Return the runs that share one figure: models with a press, in one condition and selection.

    That is the tasks as they are on all their rows if a press ran so, else what most runs with a press share: the
    score of a silent run, or of a few rows, is no baseline for the others.
    """
    compressed = [cell for cell in cells if cell.press]
    if not compressed:
        return []
    counted = Counter(cell.aside for cell in compressed)
    chosen = "" if "" in counted else counted.most_common(1)[0][0]
    models = {cell.model for cell in compressed if cell.aside == chosen}
    return [cell for cell in cells if cell.aside == chosen and cell.model in models]


def shared_tasks(cells: Sequence[ReportRun]) -> tuple[str, ...]:
    """Return the tasks for which every run has a headline score; only over these can runs be compared."""
    if not cells:
        return ()
    return tuple(
        name
        for name in cells[0].tasks
        if all(name in cell.tasks and score_of(cell.tasks[name]) is not None for cell in cells)
    )


def curves(cells: Sequence[ReportRun], tasks: Sequence[str]) -> Curves | None:
    """Return curves of the mean score over these tasks; None if no run has a press."""
    series: dict[str, list[Point]] = {}
    baselines = []
    for cell in cells:
        score = mean_score(cell, tasks)
        if score is None:
            continue
        point = Point(cell.ratio, score, cell.label)
        if cell.press is None:
            baselines.append(point)
        else:
            series.setdefault(cell.series, []).append(point)
    if not series:
        return None
    ordered = {name: tuple(sorted(points, key=lambda p: p.ratio)) for name, points in series.items()}
    return Curves(ordered, tuple(baselines), tuple(tasks))


def mean_score(cell: ReportRun, tasks: Iterable[str]) -> Score | None:
    """Return the plain mean of the tasks' headline scores; None if one is missing, or if they are unlike.

    The interval takes the tasks' errors as independent.
    """
    tasks = list(tasks)
    scores = [score_of(cell.tasks[name]) if name in cell.tasks else None for name in tasks]
    present = [score for score in scores if score is not None]
    if not present or len(present) < len(scores):
        return None
    if unlike([headline_score(cell.tasks[name]) for name in tasks]):
        return None
    mean = sum(score.value for score in present) / len(present)
    low, high = mean_interval(mean, present)
    falls = any(score.falls for score in present)
    return Score(mean, low, high, all(score.whole for score in present), falls=falls)


def tradeoffs(
    cells: Sequence[ReportRun], prefill: Mapping[str, float | None], tasks: Sequence[str]
) -> list[Tradeoff]:
    """Return the runs that have a median prefill time in `prefill` (seconds by label), fastest first."""
    timed = []
    for cell in cells:
        score, seconds = mean_score(cell, tasks), prefill.get(cell.label)
        if score is not None and seconds is not None:
            timed.append((seconds, score, cell))
    points = [(seconds, -score.value if score.falls else score.value) for seconds, score, _ in timed]
    return sorted(
        (
            Tradeoff(cell.label, cell.series, cell.ratio, seconds, score, on_front(point, points))
            for (seconds, score, cell), point in zip(timed, points, strict=True)
        ),
        key=lambda item: item.seconds,
    )


def on_front(point: tuple[float, float], points: Iterable[tuple[float, float]]) -> bool:
    """Return whether no other (seconds, score) is at least as fast and as high, and better in one of the two."""
    seconds, score = point
    return not any(other != point and other[0] <= seconds and other[1] >= score for other in points)
