"""Loads the functions that lm-eval's `!function module.name` names in a task's YAML, where the user trusts task code.

A key then holds the text `!function module.name [hash]`; the hash is of the file and of what it imports from its folder.
Only this module's `loaded_text` makes such a text callable: written as plain text in a YAML it stays a text.
"""

from __future__ import annotations

import copy
import importlib.util
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

from marathon_eval.api.own_code import OwnCode, place_of
from marathon_eval.api.source import USER_PACKAGE, OwnModule, drop_stale_bytecode, own_files
from marathon_eval.errors import MarathonError, unknown

#: The YAML tag, and the beginning of the texts that stand for functions.
TAG = "!function"
_LOADED: dict[str, OwnCode] = {}


def loaded_text(dotted: str, folder: Path, where: str) -> str:
    """Import `module.name` from a YAML's folder and return the text that stands for the function.

    Raises MarathonError that begins with `where`.
    """
    *modules, name = dotted.strip().split(".")
    if not modules or not all(part.isidentifier() for part in (*modules, name)):
        raise MarathonError(f"{where}: {TAG} {dotted}: must be module.function")
    file = folder.joinpath(*modules).with_suffix(".py").resolve()
    if not file.is_file():
        raise MarathonError(f"{where}: {TAG} {dotted}: no file {file.name} beside this YAML")
    own = OwnModule(file, folder.resolve())
    drop_stale_bytecode(own_files(own))
    hashes = dict(sorted(own.hashes().items()))
    module = _module(file, tuple(hashes.values()), where)
    function = getattr(module, name, None)
    if not callable(function):
        raise unknown(f"{where}: {TAG}", f"function in {file.name}", name, _functions_of(module))
    text = f"{TAG} {dotted.strip()} [{hashes[own.label(file)][:12]}]"
    _LOADED[text] = OwnCode(name, file, function, hashes)
    return text


def task_function(text: Any) -> OwnCode | None:
    """Return the function that a text of a loaded YAML stands for; None for every other value."""
    return _LOADED.get(text) if isinstance(text, str) and text.startswith(TAG) else None


def bound_text(text: str, argument: Mapping[str, Any]) -> str:
    """Return the text that stands for a loaded function with a second argument, which each call gets a copy of."""
    code = _LOADED[text]
    bound = f"{text} with {json.dumps(argument, sort_keys=True, default=str, ensure_ascii=False)}"
    _LOADED[bound] = replace(code, target=lambda doc: code.target(doc, copy.deepcopy(argument)))
    return bound


def functions_in(value: Any) -> dict[str, str]:
    """Return the SHA-256 of the files behind all functions in a YAML's value, by path relative to its folder."""
    if isinstance(value, Mapping):
        return {name: sha for item in value.values() for name, sha in functions_in(item).items()}
    if isinstance(value, list):
        return {name: sha for item in value for name, sha in functions_in(item).items()}
    code = task_function(value)
    return {} if code is None else dict(code.hashes)


def called(code: OwnCode, *arguments: Any, **options: Any) -> Any:
    """Call a task's function. Raises RowError with file and line for whatever it raises."""
    return code.called(code.target, arguments, options)


@lru_cache(maxsize=256)
def _module(file: Path, hashes: tuple[str, ...], where: str) -> ModuleType:
    """Import a file under a name of its own; equal sources are imported once."""
    name = f"{USER_PACKAGE}.tasks.{file.parent.name}_{abs(hash((file, hashes))):x}.{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise MarathonError(f"{where}: {file}: not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except SyntaxError as error:
        raise MarathonError(f"{where}: {file.name}:{error.lineno}: {error.msg}") from None
    except Exception as error:  # noqa: BLE001  # importing a task's file may raise anything
        raise MarathonError(f"{where}: {place_of(error, file)}: {type(error).__name__}: {error}") from None
    return module


def _functions_of(module: ModuleType) -> list[str]:
    return [name for name, value in vars(module).items() if inspect.isfunction(value)]
