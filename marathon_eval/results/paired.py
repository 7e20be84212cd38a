"""Compares one task of two runs, paired by document: metric differences with intervals, discordant counts, flips.

Metrics are rebuilt from the metric_list entries in results.json. Intervals go by clip, the same ones for both runs;
right and wrong answers are compared by an exact sign-flip test over clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.filter import LEFT_OUT
from marathon_eval.api.metric import Metric
from marathon_eval.results.outcomes import NAMES, RIGHT, UNANSWERED, WRONG, deciding, outcome_of
from marathon_eval.results.recomputed import JsonObject, rebuilt, recomputed
from marathon_eval.scoring.intervals import OF_NO_ANSWER, paired, paired_interval
from marathon_eval.scoring.stats import holm, sign_flip

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class TaskRows:
    """Holds one task of one run: its entry in results.json, and its samples by document."""

    summary: Mapping[str, Any]
    rows: Mapping[int, JsonObject]

    @property
    def scored(self) -> dict[int, JsonObject]:
        """Return the documents that the scores include."""
        return {doc: row for doc, row in self.rows.items() if row["readings"]}


@dataclass(frozen=True)
class Difference:
    """Holds one metric of both runs, on the documents on which it has a value in both.

    `n_unscored` counts the scored documents that it leaves out, because it has no value in one of the runs. `reason` says why there is no difference, `no_interval` why a difference has no interval.
    """

    a: float | None
    b: float | None
    difference: float | None
    ci95: tuple[float, float] | None
    reason: str | None = None
    no_interval: str | None = None
    n_unscored: int = 0


@dataclass
class Discordance:
    """Counts the documents that both runs, one run or neither has right. `holm_p` is `p` after Holm's correction."""

    both: int
    only_a: int
    only_b: int
    neither: int
    p: float
    holm_p: float


@dataclass(frozen=True)
class ReadingDifference:
    """Holds one reading of both runs; `discordance` is None if answers have grades instead of right or wrong.

    `n` counts the documents that it has in both runs, and `n_left_out` the others: a judge failed on them, for example.
    """

    metrics: dict[str, Difference]
    discordance: Discordance | None
    n: int
    n_left_out: int


@dataclass(frozen=True)
class TaskDifference:
    """Holds one task of both runs; `flips` are documents that one run alone has right in the headline's reading.

    `n_other_target` counts documents that both runs scored, each by another right answer; they are not compared.
    """

    task: str
    n_paired: int
    n_only_a: int
    n_only_b: int
    headline: Mapping[str, Any] | None
    readings: dict[str, ReadingDifference]
    flips: list[dict[str, Any]] = field(default_factory=list)
    n_other_target: int = 0


def paired_metrics(task: str, a: TaskRows, b: TaskRows) -> TaskDifference:
    """Compare every reading and metric that both runs have, on the documents that both scored by the same right answer.

    `correct` adds Holm's correction later.
    """
    scored = a.scored, b.scored
    n_both = sum(doc in scored[1] for doc in scored[0])
    docs = paired_docs(a, b)
    readings = {
        name: _reading(name, a, b, docs) for name in a.summary["readings"] if name in b.summary["readings"]
    }
    headline = a.summary.get("headline")
    first = headline["reading"] if headline else next(iter(readings), "")
    return TaskDifference(
        task=task,
        n_paired=len(docs),
        n_only_a=len(scored[0]) - n_both,
        n_only_b=len(scored[1]) - n_both,
        headline=headline,
        readings=readings,
        flips=flips(a, b, in_both(first, a, b, docs), first) if first in readings else [],
        n_other_target=n_both - len(docs),
    )


def paired_docs(a: TaskRows, b: TaskRows) -> list[int]:
    """Return the documents that both runs scored, without those whose right answers differ: they are not one question."""
    scored = a.scored, b.scored
    return [
        doc for doc, row in scored[0].items() if doc in scored[1] and not other_target(row, scored[1][doc])
    ]


def other_target(a: JsonObject, b: JsonObject) -> bool:
    """Return whether two rows have different right answers; a letter stands for its option's text."""
    return a["target"] != b["target"] and _target_texts(a) != _target_texts(b)


def _target_texts(row: JsonObject) -> list[Any]:
    targets = row["target"] if isinstance(row["target"], list) else [row["target"]]
    text_of = dict(zip(row.get("letters", ()), row.get("choices", ()), strict=False))
    return [text_of.get(target, target) if isinstance(target, str) else target for target in targets]


def in_both(reading: str, a: TaskRows, b: TaskRows, docs: Sequence[int]) -> list[int]:
    """Return the documents that the reading has in both runs, and leaves out in neither: a judge may have failed."""
    recorded = ([side.rows[doc]["readings"].get(reading) for doc in docs] for side in (a, b))
    return [
        doc
        for doc, *pair in zip(docs, *recorded, strict=True)
        if not any(read is None or (read["answer"] is None and read.get("rule") in LEFT_OUT) for read in pair)
    ]


def correct(families: Sequence[Mapping[str, ReadingDifference]]) -> None:
    """Set the p-values adjusted by Holm's method; the tests of readings with the same name form one family."""
    for name in {name for readings in families for name in readings}:
        tests = [readings[name].discordance for readings in families if name in readings]
        family = [test for test in tests if test is not None]
        for test, p in zip(family, holm([test.p for test in family]), strict=True):
            test.holm_p = p


def _reading(name: str, a: TaskRows, b: TaskRows, paired_rows: Sequence[int]) -> ReadingDifference:
    docs = in_both(name, a, b, paired_rows)
    metrics = {
        metric: _difference(name, metric, a, b, docs)
        for metric in a.summary[name]
        if metric in b.summary[name]
    }
    return ReadingDifference(metrics, _discordance(name, a, b, docs), len(docs), len(paired_rows) - len(docs))


def _difference(reading: str, name: str, a: TaskRows, b: TaskRows, docs: Sequence[int]) -> Difference:
    """Compare one metric, rebuilt from the samples; no difference unless that reproduces both runs' values."""
    found = paired_counts(reading, name, a, b, docs)
    if isinstance(found, str):
        recorded = [side.summary[reading][name]["value"] if docs else None for side in (a, b)]
        return Difference(recorded[0], recorded[1], None, None, found)
    compared = difference(found.first, found.second, found.clusters, found.metric)
    return replace(compared, n_unscored=len(docs) - len(found.first))


class PairedCounts(NamedTuple):
    """Holds the counts [n, k] of the same documents in both runs, their clusters, and the metric."""

    first: NDArray[Any]
    second: NDArray[Any]
    clusters: Sequence[str]
    metric: Metric


def paired_counts(
    reading: str, name: str, a: TaskRows, b: TaskRows, docs: Sequence[int]
) -> PairedCounts | str:
    """Rebuild one metric's counts from the samples of both runs, or return the reason why that cannot be."""
    spec = (a.summary.get("metrics") or {}).get(reading, {}).get(name)
    if spec is None:
        return "results.json does not say how it is computed"
    if not docs:
        return "no document was scored in both runs"
    metric = rebuilt(spec, name, reading)
    recorded = [side.summary[reading][name]["value"] for side in (a, b)]
    docs = [doc for doc in docs if _has_values(reading, name, metric, a.rows[doc], b.rows[doc])]
    if not docs:
        return "no document has a value in both runs"
    scored = [[row for row in side.scored.values() if reading in row["readings"]] for side in (a, b)]
    halves = recomputed(metric, reading, name, scored, recorded)
    if halves is None:
        return "it cannot be computed again from the samples alone"
    places = [{row["doc_id"]: place for place, row in enumerate(side)} for side in scored]
    chosen = [half[[at[doc] for doc in docs]] for half, at in zip(halves, places, strict=True)]
    return PairedCounts(chosen[0], chosen[1], clusters([a.rows[doc] for doc in docs]), metric)


def _has_values(reading: str, name: str, metric: Metric, *rows: JsonObject) -> bool:
    """Return whether the metric has a value on a document in both runs; else one run would be measured on easier rows.

    A metric over all rows has none on any row of either run, and takes them all.
    """
    known = {row["readings"][reading]["scores"].get(name) is not None for row in rows}
    return known == {True} or (known == {False} and not metric.counts_unscored)


def difference(
    first: NDArray[Any], second: NDArray[Any], clusters: Sequence[str], metric: Metric
) -> Difference:
    """Return second - first with its 95 % interval, from counts [n, k] of the same documents in the same order."""
    values = [metric.total(counts) for counts in (first, second)]
    if values[0] is None or values[1] is None:
        return Difference(values[0], values[1], None, None, "one of the runs has no value")
    if not metric.of_answers:
        return Difference(values[0], values[1], values[1] - values[0], None, no_interval=OF_NO_ANSWER)
    found = paired_interval(paired(first, second, clusters, metric.value, metric.share, metric.rowwise))
    return Difference(values[0], values[1], values[1] - values[0], found.ci95, no_interval=found.reason)


def clusters(rows: Sequence[JsonObject]) -> list[str]:
    """Return the cluster of each row, the unit of intervals: the recorded one, or the clips.

    The clips serve if a row has no recorded cluster, or if all rows have the same.
    """
    recorded = [row.get("cluster") for row in rows]
    if None not in recorded and len(set(recorded)) > 1:
        return [str(name) for name in recorded]
    return [str([clip["path"] for clip in row["audio"]] or row["doc_id"]) for row in rows]


def _codes(name: str, side: TaskRows, docs: Sequence[int]) -> list[str]:
    headline = deciding(side.summary.get("headline"), side.summary.get("metrics"))
    return [outcome_of(side.rows[doc], name, headline).code for doc in docs]


def _discordance(name: str, a: TaskRows, b: TaskRows, docs: Sequence[int]) -> Discordance | None:
    """Count right and wrong answers; unanswered counts as not right. None if answers have grades."""
    codes = [_codes(name, side, docs) for side in (a, b)]
    if not docs or {*codes[0], *codes[1]} - {RIGHT, WRONG, UNANSWERED}:
        return None
    pairs = Counter((x == RIGHT, y == RIGHT) for x, y in zip(*codes, strict=True))
    only_a, only_b = pairs[True, False], pairs[False, True]
    gains: Counter[str] = Counter()
    for cluster, x, y in zip(clusters([a.rows[doc] for doc in docs]), *codes, strict=True):
        gains[cluster] += (y == RIGHT) - (x == RIGHT)
    p = sign_flip(gains.values())
    return Discordance(pairs[True, True], only_a, only_b, pairs[False, False], p, p)


def flips(a: TaskRows, b: TaskRows, docs: Sequence[int], reading: str) -> list[dict[str, Any]]:
    """Return the documents that only one run has right, with both answers, in the order of `docs`."""
    codes = [_codes(reading, side, docs) for side in (a, b)]
    return [
        {
            "doc_id": doc,
            "target": a.rows[doc]["target"],
            "a": _answer_entry(a.rows[doc], reading, first),
            "b": _answer_entry(b.rows[doc], reading, second),
            "audio": [clip["path"] for clip in a.rows[doc]["audio"]],
        }
        for doc, first, second in zip(docs, *codes, strict=True)
        if (first == RIGHT) != (second == RIGHT)
    ]


def _answer_entry(row: JsonObject, reading: str, code: str) -> dict[str, Any]:
    return {
        "outcome": NAMES[code],
        "answer": row["readings"][reading]["answer"],
        "response": row["response"],
    }
