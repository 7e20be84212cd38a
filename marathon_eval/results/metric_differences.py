"""Tells how two runs measured a task differently: its version, filters, the settings of a metric, or the code of the task's own.

A run records the filters of every reading, the entry of `metric_list` of every metric, with the hashes of own code, and the
task's `metadata.version`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from marathon_eval.files import canonical_json, sha256_of
from marathon_eval.results.run_labels import setting_text

_SHORT_HASH = 8
#: What differs where two readings of one name take other filters.
_FILTERS = "filters of"
#: Keys of an entry that say where it stands, not how it is computed.
_PLACE_KEYS = ("name", "filter_list")


def metric_differences(task: str, results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return an entry with `what`, `name`, `a` and `b` for each way in which two runs measured a task differently.

    Readings and metrics that only one of them has are not compared, and make no entry; nor do filters that one did not record.
    """
    a, b = (result["tasks"][task] for result in results)
    found = list(_unlike("version", {"": a.get("version")}, {"": b.get("version")}))
    filters = [side.get("filters") or {} for side in (a, b)]
    both = [reading for reading in filters[0] if reading in filters[1]]
    found += _unlike(_FILTERS, *({reading: of_side[reading] for reading in both} for of_side in filters))
    codes = [_code(result, task) for result in results]
    of_metrics = [_metric_code(side) for side in (a, b)]
    for reading, metrics in (a.get("metrics") or {}).items():
        others = (b.get("metrics") or {}).get(reading, {})
        for metric in (name for name in metrics if name in others):
            specs = metrics[metric], others[metric]
            found += _unlike(f"{reading} {metric}", *(_settings(spec) for spec in specs))
    for metric in sorted(of_metrics[0].keys() & of_metrics[1].keys()):
        found += _unlike(f"code of {metric}", *(of_side[metric] for of_side in of_metrics))
    told = {file for of_side in of_metrics for hashes in of_side.values() for file in hashes}
    rest = ({file: sha256 for file, sha256 in code.items() if file not in told} for code in codes)
    return found + list(_unlike("code", *rest))


def metric_difference_text(entries: Sequence[Mapping[str, Any]]) -> str:
    """Return `version 1 and 2; strict wer normalizer none and basic; code of near metrics/near.py 5e208994 and 90b1c3d2`.

    Of filters it names the functions, and which settings differ where these are alike: `filters of strict (take_first) and
    (regex, take_first)`.
    """
    return "; ".join(
        f"{' '.join(filter(None, (each['what'], each['name'])))} {' and '.join(_sides(each))}"
        for each in entries
    )


def _sides(entry: Mapping[str, Any]) -> list[str]:
    """Return what both runs have, as a line shows it."""
    a, b = entry["a"], entry["b"]
    if entry["what"] != _FILTERS:
        return [_shown(a), _shown(b)]
    names = [[str(step.get("function")) for step in steps] for steps in (a, b)]
    if names[0] != names[1]:
        return [f"({', '.join(of_side)})" for of_side in names]
    unlike = (
        (f"{step.get('function')} {key}", step.get(key), other.get(key))
        for step, other in zip(a, b, strict=True)
        for key in {**step, **other}
        if canonical_json(step.get(key)) != canonical_json(other.get(key))
    )
    name, *values = next(unlike, ("", a, b))
    return [f"({name} {_shown(values[0])})", f"({name} {_shown(values[1])})"]


def _code(result: Mapping[str, Any], task: str) -> Mapping[str, Any]:
    """Return the hashes of all own code of a task by file: its metrics', filters', row steps' and functions'."""
    return _mapping(_mapping(_mapping(result.get("manifests")).get(task)).get("code"))


def _metric_code(summary: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the hashes of own code by metric and file."""
    found: dict[str, dict[str, Any]] = {}
    for metrics in (summary.get("metrics") or {}).values():
        for metric, entry in metrics.items():
            found.setdefault(metric, {}).update(_mapping(entry.get("code")))
    return found


def _mapping(value: Any) -> Mapping[str, Any]:
    """Return the value if it is a mapping; a file may hold anything in its place."""
    return value if isinstance(value, Mapping) else {}


def _settings(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in spec.items() if key not in (*_PLACE_KEYS, "code")}


def _unlike(what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for name in dict.fromkeys([*a, *b]):
        if canonical_json(a.get(name)) != canonical_json(b.get(name)):
            yield {"what": what, "name": name, "a": a.get(name), "b": b.get(name)}


def _shown(value: Any) -> str:
    """Return a value as a line shows it; of hashes and nested values the first digits of a hash."""
    if value is None:
        return "none"
    text = setting_text(value)
    return text if text is not None else (value if isinstance(value, str) else sha256_of(value))[:_SHORT_HASH]
