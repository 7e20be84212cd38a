"""Builds the filter pipeline of one entry of `filter_list` in a task's YAML; it extracts the answer from a response.

The names that `function` may take come from these files:

    filters/lm_eval.py                the filters of lm-evaluation-harness 0.4.13, under its names
    filters/choice.py                 `choice` and `choice_text`
    filters/transcript.py             `transcript`
    reasoning.py                      `strip_reasoning`
    judge.py, grades.py               the verdicts of an LLM judge: `judge_align`, `judge_pair`, `judge_rubric`, `judge_grade`
    released/audiomarathon.py         `audiomarathon.<task>`: the rules of AudioMarathon's released scripts
    released/audiomarathon_asr.py     `audiomarathon.librispeech`
    released/air_bench_mmar_mmau.py   `air_bench.letter`

A response without an answer becomes `Answer(None, rule)`, and no later filter makes an answer of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from marathon_eval.api.filter import FilterStep, Pipeline
from marathon_eval.api.own_code import OwnCode
from marathon_eval.api.task_functions import task_function
from marathon_eval.errors import MarathonError, did_you_mean, unknown
from marathon_eval.scoring import grades, judge
from marathon_eval.scoring.arguments import built
from marathon_eval.scoring.filters import lm_eval
from marathon_eval.scoring.filters.choice import choice, choice_text
from marathon_eval.scoring.filters.own import custom_filter, own_filter
from marathon_eval.scoring.filters.transcript import transcript
from marathon_eval.scoring.reasoning import strip_reasoning
from marathon_eval.scoring.released import air_bench_mmar_mmau, audiomarathon, audiomarathon_asr

#: Keys of an entry of `filter_list`; `turn` says which answer of a dialogue is read.
_KEYS = ("name", "filter", "turn")
#: Filters of lm-eval that are not supported, and why.
REFUSED_FILTERS = {
    "custom": "it runs Python named in a YAML; use regex, map or choice",
    "decontaminate": "there is no training set to compare with",
}


def build_pipeline(
    spec: Mapping[str, Any], where: str, own: Mapping[str, OwnCode] = MappingProxyType({})
) -> Pipeline:
    """Build the pipeline of one entry of `filter_list`: `{name, filter: [{function, **options}]}`.

    `own` holds the user's filters by name.

    Raises MarathonError that begins with `where` (file:line) for unknown functions, options and values.
    """
    entries = spec.get("filter", [])
    name = spec.get("name")
    # the name is printed, and a terminal would obey control characters
    if not isinstance(name, str) or not name.isprintable() or not name:
        raise MarathonError(f"{where}: a filter pipeline needs a name of printable characters, got {name!r}")
    if not isinstance(entries, Sequence) or isinstance(entries, str) or not entries:
        raise MarathonError(f"{where}: pipeline '{spec['name']}' needs `filter`, a list of {{function: ...}}")
    if surplus := [key for key in spec if key not in _KEYS]:
        raise MarathonError(
            f"{where}: a filter pipeline has no key '{surplus[0]}'.{did_you_mean(surplus[0], _KEYS)} "
            f"It has: {', '.join(_KEYS)}"
        )
    turn = spec.get("turn")
    if not (turn is None or turn == "last" or (type(turn) is int and turn >= 1)):
        raise MarathonError(f"{where}: pipeline '{name}': turn: must be 1, 2, ... or last, got {turn!r}")
    functions = [_function(entry, where) for entry in entries]
    steps = [_step(entry, where, own) for entry in entries]
    needs_choices = any(function in ("choice", "choice_text", "multi_choice_regex") for function in functions)
    return Pipeline(spec["name"], tuple(steps), needs_choices, turn, tuple(entries))


def filter_names() -> list[str]:
    """Return every function that `filter_list` may name, sorted."""
    return sorted(filter_factories())


def _function(entry: Any, where: str) -> str:
    if not isinstance(entry, Mapping) or not isinstance(entry.get("function"), str):
        raise MarathonError(f"{where}: a filter is {{function: name, ...}}, got {entry!r}")
    return str(entry["function"])


def _step(entry: Mapping[str, Any], where: str, own: Mapping[str, OwnCode]) -> FilterStep:
    name = _function(entry, where)
    if name in own:
        return own_filter(own[name], {key: entry[key] for key in entry if key != "function"}, where)
    code = task_function(entry.get("filter_fn"))
    if name == "custom" and code is not None:
        return custom_filter(code)
    if name in REFUSED_FILTERS:
        raise MarathonError(f"{where}: filter '{name}' is not supported here: {REFUSED_FILTERS[name]}")
    factories = filter_factories()
    if name not in factories:
        raise unknown(where, "filter", name, factories)
    options = {key: value for key, value in entry.items() if key != "function"}
    step: FilterStep = built(factories[name], options, f"{where}: filter '{name}'")
    return step


def filter_factories() -> dict[str, Callable[..., FilterStep]]:
    """Return what builds each filter, by its name in a task."""
    own_filters: dict[str, Callable[..., FilterStep]] = {
        "choice": choice,
        "choice_text": choice_text,
        "strip_reasoning": strip_reasoning,
        "transcript": transcript,
        "audiomarathon.librispeech": audiomarathon_asr.transcript_step,
    }
    released_rules = {
        f"audiomarathon.{task}": audiomarathon.step_factory(rule)
        for task, rule in audiomarathon.RULES.items()
    }
    return {
        **lm_eval.LM_EVAL_FILTERS,
        **judge.JUDGE_FILTERS,
        **grades.GRADE_FILTERS,
        **own_filters,
        **air_bench_mmar_mmau.AIR_BENCH_FILTERS,
        **released_rules,
    }
