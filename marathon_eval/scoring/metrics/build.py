"""Answer + target -> score, and the sum of counts that a metric's value is made from.

A metric turns every row into numbers that add up (hits, confusion cells, edits) and turns sums back into its value,
so that one matrix product gives all draws of a bootstrap (stats.py). Values are fractions; WER may exceed 1.
"""

from __future__ import annotations

import string
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from re import Pattern
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar

from marathon_eval.api.metric import Numbers, Tally
from marathon_eval.errors import MarathonError, unknown
from marathon_eval.scoring.filters.build import Answer, FilterContext, built
from marathon_eval.scoring.patterns import substitute

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Scored:
    """One scored row: what a reading found, what was right (several: any of them), and the clip it belongs to."""

    answer: Answer
    target: str | tuple[str, ...]
    context: FilterContext
    cluster: str

    @property
    def targets(self) -> tuple[str, ...]:
        """The right answers, always as a tuple."""
        return (self.target,) if isinstance(self.target, str) else self.target

    @property
    def label(self) -> str:
        """The one right answer that the row is counted under: the first."""
        return self.targets[0] if self.targets else ""


class Metric(ABC):
    """One entry of `metric_list`. `name` is its key in the results."""

    name: str
    higher_is_better: bool = True
    #: The entry that it was built from.
    spec: Mapping[str, Any] = MappingProxyType({})
    #: Whether counts need more of a row than its own number.
    reads_rows: ClassVar[bool] = True

    @abstractmethod
    def score(self, row: Scored) -> float | None:
        """The row's own number, as samples_*.jsonl keeps it; None where the metric says nothing of it."""

    @abstractmethod
    def tally(self) -> Tally:
        """What takes rows as they pass, and gives their additive counts [n, k]."""

    def counts(self, rows: Sequence[Scored]) -> NDArray[Any]:
        """Additive counts per row [n, k]; k depends on the rows (labels), so one call covers all that are compared."""
        tally = self.tally()
        for row in rows:
            tally.add(row, self.score(row))
        return tally.counts()

    @abstractmethod
    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        """Summed counts [draws, k] -> metric values [draws]; nan where a draw has no value."""

    def aggregate(self, rows: Sequence[Scored]) -> float | None:
        """The metric over rows; None where it has no value (no rows, no options)."""
        return self.total(self.counts(rows)) if rows else None

    def total(self, counts: NDArray[Any]) -> float | None:
        """The metric of counts [n, k]; None where it has no value."""
        import numpy as np

        value = float(self.value(counts.sum(axis=0, keepdims=True))[0])
        return None if np.isnan(value) else value


class Mean(Metric):
    """The plain mean of a number per row; rows without one are left out."""

    reads_rows: ClassVar[bool] = False

    def __init__(
        self,
        name: str,
        score: Callable[[Scored], float | None],
        higher_is_better: bool = True,
        empty: float = float("nan"),
    ) -> None:
        self.name = name
        self.higher_is_better = higher_is_better
        self._score = score
        self._empty = empty

    def score(self, row: Scored) -> float | None:
        return self._score(row)

    def tally(self) -> Tally:
        """[sum, rows]."""
        return Numbers(2, lambda row, score: counted(score))

    def value(self, sums: NDArray[Any]) -> NDArray[Any]:
        return ratio(sums[:, 0], sums[:, 1], self._empty)


def counted(score: float | None) -> tuple[float, float]:
    """A row's number and 1 for the row; zeros for a row without one."""
    return (0.0, 0.0) if score is None else (score, 1.0)


def ratio(above: NDArray[Any], below: NDArray[Any], empty: float = float("nan")) -> NDArray[Any]:
    """Elementwise above / below, `empty` where below is 0."""
    import numpy as np

    result: NDArray[Any] = np.full(np.broadcast(above, below).shape, empty)
    np.divide(above, below, out=result, where=below != 0)
    return result


def same_label(text: str) -> str:
    """What makes two labels one: case and outer white space do not count."""
    return text.strip().casefold()


def said_like(row: Scored, target: str) -> str | None:
    """The answer in the target's form: a letter where that is a letter, an option's text where it is a text."""
    value, choices, letters = row.answer.value, row.context.choices, row.context.letters
    if value is None or not letters or value == target:
        return value
    if value in letters and target in choices and target not in letters:
        return choices[letters.index(value)]
    if target in letters and choices.count(value) == 1 and value not in letters:
        return letters[choices.index(value)]
    return value


def is_hit(row: Scored) -> float:
    """1 where the answer is one of the targets; no answer is 0."""
    for target in row.targets:
        said = said_like(row, target)
        if said is not None and same_label(said) == same_label(target):
            return 1.0
    return 0.0


def accuracy() -> Metric:
    """Rows answered right over all rows; an unanswered row is wrong."""
    return Mean("accuracy", is_hit)


def acc() -> Metric:
    """`accuracy` under lm-eval's name."""
    return Mean("acc", is_hit)


def parse_rate() -> Metric:
    """Rows in which an answer was found."""
    return Mean("parse_rate", lambda row: float(row.answer.value is not None))


def chance() -> Metric:
    """What blind guessing gets: the mean of 1 / options; None for open questions."""
    return Mean("chance", lambda row: 1 / len(row.context.choices) if row.context.choices else None)


def exact_match(
    ignore_case: bool = False,
    ignore_punctuation: bool = False,
    ignore_numbers: bool = False,
    regexes_to_ignore: list[Pattern[str]] | None = None,
    choice_forms: bool = False,
) -> Metric:
    """lm-eval's exact match: answer and target equal, after leaving out what the options say; any of several targets.

    With `choice_forms`, ours for rows with options: the answer is the right letter, the right option's full text, or
    letter and text together, compared without case, punctuation and spacing.
    """
    surplus = (string.punctuation if ignore_punctuation else "") + (string.digits if ignore_numbers else "")
    removed = str.maketrans("", "", surplus)

    def plain(text: str) -> str:
        for pattern in regexes_to_ignore or ():
            text = substitute(pattern, "", text)
        return (text.lower() if ignore_case else text).translate(removed)

    def score(row: Scored) -> float:
        if row.answer.value is None:
            return 0.0
        if choice_forms and row.context.choices:
            return float(spells_choice(row.answer.value, row))
        said = plain(row.answer.value)
        return float(any(said == plain(target) for target in row.targets))

    return Mean("exact_match", score)


def spells_choice(value: str, row: Scored) -> bool:
    """Whether a text is a target's letter, its option's full text, or both, and nothing else."""
    from marathon_eval.scoring.filters.option_text import plain

    choices, letters = row.context.choices, row.context.letters
    said = plain(value)
    for target in row.targets:
        for place, text in enumerate(choices):
            letter = letters[place] if place < len(letters) else ""
            if plain(target) in (plain(letter) or None, plain(text)) and said in (
                plain(target),
                plain(text),
                plain(f"{letter} {text}"),
                plain(letter) or None,
            ):
                return True
    return False


REFUSED = {
    **dict.fromkeys(
        (
            "acc_norm",
            "acc_bytes",
            "acc_mutual_info",
            "acc_all",
            "perplexity",
            "likelihood",
            "word_perplexity",
        ),
        "it needs likelihoods; answers are generated here",
    ),
    **dict.fromkeys(
        ("byte_perplexity", "bits_per_byte", "brier_score"),
        "it needs likelihoods; answers are generated here",
    ),
    **dict.fromkeys(
        ("bleu", "chrf", "chrf++", "ter"), "use evaluate:sacrebleu, evaluate:chrf or evaluate:ter"
    ),
    "mcc": "use evaluate:matthews_correlation, or macro_f1",
    "bypass": "use --predict_only",
}
_AGGREGATIONS = ("mean", "nanmean", "f1")


def build_metric(spec: Mapping[str, Any], where: str) -> Metric:
    """One entry of `metric_list`: `{metric, name, aggregation, higher_is_better, filter_list, **options}`.

    `name` renames it in the results; `filter_list` (the readings it is for) is the task's business. Raises MarathonError
    that begins with `where` for unknown metrics, options and values.
    """
    options = {
        key: value for key, value in spec.items() if key not in ("metric", "filter_list", "hf_evaluate")
    }
    called = spec.get("metric")
    if not isinstance(called, str):
        raise MarathonError(f"{where}: a metric is {{metric: name, ...}}, got {called!r}")
    name, aggregation = options.pop("name", None), options.pop("aggregation", None)
    if not str(name).isprintable():  # a terminal would obey control characters
        raise MarathonError(f"{where}: metric '{called}': name {name!r} is not printable")
    higher = options.pop("higher_is_better", None)
    if spec.get("hf_evaluate") and not called.startswith("evaluate:"):
        called = f"evaluate:{called}"
    if aggregation is not None and aggregation not in _AGGREGATIONS:
        raise MarathonError(
            f"{where}: metric '{called}': aggregation '{aggregation}' is not supported here. Known: {', '.join(_AGGREGATIONS)}"
        )
    metric = _metric(called, options, where)
    metric.spec = MappingProxyType(dict(spec))
    metric.name = metric.name if name is None else str(name)
    metric.higher_is_better = metric.higher_is_better if higher is None else bool(higher)
    return metric


def _metric(called: str, options: Mapping[str, Any], where: str) -> Metric:
    if called in REFUSED:
        raise MarathonError(f"{where}: metric '{called}' is not supported here: {REFUSED[called]}")
    if called.startswith("evaluate:"):
        from marathon_eval.scoring.metrics.hub import HubMetric

        return HubMetric(called.removeprefix("evaluate:"), options, where)
    factories = _factories()
    if called not in factories:
        raise unknown(where, "metric", called, factories)
    metric: Metric = built(factories[called], options, f"{where}: metric '{called}'")
    return metric


def metric_names() -> list[str]:
    """Every metric that `metric_list` may name, apart from `evaluate:<name>`."""
    return sorted(_factories())


def _factories() -> dict[str, Callable[..., Metric]]:
    """Imported here, not at the top: the metrics' files import this one's types."""
    from marathon_eval.scoring import judge
    from marathon_eval.scoring.metrics import classification, wer
    from marathon_eval.scoring.released import audiomarathon_metrics, common

    here: dict[str, Callable[..., Metric]] = {
        factory.__name__: factory for factory in (accuracy, acc, parse_rate, chance, exact_match)
    }
    return {
        **here,
        **classification.METRICS,
        **wer.METRICS,
        **judge.METRICS,
        **audiomarathon_metrics.METRICS,
        **common.METRICS,
    }
