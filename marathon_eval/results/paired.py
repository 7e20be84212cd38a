"""One task of two runs, paired by document: metric differences with intervals, discordant counts, flips.

Metrics are rebuilt from the entries of metric_list that results.json keeps. Every interval resamples clips and gives
both runs the same ones; right and wrong are compared by the exact McNemar test.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from marathon_eval.api.filter import Answer, FilterContext
from marathon_eval.api.metric import Mean, Metric, ScoredRow
from marathon_eval.results.outcomes import NAMES, RIGHT, UNANSWERED, WRONG, outcome_of
from marathon_eval.scoring.metrics.build import build_metric
from marathon_eval.scoring.stats import bootstrap, holm, mcnemar

if TYPE_CHECKING:
    from numpy.typing import NDArray

SampleRow = Mapping[str, Any]
#: A metric rebuilt from files must give the number that the run itself gave.
SAME = 1e-9


@dataclass(frozen=True)
class TaskRows:
    """One task of one run: its entry in results.json, and its samples by document."""

    summary: Mapping[str, Any]
    rows: dict[int, SampleRow]

    @property
    def scored(self) -> dict[int, SampleRow]:
        """The documents that entered the scores."""
        return {doc: row for doc, row in self.rows.items() if row["readings"]}


@dataclass(frozen=True)
class Difference:
    """One metric in both runs, on the documents that both scored; `reason` says why there is no interval."""

    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    reason: str | None = None


@dataclass
class Discordance:
    """Documents that only one run has right. `holm_p` is the p-value corrected for the tests beside it."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float
    holm_p: float


@dataclass(frozen=True)
class ReadingDifference:
    """One reading of both runs' answers; `discordance` None where answers are graded, not right or wrong."""

    metrics: dict[str, Difference]
    discordance: Discordance | None


@dataclass(frozen=True)
class TaskDifference:
    """One task in both runs; `flips` are the documents that, under the headline's reading, one run alone has right."""

    task: str
    n_paired: int
    n_only_a: int
    n_only_b: int
    headline: Mapping[str, Any] | None
    readings: dict[str, ReadingDifference]
    flips: list[dict[str, Any]] = field(default_factory=list)


def paired_metrics(task: str, a: TaskRows, b: TaskRows) -> TaskDifference:
    """Every reading and metric that both runs have, on the documents that both scored; Holm's correction is pending."""
    scored = a.scored, b.scored
    docs = [doc for doc in scored[0] if doc in scored[1]]
    readings = {
        name: _reading(name, a, b, docs) for name in a.summary["readings"] if name in b.summary["readings"]
    }
    headline = a.summary.get("headline")
    first = headline["reading"] if headline else next(iter(readings), "")
    return TaskDifference(
        task=task,
        n_paired=len(docs),
        n_only_a=len(scored[0]) - len(docs),
        n_only_b=len(scored[1]) - len(docs),
        headline=headline,
        readings=readings,
        flips=flips(a, b, docs, first) if first in readings else [],
    )


def correct(families: Sequence[Mapping[str, ReadingDifference]]) -> None:
    """Write Holm's adjusted p-values: tests of readings of the same name are one family."""
    for name in {name for readings in families for name in readings}:
        tests = [readings[name].discordance for readings in families if name in readings]
        held = [test for test in tests if test is not None]
        for test, p in zip(held, holm([test.p for test in held]), strict=True):
            test.holm_p = p


def _reading(name: str, a: TaskRows, b: TaskRows, docs: Sequence[int]) -> ReadingDifference:
    specs = (a.summary.get("metrics") or {}).get(name, {})
    metrics = {
        metric: _difference(name, metric, specs.get(metric), a, b, docs)
        for metric in a.summary[name]
        if metric in b.summary[name]
    }
    return ReadingDifference(metrics, _discordance(name, a, b, docs))


def _difference(
    reading: str, name: str, spec: Mapping[str, Any] | None, a: TaskRows, b: TaskRows, docs: Sequence[int]
) -> Difference:
    """One metric, rebuilt; where that does not give each run's own number, the two numbers without an interval."""
    recorded = [side.summary[reading][name]["value"] for side in (a, b)]
    if spec is None:
        return Difference(
            recorded[0], recorded[1], None, None, "results.json does not say how it is computed"
        )
    if not docs:
        return Difference(None, None, None, None, "no document was scored in both runs")
    metric = rebuilt(spec, name, reading)
    scored = [*a.scored.values()], [*b.scored.values()]
    counts = metric.counts([row_of_sample(row, reading) for side in scored for row in side])
    halves = counts[: len(scored[0])], counts[len(scored[0]) :]
    if not all(_same(metric.total(half), value) for half, value in zip(halves, recorded, strict=True)):
        return Difference(
            recorded[0], recorded[1], None, None, "it cannot be computed again from the samples alone"
        )
    places = [{row["doc_id"]: place for place, row in enumerate(side)} for side in scored]
    chosen = [half[[at[doc] for doc in docs]] for half, at in zip(halves, places, strict=True)]
    return difference(chosen[0], chosen[1], clusters([a.rows[doc] for doc in docs]), metric)


def difference(
    first: NDArray[Any], second: NDArray[Any], clusters: Sequence[str], metric: Metric
) -> Difference:
    """second - first with its 95 % interval; counts [n, k] of the same documents in the same order."""
    import numpy as np

    width = first.shape[1]

    def value(sums: NDArray[Any]) -> NDArray[Any]:
        gained: NDArray[Any] = metric.value(sums[:, width:]) - metric.value(sums[:, :width])
        return gained

    values = [metric.total(counts) for counts in (first, second)]
    if values[0] is None or values[1] is None:
        return Difference(values[0], values[1], None, None, "one of the runs has no value")
    interval = bootstrap(np.hstack([first, second]), clusters, value)
    ends = None if interval is None else (interval.low, interval.high)
    return Difference(values[0], values[1], values[1] - values[0], ends)


def _same(value: float | None, recorded: float | None) -> bool:
    if value is None or recorded is None:
        return value is recorded
    return math.isclose(value, recorded, rel_tol=SAME, abs_tol=SAME)


def rebuilt(spec: Mapping[str, Any], name: str, reading: str) -> Metric:
    """The metric of a recorded entry. Raises MarathonError for an entry that no longer means anything."""
    if spec.get("hf_evaluate") or str(spec.get("metric")).startswith("evaluate:"):
        # metrics whose code a results file may not name: the mean of the numbers that the run itself kept
        return Mean(name, lambda row: row.context.doc["scores"][name])
    return build_metric(spec, f"results.json: {reading}: {name}")


def row_of_sample(row: SampleRow, reading: str) -> ScoredRow:
    """A line of samples_<task>.jsonl as metrics take it."""
    read = row["readings"][reading]
    path = row["audio"][0]["path"] if row["audio"] else ""
    doc = {"path": path, **row["fields"], "scores": read["scores"]}
    target = tuple(row["target"]) if isinstance(row["target"], list) else row["target"]
    context = FilterContext(tuple(row.get("choices", ())), tuple(row.get("letters", ())), doc)
    return ScoredRow(Answer(read["answer"], read["rule"]), target, context, str(row.get("cluster")))


def clusters(rows: Sequence[SampleRow]) -> list[str]:
    """What the interval resamples: the recorded clusters; clips where there is but one, or none was recorded."""
    named = [row.get("cluster") for row in rows]
    if None not in named and len(set(named)) > 1:
        return [str(name) for name in named]
    return [str([clip["path"] for clip in row["audio"]] or row["doc_id"]) for row in rows]


def _codes(name: str, side: TaskRows, docs: Sequence[int]) -> list[str]:
    headline = side.summary.get("headline") or {}
    metric = str(headline.get("metric", ""))
    return [outcome_of(side.rows[doc], name, metric).code for doc in docs]


def _discordance(name: str, a: TaskRows, b: TaskRows, docs: Sequence[int]) -> Discordance | None:
    """Counts of right and wrong; an unanswered document is not right. None where answers are graded."""
    codes = [_codes(name, side, docs) for side in (a, b)]
    if not docs or {*codes[0], *codes[1]} - {RIGHT, WRONG, UNANSWERED}:
        return None
    pairs = Counter((x == RIGHT, y == RIGHT) for x, y in zip(*codes, strict=True))
    only_a, only_b = pairs[True, False], pairs[False, True]
    p = mcnemar(only_a, only_b)
    return Discordance(pairs[True, True], only_a, only_b, pairs[False, False], p, p)


def flips(a: TaskRows, b: TaskRows, docs: Sequence[int], reading: str) -> list[dict[str, Any]]:
    """The documents that one run alone has right, with both answers, in the order of the documents."""
    codes = [_codes(reading, side, docs) for side in (a, b)]
    return [
        {
            "doc_id": doc,
            "target": a.rows[doc]["target"],
            "a": _told(a.rows[doc], reading, first),
            "b": _told(b.rows[doc], reading, second),
            "audio": [clip["path"] for clip in a.rows[doc]["audio"]],
        }
        for doc, first, second in zip(docs, *codes, strict=True)
        if (first == RIGHT) != (second == RIGHT)
    ]


def _told(row: SampleRow, reading: str, code: str) -> dict[str, Any]:
    return {
        "outcome": NAMES[code],
        "answer": row["readings"][reading]["answer"],
        "response": row["response"],
    }
