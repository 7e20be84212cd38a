"""Response text -> answer, and which rule found it: one named pipeline of filters per reading of the answers.

The functions of lm-evaluation-harness 0.4.13 are here under its names (lm_eval_filters.py); ours are `choice`,
`choice_text` (choice_filter.py), `transcript` (transcript_filter.py), `strip_reasoning` (reasoning.py), a judge's verdicts
(judge_readings.py) and the benchmarks' released rules (parity/).
No answer is `Answer(None, rule)`, and no later filter turns it into one.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from marathon_eval.errors import MarathonError, did_you_mean, unknown


@dataclass(frozen=True, slots=True)
class Answer:
    """What a reading makes of a response. `value` None: no answer was found; `rule` says why or how."""

    value: str | None
    rule: str


@dataclass(frozen=True, slots=True)
class FilterContext:
    """What a filter may know of the row. `choices` and `letters` are empty for open questions.

    `letters` are in the layout's case: ("A", "B", ...) or ("a", "b", ...).
    """

    choices: tuple[str, ...] = ()
    letters: tuple[str, ...] = ()
    doc: Mapping[str, Any] = field(default_factory=dict)


class Held(NamedTuple):
    """A text on its way through a pipeline. `found` False: nothing was found in it, and nothing will be."""

    text: str
    rule: str = "response"
    found: bool = True


#: One filter: the texts of a row's repeats -> as many texts, or fewer.
Step = Callable[[Sequence[Held], FilterContext], Sequence[Held]]

REFUSED = {
    "custom": "it runs Python named in a YAML; use regex, map or choice",
    "decontaminate": "there is no training set to compare with",
}
#: Filters that make one answer of several repeats.
SELECTING = frozenset({"take_first", "majority_vote"})


@dataclass(frozen=True)
class Pipeline:
    """One reading: a name and its filters in order.

    `needs_choices`: a filter reads options, so an open question cannot be read by it. `selects`: repeats are
    reduced to one; without such a filter the first of them is taken, as lm-eval's default does.
    """

    name: str
    steps: tuple[Step, ...]
    needs_choices: bool = False
    selects: bool = False

    def apply(self, texts: Sequence[str], context: FilterContext) -> Answer:
        """The answer in a row's responses, one text per repeat. Raises MarathonError where options are missing."""
        if self.needs_choices and not context.choices:
            raise MarathonError(f"filter '{self.name}': reads options, and the row has none (doc_to_choice)")
        held: Sequence[Held] = [Held(text) for text in texts]
        for step in self.steps:
            held = step(held, context)
        if not held:
            return Answer(None, "empty")
        text, rule, found = held[0]
        if not found:
            return Answer(None, rule)
        return Answer(text, rule) if text.strip() else Answer(None, "empty")


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


def _step(entry: Mapping[str, Any], where: str) -> Step:
    name = _function(entry, where)
    if name in REFUSED:
        raise MarathonError(f"{where}: filter '{name}' is not supported here: {REFUSED[name]}")
    factories = _factories()
    if name not in factories:
        raise unknown(where, "filter", name, factories)
    options = {key: value for key, value in entry.items() if key != "function"}
    step: Step = built(factories[name], options, f"{where}: filter '{name}'")
    return step


def built(factory: Callable[..., Any], options: Mapping[str, Any], where: str) -> Any:
    """`factory(**options)` with its annotations enforced; raises MarathonError naming option and nearest name."""
    parameters = inspect.signature(factory).parameters.values()
    known = [one.name for one in parameters if one.kind is not inspect.Parameter.VAR_KEYWORD]
    if surplus := [key for key in options if key not in known and len(known) == len(parameters)]:
        raise MarathonError(
            f"{where} takes no '{surplus[0]}'.{did_you_mean(surplus[0], known)} It takes: {', '.join(known) or 'nothing'}"
        )
    if not options and not any(one.default is inspect.Parameter.empty for one in parameters):
        return factory()  # nothing to check, and a validator takes 2 ms to build
    from pydantic import ConfigDict, ValidationError, validate_call

    try:
        return validate_call(config=ConfigDict(arbitrary_types_allowed=True))(factory)(**options)
    except (OverflowError, RecursionError) as error:  # of a pattern: pydantic knows only re.error
        raise MarathonError(f"{where}: a pattern that cannot be compiled ({error})") from None
    except ValidationError as error:
        first = error.errors()[0]
        option = ".".join(str(part) for part in first["loc"])
        raise MarathonError(f"{where}: {option}: {first['msg']}, got {first['input']!r}") from None


def _factories() -> dict[str, Callable[..., Step]]:
    """Imported here, not at the top: the filters' files import this one's types."""
    from marathon_eval.scoring import judge
    from marathon_eval.scoring.filters import lm_eval
    from marathon_eval.scoring.filters.choice import choice, choice_text
    from marathon_eval.scoring.filters.transcript import transcript
    from marathon_eval.scoring.reasoning import strip_reasoning
    from marathon_eval.scoring.released import audiomarathon, audiomarathon_asr, common

    ours: dict[str, Callable[..., Step]] = {
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
    return {**lm_eval.FILTERS, **judge.FILTERS, **ours, **common.FILTERS, **paper}
