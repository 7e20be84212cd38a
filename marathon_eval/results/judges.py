"""Tells how the judges of two runs of a task differ: model, arguments, generation arguments or prompts.

A run records its judge's hashes by task in `manifests`, and what was typed for it in `config`. Runs that recorded no hashes are
told apart by what was typed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from marathon_eval.files import canonical_json, sha256_of
from marathon_eval.results.run_labels import setting_text

_SHORT_HASH = 8


@dataclass(frozen=True)
class TaskJudge:
    """Holds what is known of the judge of a task; `prompts` are hashes by kind of judging."""

    name: str
    model: str
    fingerprint_sha256: str | None
    arguments: Mapping[str, Any]
    generation: Mapping[str, Any]
    prompts: Mapping[str, Any]


def judge_in(results: Mapping[str, Any], config: Mapping[str, Any], task: str) -> TaskJudge | None:
    """Return the judge of a task of a run, or None if the task was not judged."""
    recorded = _mapping(_mapping(_mapping(results.get("manifests")).get(task)).get("judge"))
    model = str(config.get("judge_model") or "")
    if not recorded and not (model and _has_judged_metric(results["tasks"][task])):
        return None
    return TaskJudge(
        name=str(recorded.get("name") or model),
        model=model,
        fingerprint_sha256=recorded.get("fingerprint_sha256"),
        arguments=_mapping(config.get("judge_args")),
        generation=_mapping(config.get("judge_gen_kwargs")),
        prompts=_mapping(recorded.get("prompts_sha256")),
    )


def judges_in(results: Mapping[str, Any], configs: Mapping[str, Mapping[str, Any]]) -> dict[str, TaskJudge]:
    """Return the judge of each judged task of a run; `configs` are the configs by task."""
    found = {task: judge_in(results, configs[task], task) for task in results["tasks"]}
    return {task: judge for task, judge in found.items() if judge is not None}


def shared_judges(a: Mapping[str, Any], b: Mapping[str, Any], named: str | None = None) -> dict[str, str]:
    """Return the judge's name for each task that one and the same judge judged in two runs, with the same prompts and generation arguments.

    `named`: of panels this judge alone is meant; it is the same where the same model and arguments were typed for it.
    """
    first, second = (
        judges_in(run, dict.fromkeys(run["tasks"], _mapping(run.get("config")))) for run in (a, b)
    )
    found = {}
    for task, judge in first.items():
        other = second.get(task)
        if other is not None and named is not None:
            judge, other = _of_panel(judge, named), _of_panel(other, named)
        if other is not None and not judge_differences(judge, other):
            found[task] = judge.name
    return found


def _of_panel(judge: TaskJudge, name: str) -> TaskJudge:
    """Return one judge of a panel, without the panel's fingerprint; a judge that is no panel as it is."""
    names, typed = judge.name.split("+"), judge.arguments.get("judges")
    if not isinstance(typed, list) or len(typed) != len(names) or name not in names:
        return replace(judge, fingerprint_sha256=None)
    arguments = _mapping(typed[names.index(name)])
    own = {key: value for key, value in arguments.items() if key not in ("judge", "name")}
    return replace(
        judge, name=name, model=str(arguments.get("judge")), arguments=own, fingerprint_sha256=None
    )


def judge_differences(a: TaskJudge | None, b: TaskJudge | None) -> list[dict[str, Any]]:
    """Return an entry with `what`, `name`, `a` and `b` for each way in which two judges of a task differ."""
    if a is None or b is None:
        return []
    return [
        *([] if _same_model(a, b) else _model_differences(a, b)),
        *_unlike("generation argument", a.generation, b.generation),
        *(_unlike("prompt", a.prompts, b.prompts) if a.prompts and b.prompts else ()),
    ]


def judge_difference_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return `model one and two; argument temperature 0 and 0.7; prompt grade 3fa81c02 and 90b1c3d2`."""
    return "; ".join(
        f"{' '.join(filter(None, (each['what'], each['name'])))} {_shown(each['a'])} and {_shown(each['b'])}"
        for each in entries
    )


def judge_words(judges: Sequence[Mapping[str, TaskJudge]]) -> list[list[str]]:
    """Return for each run, given by its judges by task, the words that tell its judge from those of other runs.

    `judge Qwen3-8B`, `judge temperature=0.7` or `judge prompt 3fa81c02`; none where the judges of all runs of a task agree.
    """
    distinct: dict[str, dict[str, TaskJudge]] = {}
    for of_run in judges:
        for task, judge in of_run.items():
            distinct.setdefault(task, {}).setdefault(canonical_json(asdict(judge)), judge)
    return [
        list(
            _words(
                [
                    {**entry, "task": task}
                    for task, judge in of_run.items()
                    for other in distinct[task].values()
                    for entry in judge_differences(judge, other)
                ]
            )
        )
        for of_run in judges
    ]


def _words(entries: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    yield from dict.fromkeys(
        f"judge {_setting(each['name'], each['a'])}" for each in entries if each["what"] != "prompt"
    )
    prompts = sorted(
        {(each["task"], each["name"], str(each["a"])) for each in entries if each["what"] == "prompt"}
    )
    if prompts:
        yield f"judge prompt {sha256_of(prompts)[:_SHORT_HASH]}"


def _setting(name: str, value: Any) -> str:
    if not name:
        return _shown(value)
    return f"{name}{' ' if value is None else '='}{_shown(value)}"


def _same_model(a: TaskJudge, b: TaskJudge) -> bool:
    return a.fingerprint_sha256 is not None and a.fingerprint_sha256 == b.fingerprint_sha256


def _model_differences(a: TaskJudge, b: TaskJudge) -> list[dict[str, Any]]:
    """Return in what judges of unlike fingerprints differ: names and arguments, or else the fingerprints alone."""
    found = _unlike("argument", a.arguments, b.arguments)
    if a.name != b.name or a.model != b.model:
        names = (a.name, b.name) if a.name != b.name else (a.model, b.model)
        found.insert(0, _entry("model", "", *names))
    if not found and None not in (a.fingerprint_sha256, b.fingerprint_sha256):
        found.append(_entry("fingerprint", "", a.fingerprint_sha256, b.fingerprint_sha256))
    return found


def _unlike(what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[dict[str, Any]]:
    names = dict.fromkeys([*a, *b])
    return [
        _entry(what, name, a.get(name), b.get(name))
        for name in names
        if canonical_json(a.get(name)) != canonical_json(b.get(name))
    ]


def _entry(what: str, name: str, a: Any, b: Any) -> dict[str, Any]:
    return {"what": what, "name": name, "a": a, "b": b}


def _shown(value: Any) -> str:
    """Return a value as a label shows it; of hashes and nested values the first digits of a hash."""
    if value is None:
        return "not given"
    text = setting_text(value)
    if text is not None:
        return text
    return (value if isinstance(value, str) else sha256_of(value))[:_SHORT_HASH]


def _has_judged_metric(summary: Mapping[str, Any]) -> bool:
    """Return whether a metric carries a judge's name, as in `grade[Qwen3-8B]`."""
    return any(metric.endswith("]") for reading in summary["readings"] for metric in summary[reading])


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
