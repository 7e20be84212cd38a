"""Hashes the code of models and presses that are not shipped, so that an edit makes other answers.

The hash covers the file that defines a class, and each file that it imports which is neither Python's own, nor
installed (below site-packages), nor part of marathon_eval. Imports are read from the syntax tree, those inside functions
included, without running anything. Names that are put together at run time are not found. Installed packages are not
followed: their releases are the user's to choose. Classes without a file are hashed by typed_classes.py.
"""

from __future__ import annotations

import glob
import importlib.util
import inspect
import os
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.typed_classes import typed_hash
from marathon_eval.errors import MarathonError

if TYPE_CHECKING:
    import ast

#: The name under which the registry loads a user's file: `marathon_eval_user.models.NAME`.
USER_PACKAGE = "marathon_eval_user"
#: Folders of a user's folder; its helpers may lie beside them.
PLUGIN_FOLDERS = ("models", "presses", "metrics", "filters", "row_steps")
_OURS = "marathon_eval"
_INSTALLED = ("site-packages", "dist-packages")


class OwnModule(NamedTuple):
    """Holds a module's file, and the folder below which labels are relative; None: nothing that it imports is its own."""

    file: Path
    root: Path | None
    #: The file as it was named, where that is a link: what it imports may lie beside the link.
    named: Path | None = None

    def label(self, file: Path) -> str:
        """Return the file's name in the fingerprint: relative, so that the folder may be moved."""
        if self.root is not None and file.is_relative_to(self.root):
            return file.relative_to(self.root).as_posix()
        package = [folder.name for folder in _packages(file)]
        return "/".join([*reversed(package), file.name])

    def hashes(self) -> dict[str, str]:
        """Return the SHA-256 of the file and of all that it imports, by label."""
        return _labelled({}, self)


def own_module(name: str, file: str | None) -> OwnModule | None:
    """Return the module of a class that is not shipped; None for shipped ones, Python's own, and those without a file."""
    top, *inner = name.split(".")
    # the folder of a module of Python's own is the whole standard library
    if top == _OURS or top in sys.stdlib_module_names or file is None or not Path(file).is_file():
        return None
    named = Path(os.path.abspath(file))
    path = named.resolve()
    if top == USER_PACKAGE:
        root = path.parent.parent if path.parent.name in PLUGIN_FOLDERS else path.parent
        return OwnModule(path, root, named)
    package = path.parent if path.name == "__init__.py" else None
    depth = len(inner) if package else len(inner) - 1
    root = path.parent.parents[depth - 1] if depth > 0 else path.parent
    if not inner and package is None and _is_installed(root):
        return OwnModule(path, None)
    return OwnModule(path, root, named)


def own_files(module: OwnModule) -> dict[Path, str]:
    """Return the SHA-256 of the module's file and of every file of the user's that it imports, by path."""
    import hashlib

    hashes: dict[Path, str] = {}
    waiting, seen = [module.file], set()
    while waiting:
        file = waiting.pop()
        real = file.resolve()
        if real in seen:
            continue
        seen.add(real)
        try:
            content = real.read_bytes()
        except OSError:  # deleted while it is read: importing it says so
            continue
        hashes[file] = hashlib.sha256(content).hexdigest()
        if module.root is not None and file.suffix == ".py":
            named = module.named if file == module.file and module.named else file
            waiting += [*_imported(content, file, module.root, named.parent)]
    return hashes


def source_hashes(kind: type) -> Mapping[str, str]:
    """Return the SHA-256 of all own code behind a class and its bases, by relative path; empty for shipped ones.

    The class's name is part of its own file's label where that file holds more than this class. Files are read once per
    class: one that is edited later does not change what this process runs. A class without a file, typed in a
    notebook, is hashed by its text each time, for what it refers to may change between two calls.
    """
    typed = [base for base in kind.__mro__ if _is_typed(base)]
    return {
        **_file_hashes(kind),
        **({f"{kind.__module__}:{kind.__qualname__}": _typed(kind, typed)} if typed else {}),
    }


@cache
def _file_hashes(kind: type) -> Mapping[str, str]:
    hashes: dict[str, str] = {}
    for base in kind.__mro__:
        module = sys.modules.get(base.__module__)
        own = own_module(base.__module__, getattr(module, "__file__", None)) if module else None
        if own is None or (base is not kind and not _same_author(base, kind)):
            continue
        if base is kind and not _is_alone(kind):
            _labelled(hashes, own, f":{kind.__qualname__}")
        else:
            _labelled(hashes, own)
    return dict(sorted(hashes.items()))


def _labelled(hashes: dict[str, str], own: OwnModule, class_name: str = "") -> dict[str, str]:
    """Add a module's files to `hashes` and return it; other files of the same label are numbered."""
    for file, sha256 in own_files(own).items():
        plain = own.label(file) + (class_name if file == own.file else "")
        label, number = plain, 1
        while hashes.get(label, sha256) != sha256:
            number += 1
            label = f"{plain}#{number}"
        hashes[label] = sha256
    return hashes


def _is_alone(kind: type) -> bool:
    """Return whether a module's name means this class: it defines no other public model (or press) that can be built."""
    family = [base for base in kind.__mro__ if base.__module__.partition(".")[0] == _OURS][-1:]
    defined = [
        value
        for name, value in vars(sys.modules[kind.__module__]).items()
        if inspect.isclass(value)
        and value.__module__ == kind.__module__
        and not name.startswith("_")
        and not inspect.isabstract(value)
        and any(issubclass(value, base) for base in family)
    ]
    return all(value is kind for value in defined) and bool(defined)


def _is_typed(kind: type) -> bool:
    """Return whether a class has no file: it was typed in a notebook or a terminal, or its file is gone."""
    top = kind.__module__.partition(".")[0]
    if top in (_OURS, USER_PACKAGE) or top in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    return not (file and Path(file).is_file())


def _typed(kind: type, typed: list[type]) -> str:
    """Return the hash of classes without a file, and of the own files that they use."""
    hashes: dict[str, str] = {}

    def use(name: str) -> None:
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        own = None if file is None or _is_installed(Path(file)) else own_module(name, file)
        if own is not None:
            _labelled(hashes, own)

    return typed_hash(kind, typed, use, hashes)


def drop_stale_bytecode(files: Iterable[Path]) -> list[Path]:
    """Delete compiled files that are older than their source's last change, those of every Python version.

    Return the sources that had one.

    Python compares whole seconds and the size: it would run the old code of a file replaced at equal size and time.
    Raises MarathonError for one that cannot be deleted.
    """
    stale: list[Path] = []
    for file in files:
        try:
            folder = Path(importlib.util.cache_from_source(str(file))).parent
            changed = file.stat().st_ctime_ns
        except (FileNotFoundError, NotImplementedError):  # deleted by now, or a Python that keeps nothing
            continue
        for compiled in folder.glob(f"{glob.escape(file.stem)}.*.pyc"):
            if _drop_if_older(compiled, changed, file):
                stale.append(file)
    return stale


def _drop_if_older(compiled: Path, changed: int, file: Path) -> bool:
    try:
        if compiled.stat().st_ctime_ns <= changed:
            compiled.unlink(missing_ok=True)
            return True
    except FileNotFoundError:  # another process deleted it first
        return True
    except OSError as error:
        raise MarathonError(
            f"{compiled}: cannot be deleted ({error.strerror}), and Python may run it instead of {file}, which is "
            "newer: delete it, or set PYTHONPYCACHEPREFIX to a folder that you can write to"
        ) from None
    return False


def _same_author(base: type, kind: type) -> bool:
    """Return whether a base class is own code too, rather than Python's or an installed package's."""
    top = base.__module__.partition(".")[0]
    if top == kind.__module__.partition(".")[0]:
        return True
    file = getattr(sys.modules[base.__module__], "__file__", None) or ""
    return top not in sys.stdlib_module_names and not _is_installed(Path(file))


def _is_installed(path: Path) -> bool:
    """Return whether a path lies among installed packages or in Python's standard library."""
    return any(part in _INSTALLED for part in path.parts) or any(
        path.is_relative_to(folder) for folder in _python_folders()
    )


@cache
def _python_folders() -> tuple[Path, ...]:
    names = ("stdlib", "platstdlib", "purelib", "platlib")
    return tuple(
        {Path(sysconfig.get_path(name)).resolve() for name in names} | {Path(__file__).resolve().parents[1]}
    )


def _packages(file: Path) -> Iterator[Path]:
    """Yield the folders of the packages that a file lies in, innermost first."""
    for folder in file.parents:
        if not (folder / "__init__.py").is_file():
            break
        yield folder


def _imported(content: bytes, file: Path, root: Path, beside: Path) -> Iterator[Path]:
    """Yield the user's files that a source imports, and the `__init__.py` of the packages around it.

    `beside` is the folder that the file was found in, which is another one for a link.
    """
    import ast

    for folder in _packages(file):
        if file.is_relative_to(root) and not folder.is_relative_to(root):
            break
        yield folder / "__init__.py"
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # importing it says so
        return
    places = [file.parent, root, root.parent, *(Path(entry or ".") for entry in sys.path)]
    for level, name in _names(tree):
        if 0 < level <= len(file.parents):
            yield from _below(root, [file.parents[level - 1]], name)
            yield from _elsewhere(root, [beside, *beside.parents][level - 1 : level], name, loaded=False)
        else:
            yield from _below(root, places, name)
            # a text that ends in .py is often no import at all, and is looked for around the file alone
            yield from _elsewhere(root, [beside, *(places[:3] if name.endswith(".py") else places)], name)


def _names(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield (number of leading dots, name) of everything that is imported; a name that ends in `.py` is a file's."""
    import ast

    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((0, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            inner = f"{node.module}." if node.module else ""
            yield from ((node.level, inner + alias.name) for alias in node.names)
        elif isinstance(node, ast.Call) and _imports(node.func):
            for argument in node.args[:1]:
                if isinstance(argument, ast.Constant) and isinstance(argument.value, str):
                    name = argument.value.lstrip(".")
                    yield len(argument.value) - len(name), name
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.endswith(".py"):
            yield 0, node.value


def _imports(function: ast.expr) -> bool:
    import ast

    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name in ("import_module", "__import__", "run_module", "resolve_name")


def _below(root: Path, bases: list[Path], name: str) -> Iterator[Path]:
    """Yield the files below `root` that a dotted name, or a path that ends in `.py`, may stand for."""
    candidates = [base / one for base in bases for one in _candidates(name)]
    for candidate in [*candidates, *_loaded(name)]:
        with suppress(OSError, ValueError):
            # resolving looks at every folder of the path, so only what is there is resolved
            if candidate.is_file() and (found := candidate.resolve()).is_relative_to(root):
                yield found


def _elsewhere(root: Path, bases: list[Path], name: str, loaded: bool = True) -> Iterator[Path]:
    """Yield the files outside of `root` that Python takes for a name: those it has loaded, or else the first it finds.

    Only one place is searched, unlike below `root`: other files of that name, in the current folder say, are not meant.
    A relative name is not that of a loaded module (`loaded`).
    """
    with suppress(OSError, ValueError):
        modules = _loaded(name) if loaded and not name.endswith(".py") else []
        found = [path for path in modules if path.is_file()]
        for base in bases:
            found = found or [base / one for one in _candidates(name) if (base / one).is_file()]
        for path in found:
            real = path.resolve()
            if not real.is_relative_to(root) and not _is_installed(real) and not _is_installed(path):
                yield real


def _candidates(name: str) -> list[Path]:
    """Return the relative paths that a dotted name, or a path that ends in `.py`, may stand for."""
    parts = name.replace(":", ".").split(".")
    if parts[0] == _OURS or "\0" in name or len(name) > 1000 or not all(parts):
        return []
    if name.endswith(".py"):
        return [Path(name)]
    modules = [Path(*parts[: count + 1]) for count in range(len(parts))]
    return [file for one in modules for file in (one / "__init__.py", one.with_suffix(".py"))]


def _loaded(name: str) -> list[Path]:
    """Return the files of the modules that Python has loaded under a dotted name and its beginnings."""
    parts = name.split(".")
    if parts[0] == _OURS:
        return []
    modules = (sys.modules.get(".".join(parts[: count + 1])) for count in range(len(parts)))
    return [Path(file) for module in modules if (file := getattr(module, "__file__", None))]
