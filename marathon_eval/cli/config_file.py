"""Reads the YAML of --config: flags by their names, which become words of the command line before those that are typed."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from marathon_eval.errors import MarathonError, did_you_mean

if TYPE_CHECKING:
    from marathon_eval.task.yaml.loader import Document

CONFIG_FLAGS = ("-C", "--config")
#: Flags that take `a=1,b=2` or a JSON object, so that a mapping may stand in the file.
_MAPPINGS = (
    *("model_args", "gen_kwargs", "judge_args", "judge_gen_kwargs"),
    *("samples", "prices", "judge_prices"),
)


def with_config_file(parser: argparse.ArgumentParser, words: Sequence[str]) -> list[str]:
    """Return the words with those of the --config file in front, so that typed flags override it.

    Raises MarathonError with file and line for a key that is no flag, and for a value that the flag cannot take.
    """
    path = config_path(words)
    for action in parser._actions:  # `cache why` has the flags of a run
        if isinstance(action, argparse._SubParsersAction) and words and words[0] in action.choices:
            return [words[0], *with_config_file(action.choices[words[0]], words[1:])]
    if path is None or "--config" not in parser._option_string_actions:
        return list(words)
    document = loaded_config(path)
    if "models" in document.values:  # of an evaluation set, which `run` reads elsewhere
        where = document.where("models")
        raise MarathonError(
            f"{where}: 'models' makes an evaluation set, which `marathon-eval run` takes alone"
        )
    flags = ((name, value, document.where(name)) for name, value in document.values.items())
    return [word for flag in flags for word in flag_words(parser, *flag)] + list(words)


def config_path(words: Sequence[str]) -> str | None:
    """Return what --config names in the words of a command line. Raises MarathonError for several files."""
    found = [words[at + 1] for at, word in enumerate(words[:-1]) if word in CONFIG_FLAGS]
    found += [word.partition("=")[2] for word in words if word.startswith("--config=")]
    found += [word[2:] for word in words if word.startswith("-C") and word != "-C"]
    if len(found) > 1:
        raise MarathonError(f"--config: one file, got {', '.join(found)}; a file may `include:` another")
    return found[0] if found else None


def loaded_config(path: str) -> Document:
    """Return the YAML of --config, with what it includes. Raises MarathonError."""
    from marathon_eval.task.yaml.loader import load_document

    def refuse(name: str) -> NoReturn:
        raise MarathonError(f"--config: {path}: include: {name}: no such file beside it")

    if not Path(path).is_file():
        raise MarathonError(f"--config: {path}: no such file")
    return load_document(Path(path), refuse)


def flag_words(parser: argparse.ArgumentParser, name: str, value: Any, where: str) -> Iterator[str]:
    """Yield the words of one flag, given by its name; `where` is the line that says it. Raises MarathonError."""
    flags = [flag for flag in parser._option_string_actions if flag.startswith("--")]
    action = parser._option_string_actions.get(f"--{name}")
    if action is None or name in ("config", "help"):
        raise MarathonError(
            f"{where}: '{name}' is no flag of {parser.prog}.{did_you_mean(f'--{name}', flags)} "
            f"Flags: {', '.join(sorted(flag[2:] for flag in flags))}"
        )
    if action.nargs == 0:
        if not isinstance(value, bool):
            raise MarathonError(f"{where}: {name}: must be true or false, got {value!r}")
        yield from [f"--{name}"] if value else []
    elif action.nargs == "?" and isinstance(value, bool):
        yield from [f"--{name}"] if value else []
    elif value is not None:
        yield from _with_value(name, value, where, several=action.nargs == "+")


def _with_value(name: str, value: Any, where: str, several: bool) -> Iterator[str]:
    if isinstance(value, dict):
        if name not in _MAPPINGS:
            raise MarathonError(f"{where}: {name}: takes no mapping. Mappings: {', '.join(_MAPPINGS)}")
        yield f"--{name}={json.dumps(value, ensure_ascii=False)}"
    elif several:
        yield f"--{name}"
        yield from (_text(each) for each in (value if isinstance(value, list) else [value]))
    else:
        yield f"--{name}={','.join(map(_text, value)) if isinstance(value, list) else _text(value)}"


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
