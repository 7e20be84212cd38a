"""Tests whether a run keeps within margins of a base run, task by task: a gate for continuous evaluation.

Each margin is tested on the paired difference of the task's headline (non-inferiority: Wellek 2010, Testing
Statistical Hypotheses of Equivalence and Noninferiority), with Holm's correction over the tasks, at the level of the
95 % interval, 0.025 on each side.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from marathon_eval.errors import MarathonError, unknown
from marathon_eval.results.paired import TaskRows, in_both, paired_counts, paired_docs
from marathon_eval.scoring.intervals import LEVEL, KnownDifference, paired, paired_interval
from marathon_eval.scoring.metrics.wer import CorpusWER
from marathon_eval.scoring.stats import holm

if TYPE_CHECKING:
    from marathon_eval.api.metric import Metric

_PERCENT = 100
#: Verdicts on a task: the loss is within the margin; beyond it; the rows are too few to say.
WITHIN, BEYOND, UNDECIDED = "within the margin", "loss beyond the margin", "too few rows to say"
#: The unit of a limit on a headline with `scale: 100`.
POINTS = "points"
_LIMIT = re.compile(r"(?P<task>[^<>=,]+)>=(?P<points>[+-]?(\d+\.?\d*|\.\d+))")


@dataclass(frozen=True)
class Limit:
    """Names the least difference, run minus base, that a task's headline may have, on its scale; 0 or less."""

    task: str
    points: float


@dataclass(frozen=True)
class GateVerdict:
    """Holds the test of one limit: the difference on the headline's scale, its 95 % interval, both p-values.

    `unit` is `points` for a headline with `scale: 100`, and else names the metric whose own numbers these are.
    `turned` names a metric of which less is better, such as `strict wer`: its rise is a loss, so that the sign is turned.
    `p_within` is against a loss of the margin or more, `p_beyond` against a loss of at most the margin; both after
    Holm's correction. `reason` says why there is no test.
    """

    task: str
    points: float
    difference: float | None
    ci95: tuple[float, float] | None
    p_within: float
    p_beyond: float
    verdict: str
    reason: str | None = None
    unit: str = POINTS
    turned: str | None = None


@dataclass(frozen=True)
class _Measured:
    """Holds what is known of a task's difference in the metric's own unit; `scale` leads to points."""

    limit: Limit
    scale: float
    value: float | None
    known: KnownDifference
    unit: str = POINTS
    turned: str | None = None


def limits(text: str) -> list[Limit]:
    """Parse `race>=-1.0,gtzan>=-2`. Raises MarathonError that names the part at fault."""
    found: dict[str, Limit] = {}
    for part in text.split(","):
        match = _LIMIT.fullmatch(part.strip())
        if match is None:
            raise MarathonError(f"--gate: a limit is TASK>=POINTS, such as race>=-1.0, got {part.strip()!r}")
        task, points = match["task"].strip(), float(match["points"])
        if points > 0:
            raise MarathonError(f"--gate: {task}: the least difference is 0 or less, got {points:g}")
        if task in found:
            raise MarathonError(f"--gate: {task} has two limits")
        found[task] = Limit(task, points)
    return list(found.values())


def gate(wanted: Sequence[Limit], rows: Mapping[str, Sequence[TaskRows]]) -> list[GateVerdict]:
    """Test every limit on the tasks that both runs have.

    Raises MarathonError for another task, and for a limit in percent on a headline that is a fraction.
    """
    for limit in wanted:
        if limit.task not in rows:
            raise unknown("--gate", "task in both runs", limit.task, rows)
    measured = [_measured(limit, *rows[limit.task]) for limit in wanted]
    within = holm([_tail(each, each.limit.points, mirrored=False) for each in measured])
    beyond = holm([_tail(each, each.limit.points, mirrored=True) for each in measured])
    return [_verdict(each, p, q) for each, p, q in zip(measured, within, beyond, strict=True)]


def _measured(limit: Limit, a: TaskRows, b: TaskRows) -> _Measured:
    headline = a.summary.get("headline")
    if not headline:
        return _Measured(limit, 1.0, None, "the task has no headline")
    docs = paired_docs(a, b)
    reading, metric_name = headline["reading"], headline["metric"]
    if any(metric_name not in side.summary.get(reading, {}) for side in (a, b)):
        return _Measured(limit, 1.0, None, f"not both runs have {reading} {metric_name}")
    found = paired_counts(reading, metric_name, a, b, in_both(reading, a, b, docs))
    if isinstance(found, str):
        return _Measured(limit, 1.0, None, found)
    first, second, clusters, metric = found
    if metric.higher_is_better is None:
        why = f"{reading} {metric_name} is best at 0: neither its rise nor its fall is a loss"
        return _Measured(limit, 1.0, None, why)
    unit = _unit(headline)
    fraction = _is_fraction(metric, reading, a, b)
    if abs(limit.points) > abs(float(headline.get("scale", 1.0))) and fraction:
        raise MarathonError(_percent_told(limit, headline))
    values = [metric.total(counts) for counts in (first, second)]
    # a rate of errors that rises is a loss
    scale = abs(float(headline.get("scale", 1.0))) * (1 if metric.higher_is_better else -1)
    turned = None if metric.higher_is_better else f"{reading} {metric_name}"
    if values[0] is None or values[1] is None:
        return _Measured(limit, scale, None, "one of the runs has no value", unit, turned)
    known = paired(first, second, clusters, metric.value, metric.share, metric.rowwise, fraction)
    if scale < 0 and not isinstance(known, str):
        known = known.mirrored()
    # + 0.0 makes the -0.0 of equal error rates 0.0
    return _Measured(limit, scale, (values[1] - values[0]) * scale + 0.0, known, unit, turned)


def _unit(headline: Mapping[str, Any]) -> str:
    """Return what a limit on this headline counts: points, or the numbers of the metric as they are or scaled."""
    scale = abs(float(headline.get("scale", 1.0)))
    if scale == _PERCENT:
        return POINTS
    name = f"{headline['reading']} {headline['metric']}"
    return f"of {name}" if scale == 1 else f"of {name} times {scale:g}"


def _is_fraction(metric: Metric, reading: str, a: TaskRows, b: TaskRows) -> bool:
    """Return whether the metric's numbers are fractions: shares, error rates, and own ones that keep within 0 and 1."""
    if metric.share or isinstance(metric, CorpusWER):
        return True
    entry = (a.summary.get("metrics") or {}).get(reading, {}).get(metric.name, {})
    scores = [
        row["readings"][reading]["scores"].get(metric.name)
        for side in (a, b)
        for row in side.scored.values()
        if reading in row["readings"]
    ]
    return "code" in entry and all(score is None or 0 <= score <= 1 for score in scores)


def _percent_told(limit: Limit, headline: Mapping[str, Any]) -> str:
    scale = abs(float(headline.get("scale", 1.0)))
    in_its_unit = f"{limit.task}>={limit.points / _PERCENT * scale:g}"
    return (
        f"--gate: {limit.task}>={limit.points:g}: the headline {headline['reading']} {headline['metric']} is a fraction with {scale:g} "
        f"for 100 %, so that this limit allows a loss of {-limit.points / scale:.0%}. For {-limit.points:g} percentage points write "
        f"{in_its_unit}; with `scale: 100` in the task's headline, limits are in points"
    )


def _tail(each: _Measured, points: float, mirrored: bool) -> float:
    """Return the p-value against a loss of at least the margin; `mirrored`: of at most the margin."""
    if isinstance(each.known, str):
        return 1.0
    bound = points / abs(each.scale)
    return each.known.mirrored().tail(-bound) if mirrored else each.known.tail(bound)


def _verdict(each: _Measured, within: float, beyond: float) -> GateVerdict:
    level = (1 - LEVEL) / 2
    verdict = WITHIN if within <= level else BEYOND if beyond <= level else UNDECIDED
    found = paired_interval(each.known)
    ends = None
    if found.ci95 is not None:
        ends = (found.ci95[0] * abs(each.scale), found.ci95[1] * abs(each.scale))
    of_limit = each.limit.task, each.limit.points
    return GateVerdict(
        *of_limit, each.value, ends, within, beyond, verdict, found.reason, each.unit, each.turned
    )
