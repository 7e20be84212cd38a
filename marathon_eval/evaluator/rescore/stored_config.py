"""Reads the config of a stored run as data: what it asks for beyond rows and prompts is shown, never done.

A results.json may come from anyone. Only settings that choose rows, prompts and controls are taken from it; what
runs code, reads files or talks to a network comes from the flags of the command that is typed.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig

_NUMBER = (int, float)
#: Settings taken from a stored config, with the types that they may have beside None.
_TAKEN: Mapping[str, type | tuple[type, ...]] = {
    "model": str,
    "tasks": list,
    "model_args": dict,
    "subset": str,
    "limit": _NUMBER,
    "samples": dict,
    "min_seconds": _NUMBER,
    "max_seconds": _NUMBER,
    "long_audio": str,
    "gen_kwargs": dict,
    "log_samples": bool,
    "predict_only": bool,
    "retry_errors": bool,
    "seed": int,
    "num_fewshot": int,
    "system_instruction": str,
    "no_audio": str,
    "swap_audio": bool,
    "permute_choices": int,
    "transform": str,
    "run_name": str,
}
#: Settings that are typed again or not used.
TYPED = ("data_dir", "include_path", "judge_model", "judge_args", "judge_gen_kwargs", "use_cache")
#: Those without which other rows or other tasks would be scored, and what was read from them.
_NEEDED = {"data_dir": "its data", "include_path": "its tasks"}


def stored_config(
    stored: Mapping[str, Any], typed: Mapping[str, Any], where: Path, shown: Sequence[str] = TYPED
) -> tuple[RunConfig, str | None]:
    """Return the config of a stored run with the `typed` settings, and a line about what it asks for beside them.

    `typed` maps names of RunConfig's fields to what the user's flags say; empty values count as not given. `shown`
    are the settings that the command has flags for. Raises MarathonError for a stored setting of a wrong type, and where
    the data folder, task folders or the folder of a task's file must be typed.
    """
    taken = {name: value for name, value in stored.items() if name in _TAKEN and value is not None}
    fault = next((name for name, value in taken.items() if not _has_type(value, _TAKEN[name])), None)
    fault = fault or _fault_inside(taken)
    if fault is not None:
        raise MarathonError(f"{where}: config: {fault}: is missing or has the wrong type")
    given = {name: value for name, value in typed.items() if value}
    wanted = {name: stored[name] for name in shown if stored.get(name) and name not in given}
    files = [name for name in taken["tasks"] if name.endswith(".yaml") or "/" in name]
    needed = [name for name in _NEEDED if name in wanted]
    if files and "include_path" not in given:
        needed.append("include_path")
        folders = wanted.get("include_path")
        wanted["include_path"] = [
            *(folders if isinstance(folders, list) else []),
            *dict.fromkeys(str(Path(name).parent) for name in files),
        ]
    if needed:
        read = " and ".join(words for name, words in _NEEDED.items() if name in needed)
        raise MarathonError(
            f"{where}: this run read {read} from a path stored here, and a stored path is not opened by itself: "
            f"to open it, type {_flags(wanted)}"
        )
    config = replace(
        RunConfig(
            **{
                "model": "",
                **taken,
                "tasks": tuple(Path(n).stem if n in files else n for n in taken["tasks"]),
            }
        ),
        **given,
    )
    if not wanted:
        return config, None
    return config, (
        f"{where}: some settings of this run are not used, since a stored file opens and starts nothing by itself: "
        f"to use them too, type {_flags(wanted)}"
    )


def _has_type(value: Any, kind: type | tuple[type, ...]) -> bool:
    if kind is not bool and isinstance(value, bool):
        return False
    return isinstance(value, kind)


def _fault_inside(taken: Mapping[str, Any]) -> str | None:
    """Return the first setting whose items have a wrong type, or `tasks` if there are none."""
    if not taken.get("tasks") or not all(isinstance(name, str) and name for name in taken["tasks"]):
        return "tasks"
    for numbers in taken.get("samples", {}).values():
        if not isinstance(numbers, list) or not all(type(number) is int for number in numbers):
            return "samples"
    return None


def _flags(wanted: Mapping[str, Any]) -> str:
    """Return settings as the flags to type, quoted for a shell."""
    words: list[str] = []
    for name, value in wanted.items():
        values = value if isinstance(value, list) else [value]
        texts = [json.dumps(one) if isinstance(one, dict) else str(one) for one in values]
        words += [f"--{name}", *(shlex.quote(" ".join(text.split())) for text in texts)]
    return " ".join(words)
