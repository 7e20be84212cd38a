"""Imports a user's modules so that the code that runs is the code whose hash is in the fingerprint (source.py).

Python keeps loaded modules and compiled files, and notices by size and whole seconds alone that a source was edited.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from types import ModuleType

from marathon_eval.api.source import OwnModule, drop_stale_bytecode, own_files, own_module
from marathon_eval.errors import MarathonError

#: The hashes of own files by module, as they were when the module was loaded.
_LOADED: dict[str, dict[Path, str]] = {}


def imported_file(name: str, path: Path, flag: str) -> ModuleType:
    """Import a user's file as module `name`; again, if it or a file that it imports was edited. Raises MarathonError."""
    own = own_module(name, str(path))
    # first of all, because it deletes stale compiled files, which a first import would run too
    edited = _edited(name, own)
    loaded = sys.modules.get(name)
    if loaded is not None and loaded.__file__ == str(path) and not edited:
        return loaded
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise MarathonError(f"{flag}: {path}: not a Python file")
    while True:
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except SyntaxError as error:
            raise MarathonError(f"{path}:{error.lineno}: {error.msg}") from None
        except ImportError as error:
            raise MarathonError(f"{path}: {error}") from None
        if not _ran_stale_code(name, own):
            return module


def imported_module(module_name: str) -> ModuleType:
    """Import a module by its dotted name; again, if one of its files was edited. Raises whatever importing it raises."""
    own = _own_before_import(module_name)
    _edited(module_name, own)
    module = importlib.import_module(module_name)
    if _ran_stale_code(module_name, own):
        sys.modules.pop(module_name, None)
        module = importlib.import_module(module_name)
    return module


def _ran_stale_code(name: str, own: OwnModule | None) -> bool:
    """Return whether a module must be imported again, for it found files by a `sys.path` of its own and ran old code.

    Such files are known only once it was imported.
    """
    if own is None:
        return False
    found = own_files(own)
    late = found.keys() - _LOADED.get(name, {}).keys()
    stale = drop_stale_bytecode(late)
    if stale:
        _forget(late)  # also those that hold values of the stale ones
    _LOADED[name] = found
    return bool(stale)


def _edited(name: str, own: OwnModule | None) -> bool:
    """Return whether a module must be loaded: for the first time, or again because a file of it was edited.

    Python then finds neither the old modules nor their compiled files, so that the code that runs is the code that was
    hashed.
    """
    if own is None:
        return name not in sys.modules
    found = own_files(own)
    if found == _LOADED.get(name):
        return False
    if name in _LOADED:
        _forget(found)
    drop_stale_bytecode(found)
    importlib.invalidate_caches()
    _LOADED[name] = found
    return True


def _forget(paths: Iterable[Path]) -> None:
    """Remove the modules of these files from those that Python has loaded, with the modules inside of them."""
    files = {_file_id(file) for file in paths} - {None}
    old = {key for key, module in sys.modules.items() if _file_id(getattr(module, "__file__", None)) in files}
    inner = {key for key in sys.modules if any(key.startswith(f"{package}.") for package in old)}
    for key in old | inner:
        del sys.modules[key]


def _file_id(file: str | Path | None) -> tuple[int, int] | None:
    """Return the device and the inode of a file, by whatever path it was named; None where there is none."""
    # a process with torch has some thousand modules, and resolving their paths would take half a second
    if file is None:
        return None
    try:
        status = os.stat(file)
    except (OSError, ValueError):
        return None
    return status.st_dev, status.st_ino


def _own_before_import(module_name: str) -> OwnModule | None:
    """Return where a module will be loaded from; importing it runs its packages' code, which looking here does not."""
    top, *inner = module_name.split(".")
    loaded = sys.modules.get(module_name)
    if loaded is not None:
        return own_module(module_name, getattr(loaded, "__file__", None))
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        place = Path(folder, *inner)
        for file in (place.with_suffix(".py"), place / "__init__.py"):
            if file.is_file():
                return own_module(module_name, str(file))
    return own_module(module_name, spec.origin) if spec and not inner else None
