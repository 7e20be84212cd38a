"""Reads an evaluation set: a --config file with lists of models, presses or conditions, of which each combination is a run.

    tasks: [gtzan, race]
    models:
      - {model: qwen_omni, model_args: {pretrained: nano}}
      - {model: whisper, presses: [none]}
    presses: [none, {press: dart, ratio: [0.3, 0.5]}]
    conditions: [none, {no_audio: true}]

All other keys are flags of every run. A model's own `presses` and `conditions` replace those of the file.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.cli.config_file import config_path, flag_words, loaded_config
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    from marathon_eval.task.yaml.loader import Document

SET_LISTS = ("models", "presses", "conditions")
#: Flags of the whole set, which one of its runs cannot have for itself.
_OF_THE_SET = ("output_path", "json", "dry_run", "retry", "log_to")
#: The entry of `presses` and `conditions` that changes nothing.
PLAIN_ENTRY = "none"


class SetRun(NamedTuple):
    """Holds one run of a set: the words of its command line, and what tells it from the others."""

    words: list[str]
    name: str


class _Part(NamedTuple):
    """Holds what one list entry adds to a run: flags with the line that says them, model arguments, and a name."""

    flags: Mapping[str, tuple[Any, str]]
    model_args: Mapping[str, Any]
    name: str


def runs_of_set(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[SetRun] | None:
    """Return the runs of the set that --config names, models first; None if the file is no evaluation set.

    Raises MarathonError with file and line for an entry that makes no sense, and for a typed flag that the lists give.
    """
    path = config_path(words)
    if path is None:
        return None
    document = loaded_config(path)
    if not any(name in document.values for name in SET_LISTS):
        return None
    _refuse_typed(words, document)
    common = {
        name: (value, document.where(name))
        for name, value in document.values.items()
        if name not in SET_LISTS
    }
    runs: dict[tuple[str, ...], str] = {}
    for model, presses, conditions in _models(document):
        for press, condition in product(presses, conditions):
            flags = {**common, **model.flags, **condition.flags}
            given = _with_press(flags.pop("model_args", (None, "")), press)
            found = [word for name, said in flags.items() for word in flag_words(parser, name, *said)]
            name = ", ".join(filter(None, (model.name, press.name, condition.name)))
            runs.setdefault((*found, *given, *words), name or str(path))
    counted: Counter[str] = Counter()
    named = []
    for run, name in runs.items():  # runs that differ in other flags may have one name
        counted[name] += 1
        named.append(SetRun(list(run), name if counted[name] == 1 else f"{name} #{counted[name]}"))
    return named


def _refuse_typed(words: Sequence[str], document: Document) -> None:
    """Refuse flags on the command line that would make the runs of the set alike."""
    typed = {word.partition("=")[0] for word in words}
    for flag, names in (("--model", {"--model", "-M"}), ("--model_args", {"--model_args", "-a"})):
        if typed & names and (flag == "--model_args" or "models" in document.values):
            where = next(document.where(name) for name in SET_LISTS if name in document.values)
            raise MarathonError(f"{flag}: the runs of {where} have their own; write it in that file")


def _models(document: Document) -> Iterator[tuple[_Part, list[_Part], list[_Part]]]:
    """Yield each model with its presses and conditions."""
    presses = _presses(document.values.get("presses", [PLAIN_ENTRY]), document, ("presses",))
    conditions = _conditions(document.values.get("conditions", [PLAIN_ENTRY]), document, ("conditions",))
    if "models" not in document.values:
        yield _Part({}, {}, str(document.values.get("model", ""))), presses, conditions
        return
    for at, entry in enumerate(_entries(document.values["models"], document, ("models",))):
        where = document.where("models", at)
        entry = {"model": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, Mapping) or not isinstance(entry.get("model"), str):
            raise MarathonError(f"{where}: models: an entry is a model's name, or flags with `model: NAME`")
        own = {name: entry[name] for name in SET_LISTS[1:] if name in entry}
        flags = {name: value for name, value in entry.items() if name not in own}
        part = _Part(_flags(flags, document, ("models", at)), {}, _model_name(flags))
        yield (
            part,
            _presses(own["presses"], document, ("models", at, "presses")) if "presses" in own else presses,
            _conditions(own["conditions"], document, ("models", at, "conditions"))
            if "conditions" in own
            else conditions,
        )


def _model_name(flags: Mapping[str, Any]) -> str:
    """Return the run_name of the entry, or the model with its arguments, as the command line has them."""
    if flags.get("run_name"):
        return str(flags["run_name"])
    arguments = flags.get("model_args") or {}
    if isinstance(arguments, Mapping):
        arguments = ",".join(f"{name}={value}" for name, value in arguments.items())
    return " ".join(filter(None, (str(flags["model"]), str(arguments))))


def _presses(entries: Any, document: Document, keys: tuple[str | int, ...]) -> list[_Part]:
    """Return the presses of a list; an entry with a list of ratios stands for one press at each."""
    parts = []
    for at, entry in enumerate(_entries(entries, document, keys)):
        entry = {} if entry == PLAIN_ENTRY else {"press": entry} if isinstance(entry, str) else entry
        if not isinstance(entry, Mapping) or (entry and not isinstance(entry.get("press"), str)):
            raise MarathonError(
                f"{document.where(*keys, at)}: presses: an entry is none, a press's name, or its arguments "
                "such as {press: dart, ratio: [0.3, 0.5]}"
            )
        ratios = entry.get("ratio")
        for ratio in ratios if isinstance(ratios, list) else [ratios]:
            given = {**entry, **({} if ratio is None else {"ratio": ratio})}
            parts.append(_Part({}, given, " ".join(f"{name}={value}" for name, value in given.items())))
    return parts


def _conditions(entries: Any, document: Document, keys: tuple[str | int, ...]) -> list[_Part]:
    """Return the conditions of a list: flags such as `no_audio: true`."""
    parts = []
    for at, entry in enumerate(_entries(entries, document, keys)):
        flags = {} if entry == PLAIN_ENTRY else entry
        if not isinstance(flags, Mapping):
            raise MarathonError(
                f"{document.where(*keys, at)}: conditions: an entry is none, or flags such as {{no_audio: true}}"
            )
        for name in ("model", "model_args"):
            if name in flags:
                raise MarathonError(
                    f"{document.where(*keys, at, name)}: conditions: {name} belongs to `models`"
                )
        shown = " ".join(name if value is True else f"{name}={value}" for name, value in flags.items())
        parts.append(_Part(_flags(flags, document, (*keys, at)), {}, shown))
    return parts


def _entries(value: Any, document: Document, keys: tuple[str | int, ...]) -> list[Any]:
    if not isinstance(value, list) or not value:
        raise MarathonError(f"{document.where(*keys)}: {keys[-1]}: must be a list with at least one entry")
    return value


def _flags(
    values: Mapping[str, Any], document: Document, keys: tuple[str | int, ...]
) -> dict[str, tuple[Any, str]]:
    """Return flags with their lines. Raises MarathonError for one that only the whole set can have."""
    for name in values:
        if name in _OF_THE_SET:
            raise MarathonError(
                f"{document.where(*keys, name)}: {name} is of the whole set: write it beside `{keys[0]}`"
            )
    return {name: (value, document.where(*keys, name)) for name, value in values.items()}


def _with_press(said: tuple[Any, str], press: _Part) -> list[str]:
    """Return --model_args with the press's arguments added. Raises MarathonError if a press is there already."""
    from marathon_eval.evaluator.config import parse_args

    value, where = said
    if isinstance(value, list):
        value = ",".join(map(str, value))
    flag = f"{where}: model_args"
    arguments = parse_args(value, flag) if isinstance(value, str) else value or {}
    if not isinstance(arguments, Mapping):
        raise MarathonError(f"{flag}: must be a mapping, or text such as pretrained=PATH, got {value!r}")
    if press.model_args and "press" in arguments:
        raise MarathonError(f"{flag}: has press=, and `presses` gives one: write it in one of them")
    if isinstance(value, str) and not value.lstrip().startswith("{"):
        # text stays text: a number of it may be a name, such as 4.10
        added = (f"{name}={json.dumps(each).strip(chr(34))}" for name, each in press.model_args.items())
        return [f"--model_args={','.join(filter(None, (value, *added)))}"]
    merged = {**arguments, **press.model_args}
    return [f"--model_args={json.dumps(merged, ensure_ascii=False)}"] if merged else []
