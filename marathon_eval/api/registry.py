"""Finds a task YAML, a model, press, metric, filter or row step by name: the file's name is the name that users write.

A name may be the path of a file (`./my_press.py`), the name of a file, or for models and presses
`package.module:Class`. Files are searched in the folders given by --include_path (tasks/, models/, presses/ inside them, or the YAMLs themselves),
then among those that ship with the package, then as entry points `marathon_eval.models|presses|tasks`; an entry point
of a task is the path of its YAML, as text or path object. Nothing is imported to list names.
"""

from __future__ import annotations

import importlib
import inspect
import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, cast

from marathon_eval.api.own_import import imported_file, imported_module
from marathon_eval.api.source import USER_PACKAGE, own_module
from marathon_eval.errors import MarathonError, unknown, unknown_of_many

if TYPE_CHECKING:
    from marathon_eval.api.model import Model
    from marathon_eval.api.own_code import OwnCode
    from marathon_eval.api.press import Press

PluginKind = Literal["task", "model", "press", "metric", "filter", "row_step"]
FOLDERS: dict[PluginKind, str] = {
    "task": "tasks",
    "model": "models",
    "press": "presses",
    "metric": "metrics",
    "filter": "filters",
    "row_step": "row_steps",
}
SUFFIXES: dict[PluginKind, str] = {kind: ".yaml" if kind == "task" else ".py" for kind in FOLDERS}
#: Ends the name of a file that answers for a model in an environment of its own (`my_model_worker.py`).
WORKER = "_worker"
FLAGS: dict[PluginKind, str] = {"task": "--tasks", "model": "--model", "press": "press="}


class Registry:
    """Finds tasks, models, presses and scorers for one command; `include_path` lists folders given by the user."""

    def __init__(self, include_path: Sequence[str] = (), trust_task_code: bool = False) -> None:
        for folder in include_path:
            if not Path(folder).is_dir():
                raise MarathonError(f"--include_path: {folder}: no such folder")
        #: Whether `!function` in a task's YAML may run Python of its folder.
        self.trust_task_code = trust_task_code
        self.include_path = tuple(Path(folder) for folder in include_path)
        self._listed: dict[PluginKind, list[Path]] = {}

    def names(self, kind: PluginKind) -> list[str]:
        """Return every name of this kind, read from file names and entry points alone."""
        files = {_listed_name(path, kind) for path in self._files(kind)}
        return sorted(files | {point.name for point in _entry_points(FOLDERS[kind])})

    def has_task(self, name: str) -> bool:
        """Return whether `names` holds this task or group; entry points are read only where no file has the name."""
        return any(path.stem == name for path in self._files("task")) or name in self.names("task")

    def task_path(self, name: str) -> Path:
        """Return the YAML of a task or group. Raises MarathonError with the most similar name."""
        path = self._path("task", name, FLAGS["task"])
        if path is not None:
            return path
        for point in _entry_points(FOLDERS["task"]):
            if point.name == name:
                return _task_file(point)
        raise self.unknown_task("task", name)

    def unknown_task(self, kind: str, name: str) -> MarathonError:
        """Build the error for a task, or a pattern of tasks, that does not exist; it names the flag for own folders."""
        error = unknown_of_many(FLAGS["task"], kind, name, self.names("task"), "marathon-eval ls tasks")
        if self.include_path:
            return error
        return MarathonError(f"{error}. Tasks in a folder of yours need --include_path FOLDER")

    def model_class(self, name: str, flag: str = FLAGS["model"]) -> type[Model]:
        """Return the model class of this name. Raises MarathonError that names `flag`."""
        from marathon_eval.api.model import Model

        return cast("type[Model]", self._class("model", name, Model, flag))

    def press_class(self, name: str) -> type[Press]:
        """Return the press class of this name, `dart+knorm` for a pair. Raises MarathonError that names `press=`."""
        from marathon_eval.api.press import Press

        first, plus, second = name.partition("+")
        if plus and not any(sign in name for sign in ("/", "\\", ":")):
            from marathon_eval.api.press_pair import pair_class

            return pair_class(name, self.press_class(first), self.press_class(second))
        return cast("type[Press]", self._class("press", name, Press, FLAGS["press"]))

    def own_code(self, kind: PluginKind, name: str, where: str) -> OwnCode | None:
        """Return the metric, filter or row step of a file below an `include_path` folder; None without such a file.

        Raises MarathonError that begins with `where` if the file cannot be imported or does not define exactly one.
        """
        path = next((path for path in self._files(kind) if path.stem == name), None)
        if path is None:
            return None
        from marathon_eval.api.own_code import OwnCode, own_target, place_of

        try:
            module = _load(kind, path, where)
        except MarathonError:
            raise
        except Exception as error:  # noqa: BLE001  # importing a user's file may raise anything
            raise MarathonError(
                f"{where}: {place_of(error, path)}: {type(error).__name__}: {error}"
            ) from None
        own = own_module(module.__name__, str(path))
        hashes = own.hashes() if own else {}
        return OwnCode(name, path, own_target(module, name, f"{where}: {kind}"), hashes)

    def _files(self, kind: PluginKind) -> list[Path]:
        """Return files in order of precedence, skipping files whose names begin with an underscore (shared bases)."""
        if kind not in self._listed:
            pattern = ("**/*" if kind == "task" else "*") + SUFFIXES[kind]
            files = [path for folder in self._folders(kind) for path in sorted(folder.glob(pattern))]
            self._listed[kind] = [
                path for path in files if not path.name.startswith("_") and not _has_adapter(path, kind)
            ]
        return self._listed[kind]

    def _folders(self, kind: PluginKind) -> Iterator[Path]:
        for folder in self.include_path:
            inner = folder / FOLDERS[kind]
            if inner.is_dir():
                yield inner
            elif kind == "task":
                yield folder
        yield shipped_folder(kind)

    def _path(self, kind: PluginKind, name: str, flag: str) -> Path | None:
        if name.endswith(SUFFIXES[kind]) or "/" in name:
            path = Path(name)
            # os.path.isfile, unlike Path.is_file, also returns False for text that can't be a file name
            if os.path.isfile(path):
                return path
            if name.endswith(SUFFIXES[kind]):
                raise MarathonError(f"{flag}: {name}: no such file")
        nested = "/" in name
        return next(
            (
                path
                for path in self._files(kind)
                if name == (_nested(path, kind) if nested else _listed_name(path, kind))
            ),
            None,
        )

    def _class(self, kind: PluginKind, name: str, parent: type, flag: str) -> type:
        if ":" in name and not name.endswith(".py"):
            return _from_module(name, parent, flag)
        path = self._path(kind, name, flag)
        if path is not None and kind == "model" and path.stem.endswith(WORKER):
            adapter = _load("model", shipped_folder("model") / "_worker.py", flag)
            return cast("type", adapter.of_file(path))
        if path is not None:
            return one_class(_load(kind, path, flag), parent, kind, name)
        for point in _entry_points(FOLDERS[kind]):
            if point.name == name:
                return _checked(point.load(), parent, flag, name)
        raise self._unknown(kind, name, flag)

    def _unknown(self, kind: PluginKind, name: str, flag: str) -> MarathonError:
        return unknown(flag, kind, name, self.names(kind))


@cache
def shipped_folder(kind: PluginKind) -> Path:
    """Return the folder of the tasks, models or presses that ship with the package."""
    # not files.PACKAGE: files.py imports hashlib and json, which `ls` does not need
    return Path(__file__).resolve().parents[1] / FOLDERS[kind]


def _nested(path: Path, kind: PluginKind) -> str:
    """Return `air_bench/chat` for a YAML in a sub-folder of the shipped tasks, else the file's name."""
    folder = shipped_folder(kind)
    return str(path.relative_to(folder).with_suffix("")) if path.is_relative_to(folder) else path.stem


def _listed_name(path: Path, kind: PluginKind) -> str:
    """Return the name that users write; a model's worker has the model's name."""
    return path.stem.removesuffix(WORKER) if kind == "model" else path.stem


def _has_adapter(path: Path, kind: PluginKind) -> bool:
    """Return whether a file is the worker of an adapter beside it, and no model of its own."""
    own = path.with_name(f"{path.stem.removesuffix(WORKER)}.py")
    return kind == "model" and own != path and own.is_file()


@cache
def _entry_points(folder: str) -> tuple[Any, ...]:
    from importlib.metadata import entry_points

    return tuple(entry_points(group=f"marathon_eval.{folder}"))


def _task_file(point: Any) -> Path:
    """Return the YAML that a task's entry point names: a string or path object. Raises MarathonError."""
    named = point.load()
    if isinstance(named, str | os.PathLike) and os.path.isfile(named):
        return Path(named)
    raise MarathonError(
        f"--tasks: {point.name}: the entry point {point.value} must be the path of a YAML file"
    )


def _load(kind: PluginKind, path: Path, flag: str) -> ModuleType:
    """Import a shipped file under its package name (one file, one module), a user's file under a name of its own."""
    if path.parent == shipped_folder(kind):
        return importlib.import_module(f"marathon_eval.{FOLDERS[kind]}.{path.stem}")
    return imported_file(f"{USER_PACKAGE}.{FOLDERS[kind]}.{path.stem}", path, flag)


def _from_module(name: str, parent: type, flag: str) -> type:
    module_name, _, class_name = name.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise MarathonError(f"{flag}: {name!a}: must be package.module:Class")
    try:
        module = imported_module(module_name)
    except ImportError as error:
        raise MarathonError(f"{flag}: {name}: {error}") from None
    if not hasattr(module, class_name):
        classes = [key for key, value in vars(module).items() if inspect.isclass(value)]
        raise unknown(flag, f"class in {module_name}", class_name, classes)
    return _checked(getattr(module, class_name), parent, flag, name)


def one_class(module: ModuleType, parent: type, kind: str, name: str) -> type:
    """Return the one public subclass of `parent` that the module defines.

    Raises MarathonError for none or several.
    """
    classes = [
        value
        for key, value in vars(module).items()
        if inspect.isclass(value)
        and issubclass(value, parent)
        and value.__module__ == module.__name__
        and not key.startswith("_")
        and not inspect.isabstract(value)
    ]
    if len(classes) != 1:
        raise MarathonError(
            f"{kind} {name}: {module.__file__} must define one class that extends {parent.__name__}, "
            f"it defines {len(classes)}"
        )
    return classes[0]


def _checked(value: Any, parent: type, flag: str, name: str) -> type:
    if not (inspect.isclass(value) and issubclass(value, parent)):
        raise MarathonError(f"{flag} {name}: is no {parent.__name__}")
    return value
