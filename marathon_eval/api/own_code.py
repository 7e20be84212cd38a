"""Holds a metric, filter or row step of a user's own, and calls it so that its mistakes are one line with their place."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from marathon_eval.errors import MarathonError, RowError, did_you_mean


@dataclass(frozen=True)
class OwnCode:
    """Holds the one function or class of a user's file, by the file's name, with the SHA-256 of its sources."""

    name: str
    file: Path
    target: Callable[..., Any]
    hashes: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_class(self) -> bool:
        """Return whether the file defines a class rather than a function."""
        return inspect.isclass(self.target)

    def callable_with(self, options: Mapping[str, Any], given: int, where: str) -> Callable[..., Any]:
        """Return what is called with up to `given` positional arguments: the function, or an object of the class.

        Options go to the class's constructor, else to each call. Raises MarathonError that begins with `where` for
        options that it does not take, and for one that it needs.
        """
        skipped = 0 if self.is_class else min(given, _positional(self.target))
        if not self.is_class and not skipped:
            raise MarathonError(f"{where}: {self.file}: {self.name} must take an argument")
        self._check_options(options, skipped, where)
        if not self.is_class:
            return lambda *arguments: self.called(self.target, arguments[:skipped], options)
        made = self.called(self.target, (), options, MarathonError, f"{where}: ")
        if not callable(made):
            raise MarathonError(f"{where}: {self.file}: an object of {self.name} must be callable")
        count = min(given, _positional(made))
        return lambda *arguments: self.called(made, arguments[:count], {})

    def _check_options(self, options: Mapping[str, Any], skipped: int, where: str) -> None:
        parameters = [*inspect.signature(self.target).parameters.values()][skipped:]
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters):
            return
        names = [one.name for one in parameters]
        for key in options:
            if key not in names:
                raise MarathonError(
                    f"{where}: '{self.name}' takes no '{key}'.{did_you_mean(key, names)} It takes: "
                    f"{', '.join(names) or 'nothing'}"
                )
        for one in parameters:
            if one.default is one.empty and one.name not in options and one.kind is not one.VAR_POSITIONAL:
                raise MarathonError(f"{where}: '{self.name}' needs '{one.name}'")

    def called(
        self,
        function: Callable[..., Any],
        arguments: tuple[Any, ...],
        options: Mapping[str, Any],
        kind: type[MarathonError] = RowError,
        before: str = "",
    ) -> Any:
        """Call a function of the file. Raises `kind` with file and line for whatever it raises."""
        try:
            return function(*arguments, **options)
        except MarathonError:
            raise
        except Exception as error:  # noqa: BLE001  # a user's code may raise anything
            text = f"{type(error).__name__}: {error}{_attributes_of(error)}"
            raise kind(f"{before}{place_of(error, self.file)}: {text}") from None


def _attributes_of(error: Exception) -> str:
    """Return the attributes of one of this package's objects whose attribute was misnamed; empty for other errors."""
    if not isinstance(error, AttributeError) or not type(error.obj).__module__.startswith("marathon_eval."):
        return ""
    return f". It has: {', '.join(name for name in dir(error.obj) if not name.startswith('_'))}"


def _positional(function: Callable[..., Any]) -> int:
    parameters = inspect.signature(function).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return 99
    return sum(one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters)


def place_of(error: Exception, file: Path) -> str:
    """Return `file:line` of the deepest frame of an error in this file; the file alone if none is."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).resolve() == file.resolve()]
    return f"{file}:{lines[-1]}" if lines else str(file)


def own_target(module: ModuleType, name: str, kind: str) -> Callable[..., Any]:
    """Return the function or class that is named as the file, else the only public one that it defines.

    Raises MarathonError for none and for several.
    """
    public = {
        key: value
        for key, value in vars(module).items()
        if (inspect.isclass(value) or inspect.isfunction(value))
        and value.__module__ == module.__name__
        and not key.startswith("_")
    }
    if name in public:
        return public[name]
    if len(public) != 1:
        raise MarathonError(
            f"{kind} {name}: {module.__file__} must define one function or class, or one named '{name}'; it defines "
            f"{', '.join(public) or 'none'}"
        )
    return next(iter(public.values()))
