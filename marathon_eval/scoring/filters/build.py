"""Response text -> answer, and which rule found it: one named pipeline of filters per reading of the answers.

The functions of lm-evaluation-harness 0.4.13 are here under its names (lm_eval_filters.py); ours are `choice`,
`choice_text` (choice_filter.py), `transcript` (transcript_filter.py), `strip_reasoning` (reasoning.py), a judge's verdicts
(judge_readings.py) and the benchmarks' released rules (parity/).
No answer is `Answer(None, rule)`, and no later filter turns it into one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from marathon_eval.api.filter import FilterStep, Pipeline
from marathon_eval.errors import MarathonError, did_you_mean, unknown
from marathon_eval.scoring.arguments import built

REFUSED_FILTERS = {
    "custom": "it runs Python named in a YAML; use regex, map or choice",
    "decontaminate": "there is no training set to compare with",
}
#: Filters that make one answer of several repeats.
SELECTING = frozenset({"take_first", "majority_vote"})


def build_pipeline(spec: Mapping[str, Any], where: str) -> Pipeline:
    """One entry of `filter_list`: `{name, filter: [{function, **options}]}`.

    Raises MarathonError that begins with `where` (file:line) for unknown functions, options and values.
    """
    entries = spec.get("filter", [])
    name = spec.get("name")
    # a terminal would obey control characters
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise MarathonError(f"{where}: a filter pipeline needs a name of printable characters, got {name!r}")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise MarathonError(f"{where}: pipeline '{spec['name']}' needs `filter`, a list of {{function: ...}}")
    if surplus := [key for key in spec if key not in ("name", "filter")]:
        raise MarathonError(
            f"{where}: a filter pipeline has no key '{surplus[0]}'.{did_you_mean(surplus[0], ['name', 'filter'])} "
            "It has: name, filter"
        )
    functions = [_function(entry, where) for entry in entries]
    steps = [_step(entry, where) for entry in entries]
    needs = any(name in ("choice", "choice_text", "multi_choice_regex") for name in functions)
    return Pipeline(spec["name"], tuple(steps), needs, not SELECTING.isdisjoint(functions))


def filter_names() -> list[str]:
    """Every function that `filter_list` may name."""
    return sorted(_factories())


def _function(entry: Any, where: str) -> str:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("function"), str):
        raise MarathonError(f"{where}: a filter is {{function: name, ...}}, got {entry!r}")
    return str(entry["function"])


def _step(entry: Mapping[str, Any], where: str) -> FilterStep:
    name = _function(entry, where)
    if name in REFUSED_FILTERS:
        raise MarathonError(f"{where}: filter '{name}' is not supported here: {REFUSED_FILTERS[name]}")
    factories = _factories()
    if name not in factories:
        raise unknown(where, "filter", name, factories)
    options = {key: value for key, value in entry.items() if key != "function"}
    step: FilterStep = built(factories[name], options, f"{where}: filter '{name}'")
    return step


def _factories() -> dict[str, Callable[..., FilterStep]]:
    """Imported here, not at the top: the filters' files import this one's types."""
    from marathon_eval.scoring import judge
    from marathon_eval.scoring.filters import lm_eval
    from marathon_eval.scoring.filters.choice import choice, choice_text
    from marathon_eval.scoring.filters.transcript import transcript
    from marathon_eval.scoring.reasoning import strip_reasoning
    from marathon_eval.scoring.released import audiomarathon, audiomarathon_asr, common

    ours: dict[str, Callable[..., FilterStep]] = {
        "choice": choice,
        "choice_text": choice_text,
        "strip_reasoning": strip_reasoning,
        "transcript": transcript,
        "audiomarathon.librispeech": audiomarathon_asr.transcript_step,
    }
    paper = {
        f"audiomarathon.{task}": audiomarathon.step_factory(rule)
        for task, rule in audiomarathon.RULES.items()
    }
    return {**lm_eval.LM_EVAL_FILTERS, **judge.JUDGE_FILTERS, **ours, **common.AIR_BENCH_FILTERS, **paper}
