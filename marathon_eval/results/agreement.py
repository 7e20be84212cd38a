"""Measures how far two judges, or a judge and people, agree: shares, Cohen's kappa, rank correlation, position bias.

Sources: Cohen 1960, https://doi.org/10.1177/001316446002000104; the weighted form of 1968,
https://doi.org/10.1037/h0026256; position bias as in https://arxiv.org/abs/2306.05685, section 3.3.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.results.judge_labels import SCORE, SCORED, Judgement, Judgements
from marathon_eval.scoring.intervals import count_interval

LABEL_KINDS = {
    "pair": "answer against reference",
    "align": "which option an answer means",
    "rubric": "rating of the reasoning",
    "grade": "grade of the answer",
    SCORE: "scores of people",
}
#: Grades that are no whole numbers are classes, of which Cohen's kappa is told, if there are no more than this.
FEW_GRADES = 5


@dataclass(frozen=True)
class Agreement:
    """Holds the agreement of two judges on the rows that both judged; a figure is None if it is undefined."""

    kind: str
    task: str
    n: int
    n_one_alone: int
    n_other_alone: int
    agreement: float | None
    ci95: tuple[float, float] | None
    kappa: float | None
    weighted_kappa: float | None
    spearman: float | None
    #: The mean of the differences without their signs, and of the other's score minus the one's.
    mean_difference: float | None
    other_minus_one: float | None = None
    #: Why there is no interval.
    no_interval: str | None = None
    #: The judge's name where both sides are runs that it judged, so that the figures are its agreement with itself.
    same_judge: str | None = None


@dataclass(frozen=True)
class Bias:
    """Holds the position bias of one judge: `position_bias` above 0 favours the answer in second place."""

    n: int
    position_bias: float | None
    flip_rate: float | None
    win_rate: float | None


def compared_labels(
    one: Judgements, other: Judgements, shared: Mapping[str, str] = MappingProxyType({})
) -> list[Agreement]:
    """Compare two sets of judgements, by kind and task; `shared` names the judges of tasks that both sides had judged by the same one.

    Labels that name no task are assigned to the other side's task, which must be the only one; scores that name no kind
    of judging to the other side's kind. Raises MarathonError if no row is in both.
    """
    one, other = _with_tasks(one, other), _with_tasks(other, one)
    one, other = _with_kinds(one, other), _with_kinds(other, one)
    parts = dict.fromkeys((place.kind, place.task) for place in (*one, *other))
    agreements = [
        replace(
            _compared(kind, task, _part(one, kind, task), _part(other, kind, task)),
            same_judge=shared.get(task),
        )
        for kind, task in parts
    ]
    if not any(agreement.n for agreement in agreements):
        raise MarathonError(
            f"judge_agreement: no row was judged by both: the first has {_held(one)}; the second has {_held(other)}"
        )
    return agreements


def _held(judged: Judgements) -> str:
    """Return what a side holds, as in `heard: grade (grade of the answer), rows 0 to 7`; `no row` if nothing."""
    if not judged:
        return "no row"
    parts: dict[tuple[str, str], list[int]] = {}
    for place in judged:
        parts.setdefault((place.task, place.kind), []).append(place.doc_id)
    return " and ".join(
        f"{task or 'no task'}: {kind} ({LABEL_KINDS[kind]}), "
        + (f"row {rows[0]}" if len(rows) == 1 else f"{len(rows)} rows from {min(rows)} to {max(rows)}")
        for (task, kind), rows in parts.items()
    )


def _with_tasks(judged: Judgements, other: Judgements) -> Judgements:
    tasks = {place.task for place in other if place.task}
    if not any(not place.task for place in judged):
        return judged
    if len(tasks) > 1:
        raise MarathonError(f"judge_agreement: the labels must name a task: {', '.join(sorted(tasks))}")
    return {
        place._replace(task=place.task or next(iter(tasks), "")): value for place, value in judged.items()
    }


def _with_kinds(judged: Judgements, other: Judgements) -> Judgements:
    """Give scores of no kind that of the other side's scores of the same task. Raises MarathonError if it has several."""
    kinds: dict[str, list[str]] = {}
    for kind, task in dict.fromkeys((place.kind, place.task) for place in other):
        if kind in SCORED:
            kinds.setdefault(task, []).append(kind)
    for task in dict.fromkeys(place.task for place in judged if place.kind == SCORE):
        if len(kinds.get(task, ())) > 1:
            raise MarathonError(
                f"judge_agreement: {task} was judged in several ways: the labels must name a kind: "
                f"{', '.join(sorted(kinds[task]))}"
            )
    return {
        place if place.kind != SCORE else place._replace(kind=kinds.get(place.task, [SCORE])[0]): value
        for place, value in judged.items()
    }


def _part(judged: Judgements, kind: str, task: str) -> dict[int, Judgement]:
    return {
        place.doc_id: value for place, value in judged.items() if (place.kind, place.task) == (kind, task)
    }


def _refuse_off_scale(labels: Mapping[int, Judgement], judged: Mapping[int, Judgement]) -> None:
    """Raise MarathonError for a score that people gave outside the scale that the judge's task declares."""
    scale = next((judgement.scale for judgement in judged.values() if judgement.scale is not None), None)
    for label in labels.values():
        if scale is None or label.where is None or label.score is None:
            continue
        if not scale[0] <= label.score <= scale[1]:
            raise MarathonError(
                f"{label.where}: score {label.score:g} is outside the judge's scale, {scale[0]:g} to {scale[1]:g}"
            )


def _compared(
    kind: str, task: str, one: Mapping[int, Judgement], other: Mapping[int, Judgement]
) -> Agreement:
    _refuse_off_scale(one, other)
    _refuse_off_scale(other, one)
    both = [(one[number], other[number], number) for number in one if number in other]
    for left, right, number in both:
        if None not in (left.response, right.response) and left.response != right.response:
            raise MarathonError(
                f"judge_agreement: {task}: row {number}: the two runs judged different answers"
            )
    labels = [(left.label, right.label) for left, right, _ in both if left.label and right.label]
    scores = [
        (left.score, right.score)
        for left, right, _ in both
        if left.score is not None and right.score is not None
    ]
    equal: Sequence[tuple[Any, Any]] = scores if kind in ("grade", SCORE) else labels
    score_columns = [*zip(*scores, strict=True)] or [(), ()]
    same = sum(left == right for left, right in equal)
    found = count_interval(same, len(equal)) if equal else None
    return Agreement(
        kind=kind,
        task=task,
        n=len(both),
        n_one_alone=len(one) - len(both),
        n_other_alone=len(other) - len(both),
        agreement=same / len(equal) if equal else None,
        ci95=None if found is None else found.ci95,
        kappa=kappa(*zip(*equal, strict=True)) if equal and _are_classes(equal) else None,
        weighted_kappa=weighted_kappa(*score_columns) if kind == "pair" else None,
        spearman=spearman(*score_columns),
        mean_difference=sum(abs(a - b) for a, b in scores) / len(scores) if scores else None,
        other_minus_one=sum(b - a for a, b in scores) / len(scores) if scores else None,
        no_interval=None if found is None else found.reason,
    )


def _are_classes(pairs: Sequence[tuple[Any, Any]]) -> bool:
    """Return whether these are labels, whole grades, or a few other grades such as those of `labels:`."""
    found = {value for pair in pairs for value in pair}
    whole = all(isinstance(value, str) or float(value).is_integer() for value in found)
    return whole or len(found) <= FEW_GRADES


def bias(judged: Judgements) -> Bias:
    """Return the position bias over the rows in which the replies of both passes could be parsed."""
    pairs = [judgement.pair for judgement in judged.values() if judgement.pair is not None]
    passes = [(pair.straight, pair.swapped) for pair in pairs if pair.straight and pair.swapped]
    if not passes:
        return Bias(0, None, None, None)
    signs = [[(p.answer > p.reference) - (p.answer < p.reference) for p in both] for both in passes]
    return Bias(
        n=len(passes),
        position_bias=sum(first.answer - second.answer for first, second in passes) / len(passes),
        flip_rate=sum(first != second for first, second in signs) / len(passes),
        win_rate=sum(sign > 0 for both in signs for sign in both) / (2 * len(passes)),
    )


def kappa(one: Sequence[Any], other: Sequence[Any]) -> float | None:
    """Return Cohen's kappa; None without rows, or if both give one and the same label to every row."""
    n = len(one)
    if not n:
        return None
    left, right = Counter(one), Counter(other)
    expected = sum(left[label] * right[label] for label in left) / n**2
    observed = sum(a == b for a, b in zip(one, other, strict=True)) / n
    return None if expected == 1 else (observed - expected) / (1 - expected)


def weighted_kappa(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return kappa with quadratic weights (Cohen 1968, https://doi.org/10.1037/h0026256); None if all scores are equal."""
    n = len(one)
    if len({*one, *other}) < 2:
        return None
    observed = sum((a - b) ** 2 for a, b in zip(one, other, strict=True))
    # the sum of (a - b)^2 over all pairs of a score of one side and a score of the other
    squares = sum(a * a for a in one) + sum(b * b for b in other)
    expected = n * squares - 2 * sum(one) * sum(other)
    return 1 - n * observed / expected


def spearman(one: Sequence[float], other: Sequence[float]) -> float | None:
    """Return the rank correlation, ties having their mean rank; None if one side's scores are all equal."""
    left, right = ranks(one), ranks(other)
    n = len(left)
    if not n:
        return None
    middle = (n + 1) / 2
    spread = [sum((rank - middle) ** 2 for rank in side) for side in (left, right)]
    together = sum((a - middle) * (b - middle) for a, b in zip(left, right, strict=True))
    return None if not spread[0] or not spread[1] else float(together / (spread[0] * spread[1]) ** 0.5)


def ranks(values: Sequence[float]) -> list[float]:
    """Return the rank of each value, from 1; equal values get the mean of their ranks."""
    ordered = sorted(values)
    return [(bisect_left(ordered, value) + 1 + bisect_right(ordered, value)) / 2 for value in values]


def agreement_as_json(agreements: Sequence[Agreement], one: Bias, other: Bias) -> dict[str, Any]:
    """Return the content that `--json` prints."""
    return {"agreement": [asdict(entry) for entry in agreements], "one": asdict(one), "other": asdict(other)}
