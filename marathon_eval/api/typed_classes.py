"""Hashes classes without a file, which were typed in a notebook or a terminal, by the text that Python keeps of them.

Python keeps the text of a notebook's cells (`linecache`), not that of `python -` or of its terminal before 3.13. The hash
covers the cells of a class's functions, and whatever these functions refer to in the notebook: functions, classes,
plain values and imported modules. Where something of this cannot be read, the class is another one in every process.
"""

from __future__ import annotations

import dis
import hashlib
import json
import linecache
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any
from weakref import WeakKeyDictionary

#: What Python, abc and dataclasses write into every class.
_WRITTEN = frozenset({"_abc_impl", "__dict__", "__weakref__", "__annotations__", "__doc__", "__slots__"})
#: Classes whose text is not known, with the text that stands for it in this process.
_UNREADABLE: WeakKeyDictionary[type, str] = WeakKeyDictionary()


class _UnknownTextError(Exception):
    """Says that something that a class refers to cannot be described by text."""


def typed_hash(
    kind: type, typed: Sequence[type], use: Callable[[str], None], files: Mapping[str, str]
) -> str:
    """Return the hash of `kind`, whose bases `typed` (itself included) have no file.

    `use` is called with the name of each imported module and adds the hashes of its files to `files`. Where text is
    missing, prints a note and returns a value that no other process has.
    """
    if kind not in _UNREADABLE:
        try:
            texts = sorted(_Reader(use).texts(typed))
            return hashlib.sha256(json.dumps([texts, sorted(files.items())]).encode()).hexdigest()
        except _UnknownTextError as error:
            print(
                f"marathon-eval: note: {kind.__module__}:{kind.__qualname__}: {error}, so that its cached responses serve "
                "this process alone; in a file of its own the class keeps them",
                file=sys.stderr,
            )
            _UNREADABLE[kind] = uuid.uuid4().hex
    return _UNREADABLE[kind]


class _Reader:
    """Collects the texts behind classes, each once."""

    def __init__(self, use: Callable[[str], None]) -> None:
        self.use = use
        self.seen: set[int] = set()
        self.homes: set[str] = set()

    def texts(self, typed: Sequence[type]) -> Iterator[str]:
        """Yield the texts of classes and of everything that they refer to. Raises _UnknownTextError."""
        self.homes = {kind.__module__ for kind in typed}
        waiting: list[tuple[str, Any]] = [(kind.__qualname__, kind) for kind in typed]
        while waiting:
            name, value = waiting.pop()
            if _is_plain(value):
                yield f"{name} = {value!r}"
            elif id(value) not in self.seen:
                self.seen.add(id(value))
                text, inner = self._read(name, value)
                waiting += inner
                yield text

    def _read(self, name: str, value: Any) -> tuple[str, list[tuple[str, Any]]]:
        """Return the text of one value, and what it refers to by name."""
        value = value.__func__ if isinstance(value, staticmethod | classmethod | MethodType) else value
        if isinstance(value, property):
            return f"{name}: property", [(name, one) for one in (value.fget, value.fset) if one]
        if isinstance(value, ModuleType):
            self.use(value.__name__)
            return f"{name}: module {value.__name__}", []
        module = getattr(value, "__module__", None)
        if isinstance(value, type | FunctionType) and module not in self.homes:
            self.use(str(module))
            return f"{name}: {module}.{value.__qualname__}", []
        if isinstance(value, FunctionType):
            return _function_text(value), list(_referred(value))
        if isinstance(value, type):
            bases = [(base.__qualname__, base) for base in value.__bases__]
            own = [(f"{name}.{key}", one) for key, one in vars(value).items() if key not in _WRITTEN]
            return f"{name}: class", [*bases, *own]
        if isinstance(value, BuiltinFunctionType):
            return f"{name}: {module}.{value.__qualname__}", []
        raise _UnknownTextError(f"what it is made of cannot be read ({name} is a {type(value).__name__})")


def _is_plain(value: Any) -> bool:
    """Return whether a value's repr is all that there is to it, and the same in every process."""
    if isinstance(value, dict):
        return all(_is_plain(key) and _is_plain(one) for key, one in value.items())
    if isinstance(value, list | tuple):
        return all(_is_plain(one) for one in value)
    if isinstance(value, frozenset):
        return not value  # `__abstractmethods__` of a class that can be built
    return value is None or isinstance(value, str | bytes | int | float)


def _function_text(function: FunctionType) -> str:
    """Return the whole cell in which a function was typed. Raises _UnknownTextError."""
    lines = linecache.getlines(function.__code__.co_filename, function.__globals__)
    if not lines:
        raise _UnknownTextError("its source was typed and cannot be read")
    return f"{function.__qualname__} in line {function.__code__.co_firstlineno} of:\n{''.join(lines)}"


def _referred(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Yield the globals, the variables of enclosing functions and the defaults that a function uses, by name."""
    for name in _global_names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # set later, by a function that has not run
            continue
    yield from ((f"default of {function.__qualname__}", one) for one in function.__defaults__ or ())
    yield from (function.__kwdefaults__ or {}).items()


def _global_names(code: CodeType) -> set[str]:
    names = {
        str(step.argval) for step in dis.get_instructions(code) if step.opname in ("LOAD_GLOBAL", "LOAD_NAME")
    }
    return names.union(*(_global_names(one) for one in code.co_consts if isinstance(one, CodeType)))
