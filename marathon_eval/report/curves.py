"""Score against ratio per press, and score against prefill time with the Pareto front."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from marathon_eval.report.leaderboard import Score, mean_interval, score_of
from marathon_eval.report.runs import ReportRun


@dataclass(frozen=True)
class Point:
    """A cell at its ratio; score on the 0-100 scale."""

    ratio: float
    score: Score
    label: str


@dataclass(frozen=True)
class Curves:
    """Points by series, by rising ratio; `baselines` are the uncompressed runs, `tasks` what is averaged."""

    series: dict[str, tuple[Point, ...]]
    baselines: tuple[Point, ...]
    tasks: tuple[str, ...]


@dataclass(frozen=True)
class Tradeoff:
    """A cell by median prefill seconds and score; `front`: no other is as good in both and better in one."""

    label: str
    series: str
    seconds: float
    score: Score
    front: bool


def shared_tasks(cells: Sequence[ReportRun]) -> tuple[str, ...]:
    """Tasks that every cell has a headline score for: only over these can cells be compared."""
    if not cells:
        return ()
    return tuple(
        name
        for name in cells[0].tasks
        if all(name in cell.tasks and score_of(cell.tasks[name]) is not None for cell in cells)
    )


def curves(cells: Sequence[ReportRun], tasks: Sequence[str]) -> Curves | None:
    """Curves over the mean of these tasks; None where no cell has a press."""
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
    """Plain mean of the tasks' headlines; its interval takes the tasks' errors as independent."""
    scores = [score_of(cell.tasks[name]) if name in cell.tasks else None for name in tasks]
    known = [score for score in scores if score is not None]
    if not known or len(known) < len(scores):
        return None
    mean = sum(score.value for score in known) / len(known)
    low, high = mean_interval(mean, known)
    return Score(mean, low, high, all(score.whole for score in known))


def tradeoffs(
    cells: Sequence[ReportRun], prefill: Mapping[str, float | None], tasks: Sequence[str]
) -> list[Tradeoff]:
    """Cells with a known median prefill time (by label), the Pareto front marked, fastest first."""
    known = []
    for cell in cells:
        score, seconds = mean_score(cell, tasks), prefill.get(cell.label)
        if score is not None and seconds is not None:
            known.append((seconds, score, cell))
    points = [(seconds, score.value) for seconds, score, _ in known]
    return sorted(
        (
            Tradeoff(cell.label, cell.series, seconds, score, on_front((seconds, score.value), points))
            for seconds, score, cell in known
        ),
        key=lambda item: item.seconds,
    )


def on_front(point: tuple[float, float], points: Iterable[tuple[float, float]]) -> bool:
    """Whether no other (seconds, score) is as fast and as good, and better in one of them."""
    seconds, score = point
    return not any(other != point and other[0] <= seconds and other[1] >= score for other in points)
