"""Rebuilds the metrics of a finished run from its files, which must give the run's own values again."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import product
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.filter import Answer, FilterContext, at_turn
from marathon_eval.api.metric import Metric, ScoredRow, finite_score
from marathon_eval.errors import RowError
from marathon_eval.scoring.metrics.accuracy import same_label
from marathon_eval.scoring.metrics.build import UNNAMED_NORMALIZER, build_metric
from marathon_eval.scoring.metrics.own import recorded_metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

#: A JSON object of a run's files: results.json, or one line of samples_<task>.jsonl.
JsonObject = Mapping[str, Any]
#: The turn of a dialogue that a reading reads, from 1; None for a task with one question a row.
_Turn = int | Literal["last"] | None
#: Tolerance with which a metric rebuilt from files must reproduce the run's own value.
SAME = 1e-9


def rebuilt(spec: Mapping[str, Any], name: str, reading: str) -> Metric:
    """Build the metric of an entry in results.json. Raises MarathonError if the entry is no longer valid."""
    from_hub = spec.get("hf_evaluate") or str(spec.get("metric")).startswith("evaluate:")
    if from_hub or "code" in spec:
        # a results file must not make this program run code from elsewhere
        return recorded_metric(spec, name)
    return build_metric(spec, f"results.json: {reading}: {name}", UNNAMED_NORMALIZER)


def recomputed(
    metric: Metric,
    reading: str,
    name: str,
    scored: Sequence[Sequence[JsonObject]],
    recorded: Sequence[float | None],
) -> tuple[NDArray[Any], NDArray[Any]] | None:
    """Return the counts of both runs' rows, which must give the recorded values; None if they do not.

    A dialogue's samples have a right answer for each turn and do not say which one a reading compares with: it is the
    turn that gives the recorded scores of every row too. Samples do not say either whether a letter that is also an
    option's text stands for that text (`gold_is: any_text`), which the recorded scores tell in the same way.
    """
    rows = [row for side in scored for row in side]
    mistakable = any(map(_has_letter_options, rows))
    for turn, free_gold in product(_turns(rows), (False, True) if mistakable else (False,)):
        as_asked = partial(row_of_sample, reading=reading, turn=turn, free_gold=free_gold)
        try:
            counts = metric.counts(map(as_asked, rows))
        except RowError:  # some row has fewer turns
            continue
        halves = counts[: len(scored[0])], counts[len(scored[0]) :]
        certain = turn is None and not mistakable
        if all(_same(metric.total(half), value) for half, value in zip(halves, recorded, strict=True)) and (
            certain or all(_same_score(metric, as_asked(row), row["readings"][reading], name) for row in rows)
        ):
            return halves
    return None


def _has_letter_options(row: JsonObject) -> bool:
    """Return whether a text of one of the row's options is itself a letter of the row."""
    letters = {same_label(letter) for letter in row.get("letters", ())}
    return bool(letters) and any(same_label(text) in letters for text in row.get("choices", ()))


def _turns(rows: Iterable[JsonObject]) -> Iterator[_Turn]:
    """Yield the turns whose right answer a reading of these rows may compare with; None for rows of one question."""
    asked = [
        len(row["target"]) for row in rows if row.get("turns_sha256") and isinstance(row["target"], list)
    ]
    if asked:
        yield from ("last", *range(1, max(asked) + 1))
    yield None


def _same_score(metric: Metric, asked: ScoredRow, recorded: JsonObject, name: str) -> bool:
    """Return whether the metric gives a row the score that the run recorded for it."""
    if asked.answer.left_out and not metric.counts_left_out:
        return True
    return _same(finite_score(metric.score(asked)), recorded["scores"].get(name))


def _same(value: float | None, recorded: float | None) -> bool:
    if value is None or recorded is None:
        return value is recorded
    return math.isclose(value, recorded, rel_tol=SAME, abs_tol=SAME)


def row_of_sample(row: JsonObject, reading: str, turn: _Turn = None, free_gold: bool = False) -> ScoredRow:
    """Convert a line of samples_<task>.jsonl to the type that metrics take; of a dialogue, with the right answer of `turn`.

    `free_gold` is that of the row's FilterContext.
    Raises RowError where the row has no such turn.
    """
    recorded = row["readings"][reading]
    path = row["audio"][0]["path"] if row["audio"] else ""
    doc = {"path": path, **row["fields"], "scores": recorded["scores"]}
    target = tuple(row["target"]) if isinstance(row["target"], list) else row["target"]
    if turn is not None and isinstance(target, tuple):
        target = at_turn(target, turn, f"row {row['doc_id']}: the targets")
    context = FilterContext(tuple(row.get("choices", ())), tuple(row.get("letters", ())), doc, free_gold)
    return ScoredRow(Answer(recorded["answer"], recorded["rule"]), target, context, str(row.get("cluster")))
