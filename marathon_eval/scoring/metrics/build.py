"""Builds a metric from an entry of `metric_list` in a task's YAML.

A metric converts every row to numbers that add up (hits, confusion cells, edits) and computes its value from their
sums, so that leaving a clip out, or drawing it twice, is arithmetic (scoring/intervals.py). Values are fractions; WER may exceed 1.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from marathon_eval.api.metric import Metric
from marathon_eval.api.own_code import OwnCode
from marathon_eval.errors import MarathonError, unknown
from marathon_eval.scoring import grades, judge
from marathon_eval.scoring.arguments import built
from marathon_eval.scoring.metrics import (
    classification,
    intervals,
    label_sets,
    numbers,
    ranking,
    rules_followed,
    token_f1,
    wer,
)
from marathon_eval.scoring.metrics.accuracy import acc, accuracy, chance, exact_match, parse_rate
from marathon_eval.scoring.metrics.own import own_metric
from marathon_eval.scoring.released import (
    air_bench_mmar_mmau,
    audiomarathon_metrics,
    blab_times,
    form_tasks,
    lat_bench,
)

#: Metrics of lm-eval that are not supported, and why or what to use instead.
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
#: Defaults for entries written by earlier versions, which used Whisper's English normaliser if none was named.
UNNAMED_NORMALIZER: Mapping[str, Any] = MappingProxyType({"normalizer": "whisper_english"})
_AGGREGATIONS = ("mean", "nanmean", "f1")


def build_metric(
    spec: Mapping[str, Any],
    where: str,
    defaults: Mapping[str, Any] = MappingProxyType({}),
    own: OwnCode | None = None,
) -> Metric:
    """Build the metric of one entry of `metric_list`; `defaults` are the task's `language` and `normalizer`.

    If the metric accepts them and its entry omits them, they are added to the options and to `spec`.

    An entry is `{metric, name, aggregation, higher_is_better, filter_list, **options}`.
    `own` is the user's code of this name; its hashes are in the metric's `spec` under `code`.
    `aggregation` is accepted for lm-eval's sake and checked; each metric aggregates in its own way.
    `name` is the metric's key in results. `filter_list` names the readings that use it; the task evaluates that key.
    Raises MarathonError that begins with `where` (file:line) for unknown metrics, options and values.
    """
    options = {
        key: value for key, value in spec.items() if key not in ("metric", "filter_list", "hf_evaluate")
    }
    metric_name = spec.get("metric")
    if not isinstance(metric_name, str):
        raise MarathonError(f"{where}: a metric is {{metric: name, ...}}, got {metric_name!r}")
    name, aggregation = options.pop("name", None), options.pop("aggregation", None)
    if not str(name).isprintable():  # it is printed, and a terminal would obey control characters
        raise MarathonError(f"{where}: metric '{metric_name}': name {name!r} is not printable")
    higher = options.pop("higher_is_better", None)
    if spec.get("hf_evaluate") and not metric_name.startswith("evaluate:"):
        metric_name = f"evaluate:{metric_name}"
    if aggregation is not None and aggregation not in _AGGREGATIONS:
        raise MarathonError(
            f"{where}: metric '{metric_name}': aggregation '{aggregation}' is not supported here. Known: {', '.join(_AGGREGATIONS)}"
        )
    if own is None:
        inherited = _inherited(metric_name, options, defaults)
        metric = _metric(metric_name, {**options, **inherited}, where)
    else:
        inherited = {"code": dict(own.hashes)}
        metric = own_metric(own, options, where)
    metric.spec = MappingProxyType({**spec, **inherited})
    metric.name = metric.name if name is None else str(name)
    metric.higher_is_better = metric.higher_is_better if higher is None else bool(higher)
    return metric


def _inherited(
    metric_name: str, options: Mapping[str, Any], defaults: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return those defaults that the metric takes: `language` too where the entry has a `normalizer`."""
    missing = {key: value for key, value in defaults.items() if value is not None and key not in options}
    if "language" in options:
        missing.pop("normalizer", None)
    if not missing:
        return {}
    factory = metric_factories().get(metric_name)
    parameters = inspect.signature(factory).parameters if factory else {}
    return {key: value for key, value in missing.items() if key in parameters}


def _metric(metric_name: str, options: Mapping[str, Any], where: str) -> Metric:
    if metric_name in REFUSED_METRICS:
        raise MarathonError(
            f"{where}: metric '{metric_name}' is not supported here: {REFUSED_METRICS[metric_name]}"
        )
    if metric_name.startswith("evaluate:"):
        from marathon_eval.scoring.metrics.hub import HubMetric

        return HubMetric(metric_name.removeprefix("evaluate:"), options, where)
    factories = metric_factories()
    if metric_name not in factories:
        raise unknown(where, "metric", metric_name, factories)
    metric: Metric = built(factories[metric_name], options, f"{where}: metric '{metric_name}'")
    return metric


def metric_names() -> list[str]:
    """Return every metric that `metric_list` may name, apart from `evaluate:<name>`, sorted."""
    return sorted(metric_factories())


def metric_factories() -> dict[str, Callable[..., Metric]]:
    """Return what builds each metric, by its name in a task."""
    simple_metrics: dict[str, Callable[..., Metric]] = {
        factory.__name__: factory for factory in (accuracy, acc, parse_rate, chance, exact_match)
    }
    return {
        **simple_metrics,
        **classification.CLASSIFICATION_METRICS,
        **wer.WER_METRICS,
        **token_f1.TOKEN_METRICS,
        **numbers.NUMBER_METRICS,
        **label_sets.SET_METRICS,
        **ranking.RANKING_METRICS,
        **intervals.INTERVAL_METRICS,
        **rules_followed.RULE_METRICS,
        **judge.JUDGE_METRICS,
        **grades.GRADE_METRICS,
        **audiomarathon_metrics.AUDIOMARATHON_METRICS,
        **air_bench_mmar_mmau.RELEASED_METRICS,
        **form_tasks.FORM_TASK_METRICS,
        **blab_times.BLAB_TIME_METRICS,
        **lat_bench.LAT_BENCH_METRICS,
    }
