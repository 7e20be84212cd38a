"""Says what the scores of a run stand for: model, press, condition and selection.

The condition is what was heard or asked otherwise than the task files say: silence, no audio, swapped or transformed
audio, permuted options, generation arguments, a seed, few-shot examples, a system prompt. The selection is which rows were asked. Both stand in
results.json, in the name of the run's folder and in every table, and only scores that agree in both are merged.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.results import full_n
from marathon_eval.files import canonical_json, sha256_of
from marathon_eval.results.run_name import run_name_of

UNKNOWN_CONDITION, UNKNOWN_SELECTION = "condition unknown", "rows unknown"
#: Values of `audio` in a condition, and how labels name them.
CONTROLS: Mapping[str, str] = {"silence": "silence", "none": "no audio", "swapped": "swapped audio"}
#: How a label words each entry of a condition.
_WORDS: Mapping[str, str] = {
    "audio": "{value}",
    "long_audio": "{value}",
    "permute_choices": "permuted {value} orders",
    "gen_kwargs": "{value}",
    "num_fewshot": "{value} examples",
    "system_instruction": "system prompt {value}",
}
#: Flags that change the condition, and flags that change the selection; a config without them tells nothing of it.
_CONDITION_FLAGS = ("no_audio", "swap_audio", "permute_choices", "transform", "gen_kwargs")
_SELECTION_FLAGS = ("subset", "limit", "samples")
#: The entries of a selection that tell it from another; two runs are on one selection if they agree in all.
SELECTION_NAMES = (*_SELECTION_FLAGS, "seconds")
#: Characters of a folder's readable name, below the 255 bytes that file systems allow.
_LONGEST_NAME = 120
_SHORT_HASH = 8


def condition_of(config: Mapping[str, Any], cut: str | None = None) -> dict[str, Any] | None:
    """Return what the flags in a run's config changed; empty if nothing, None if the config does not tell.

    `cut` says how long clips were cut into windows.
    """
    if (
        "predictions" in config
    ):  # the answers of another program: its file stands for the model and how it was asked
        return {}
    if any(flag not in config for flag in _CONDITION_FLAGS):
        return None
    changed = {
        "audio": "swapped" if config["swap_audio"] else config["no_audio"],
        "transform": config["transform"],
        "long_audio": cut,
        "permute_choices": config["permute_choices"],
        "gen_kwargs": config["gen_kwargs"],
        "seed": config.get("seed"),
    }
    told = {name: value for name, value in changed.items() if value}
    # num_fewshot=0 also counts as a change if the task has examples
    overrides = {name: config.get(name) for name in ("num_fewshot", "system_instruction")}
    return {**told, **{name: value for name, value in overrides.items() if value is not None}}


def selection_of(
    config: Mapping[str, Any],
    counts: Mapping[str, Mapping[str, Any]],
    defaults: Mapping[str, str | None] | None = None,
) -> dict[str, Any] | None:
    """Return which rows a run asked; None if its config does not tell.

    `counts` are the tasks' entries of `manifests`, `defaults` the subsets that the tasks take without --subset.
    `subset`, `limit` and `samples` are None where the flag left nothing out, and `seconds` (least and most) is absent
    then. `tasks` holds each task's subset, `n` rows asked and `of` rows in the subset.
    """
    if "predictions" not in config and any(flag not in config for flag in _SELECTION_FLAGS):
        return None
    tasks = {
        name: {
            "subset": entry.get("subset"),
            "n": entry["n_loaded"],
            "of": full_n(entry["n_meta"], entry["n_missing"], entry["n_filtered"]),
        }
        for name, entry in counts.items()
    }
    subset, limit, samples = (config.get(flag) for flag in _SELECTION_FLAGS)
    usual = all(task["subset"] in (None, (defaults or {}).get(name)) for name, task in tasks.items())
    chosen = isinstance(samples, Mapping) and {
        name: rows for name, rows in samples.items() if any(task.partition("~")[0] == name for task in tasks)
    }
    return {
        "subset": None if usual else subset,
        "limit": None if all(task["n"] == task["of"] for task in tasks.values()) else limit,
        "samples": chosen or None,
        "tasks": tasks,
        **({"seconds": _bounds(config)} if any(entry.get("n_length") for entry in counts.values()) else {}),
    }


def _bounds(config: Mapping[str, Any]) -> list[float | None]:
    return [config.get("min_seconds"), config.get("max_seconds")]


def recorded_condition(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the condition in results.json; for runs that recorded none, the one that their config tells."""
    if "condition" not in results:
        return condition_of(results.get("config") or {})
    recorded: dict[str, Any] | None = results["condition"]
    return recorded


def recorded_selection(results: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the selection in results.json; for runs that recorded none, the one that config and counts tell."""
    if "selection" in results:
        recorded: dict[str, Any] | None = results["selection"]
        return recorded
    manifests = results.get("manifests") or {}
    counts = {
        name: {**task, "subset": manifests.get(name, {}).get("subset")}
        for name, task in results["tasks"].items()
    }
    return selection_of(results.get("config") or {}, counts)


def label_words(condition: Mapping[str, Any] | None, selection: Mapping[str, Any] | None) -> list[str]:
    """Return the words that tell a run from one of the tasks as they are, on all their rows; none for that one."""
    return [*_condition_words(condition), *_selection_words(selection)]


def label_aside(condition: Mapping[str, Any] | None, selection: Mapping[str, Any] | None) -> str:
    """Return the words as they follow a run's name, ` (silence, limit 2)`, or an empty text."""
    return in_brackets(label_words(condition, selection))


def in_brackets(words: list[str]) -> str:
    """Return ` (a, b)`, or an empty text without words."""
    return f" ({', '.join(words)})" if words else ""


def _condition_words(condition: Mapping[str, Any] | None) -> list[str]:
    if condition is None:
        return [UNKNOWN_CONDITION]
    return [
        _WORDS.get(name, "{name} {value}").format(name=name, value=_value(name, condition[name]))
        for name in condition
    ]


def _value(name: str, value: Any) -> str:
    if name == "audio":
        return CONTROLS.get(str(value), str(value))
    if name == "system_instruction":
        return sha256_of(value)[:_SHORT_HASH]
    return _settings(value) if name == "gen_kwargs" else str(value)


def _settings(value: Any) -> str:
    if not isinstance(value, Mapping):
        return str(value)
    return " ".join(f"{name}={_plain(value[name])}" for name in sorted(value))


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else canonical_json(value)


def _selection_words(selection: Mapping[str, Any] | None) -> list[str]:
    if selection is None:
        return [UNKNOWN_SELECTION]
    words = []
    if selection.get("subset") is not None:
        words.append(f"subset {selection['subset']}")
    if selection.get("limit") is not None:
        words.append(f"limit {selection['limit']:g}")
    if selection.get("samples"):
        words.append(f"rows {sha256_of(selection['samples'])[:_SHORT_HASH]}")
    if selection.get("seconds") is not None:
        words.append(_seconds(*selection["seconds"]))
    return words


def _seconds(least: float | None, most: float | None) -> str:
    if not least:
        return f"up to {most:g} s"
    return f"from {least:g} s" if most is None else f"{least:g} to {most:g} s"


def is_plain(condition: Mapping[str, Any] | None, selection: Mapping[str, Any] | None) -> bool:
    """Return whether the tasks were asked as they are, on all their rows."""
    return not label_words(condition, selection)


def same_place(results: Mapping[str, Any], folder: object) -> str:
    """Return a text that is equal for two runs only if their scores may stand in one row of a table.

    A run of unknown condition or selection equals no other: `folder` is then part of the text. Neither does a run that
    --run_name calls otherwise.
    """
    condition, selection = recorded_condition(results), recorded_selection(results)
    if condition is None or selection is None:
        return canonical_json([results["fingerprint_sha256"], str(folder)])
    rows = [selection.get(name) for name in SELECTION_NAMES]
    return canonical_json([results["fingerprint_sha256"], condition, rows, run_name_of(results)])


def press_of(fingerprint: Mapping[str, Any]) -> tuple[str | None, float]:
    """Return the press's name and the fraction removed; of a press with several ratios the last one."""
    press = fingerprint.get("press")
    if not press:
        return None, 0.0
    ratio = press.get("ratio", 0.0)
    return str(press["press"]), float(ratio[-1] if isinstance(ratio, list) else ratio)


def _for_folders(word: str) -> str:
    return re.sub(r"[^A-Za-z0-9.=+]+", "-", word).strip("-.")


def folder_name(
    model: str,
    fingerprint: Mapping[str, Any],
    fingerprint_sha256: str,
    condition: Mapping[str, Any] | None = None,
    selection: Mapping[str, Any] | None = None,
    run_name: str | None = None,
) -> str:
    """Return the readable name of a run's folder: `qwen2.5-omni-7b_dart-0.5_silence__1d271aab`.

    `run_name` stands in place of the checkpoint's name.
    """
    pretrained = fingerprint.get("pretrained")
    shown = str(pretrained).rstrip("/").rpartition("/")[2].lower() if isinstance(pretrained, str) else ""
    press, ratio = press_of(fingerprint)
    # a name without a letter that folders of every system take is left to results.json
    called = _for_folders(run_name or "") or shown or model
    words = [called, *([f"{press}-{ratio:g}"] if press else []), *label_words(condition, selection)]
    readable = "_".join(map(_for_folders, words))
    return f"{readable[:_LONGEST_NAME] or 'model'}__{fingerprint_sha256[:_SHORT_HASH]}"
