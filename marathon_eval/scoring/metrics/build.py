"""Answer + target -> score, and the sum of counts that a metric's value is made from.

A metric turns every row into numbers that add up (hits, confusion cells, edits) and turns sums back into its value,
so that one matrix product gives all draws of a bootstrap (stats.py). Values are fractions; WER may exceed 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from marathon_eval.api.metric import Metric
from marathon_eval.errors import MarathonError, unknown
from marathon_eval.scoring.arguments import built
from marathon_eval.scoring.metrics.accuracy import acc, accuracy, chance, exact_match, parse_rate

REFUSED_METRICS = {
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
    if called in REFUSED_METRICS:
        raise MarathonError(f"{where}: metric '{called}' is not supported here: {REFUSED_METRICS[called]}")
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
        **classification.CLASSIFICATION_METRICS,
        **wer.WER_METRICS,
        **judge.JUDGE_METRICS,
        **audiomarathon_metrics.AUDIOMARATHON_METRICS,
        **common.RELEASED_METRICS,
    }
