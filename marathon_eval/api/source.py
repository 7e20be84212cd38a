"""Hashes the code of models and presses that are not shipped, so that an edit makes other answers.

The hash covers the file that defines a class, and each file that it imports from below the folder that the user named.
Imports are read from the syntax tree, those inside functions included, without running anything. Names that are put
together at run time are not found. Installed packages are not followed: their releases are the user's to choose.
"""

from __future__ import annotations

import glob
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

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
    """Holds a module's file, and the folder below which its imports are its own; None: the file alone is."""

    file: Path
    root: Path | None

    def label(self, file: Path) -> str:
        """Return the file's name in the fingerprint: relative, so that the folder may be moved."""
        return file.name if self.root is None else file.relative_to(self.root).as_posix()


def own_module(name: str, file: str | None) -> OwnModule | None:
    """Return the module of a class that is not shipped; None for shipped ones, Python's own, and those without a file."""
    top, *inner = name.split(".")
    # the folder of a module of Python's own is the whole standard library
    if top == _OURS or top in sys.stdlib_module_names or file is None or not Path(file).is_file():
        return None
    path = Path(file).resolve()
    if top == USER_PACKAGE:
        return OwnModule(path, path.parent.parent if path.parent.name in PLUGIN_FOLDERS else path.parent)
    package = path.parent if path.name == "__init__.py" else None
    depth = len(inner) if package else len(inner) - 1
    root = path.parent.parents[depth - 1] if depth > 0 else path.parent
    if not inner and package is None and any(part in _INSTALLED for part in root.parts):
        return OwnModule(path, None)
    return OwnModule(path, root)


def own_files(module: OwnModule) -> dict[Path, str]:
    """Return the SHA-256 of the module's file and of every file below its folder that it imports, by path."""
    import hashlib

    hashes: dict[Path, str] = {}
    waiting = [module.file]
    while waiting:
        file = waiting.pop()
        if file in hashes:
            continue
        try:
            content = file.read_bytes()
        except OSError:  # deleted while it is read: importing it says so
            continue
        hashes[file] = hashlib.sha256(content).hexdigest()
        if module.root is not None and file.suffix == ".py":
            waiting += [found for found in _imported(content, file, module.root) if found not in hashes]
    return hashes


@cache
def source_hashes(kind: type) -> Mapping[str, str]:
    """Return the SHA-256 of all own files behind a class and its bases, by relative path; empty for shipped ones.

    Read once per class: a file that is edited later does not change what this process runs.
    """
    hashes: dict[str, str] = {}
    for base in kind.__mro__:
        module = sys.modules.get(base.__module__)
        own = own_module(base.__module__, getattr(module, "__file__", None)) if module else None
        if own is None or (base is not kind and not _same_author(base, kind)):
            continue
        for file, sha256 in own_files(own).items():
            label, number = own.label(file), 1
            while hashes.get(label, sha256) != sha256:
                number += 1
                label = f"{own.label(file)}#{number}"
            hashes[label] = sha256
    return dict(sorted(hashes.items()))


def drop_stale_bytecode(files: Iterable[Path]) -> None:
    """Delete compiled files that are older than their source's last change, those of every Python version.

    Python compares whole seconds and the size: it would run the old code of a file replaced at equal size and time.
    Raises MarathonError for one that cannot be deleted.
    """
    for file in files:
        try:
            folder = Path(importlib.util.cache_from_source(str(file))).parent
            changed = file.stat().st_ctime_ns
        except (FileNotFoundError, NotImplementedError):  # deleted by now, or a Python that keeps nothing
            continue
        for compiled in folder.glob(f"{glob.escape(file.stem)}.*.pyc"):
            _drop_if_older(compiled, changed, file)


def _drop_if_older(compiled: Path, changed: int, file: Path) -> None:
    try:
        if compiled.stat().st_ctime_ns <= changed:
            compiled.unlink(missing_ok=True)
    except FileNotFoundError:  # another process deleted it first
        return
    except OSError as error:
        raise MarathonError(
            f"{compiled}: cannot be deleted ({error.strerror}), and Python may run it instead of {file}, which is "
            "newer: delete it, or set PYTHONPYCACHEPREFIX to a folder that you can write to"
        ) from None


def _same_author(base: type, kind: type) -> bool:
    """Return whether a base class is own code too, rather than Python's or an installed package's."""
    top = base.__module__.partition(".")[0]
    if top == kind.__module__.partition(".")[0]:
        return True
    file = getattr(sys.modules[base.__module__], "__file__", None) or ""
    return top not in sys.stdlib_module_names and not any(part in _INSTALLED for part in Path(file).parts)


def _imported(content: bytes, file: Path, root: Path) -> Iterator[Path]:
    """Yield the files below `root` that a source imports, and the `__init__.py` of the packages around it."""
    import ast

    for folder in file.parents:
        if not (folder / "__init__.py").is_file() or not folder.is_relative_to(root):
            break
        yield folder / "__init__.py"
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # importing it says so
        return
    places = [file.parent, root, root.parent, *(Path(entry or ".") for entry in sys.path)]
    for level, name in _names(tree):
        bases = [file.parents[level - 1]] if 0 < level <= len(file.parents) else places
        yield from _below(root, bases, name)


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
    parts = name.replace(":", ".").split(".")
    if parts[0] == _OURS or "\0" in name or len(name) > 1000:
        return
    if name.endswith(".py"):
        candidates = [base / name for base in bases]
    else:
        modules = [Path(*parts[: count + 1]) for count in range(len(parts)) if all(parts)]
        candidates = [base / one / "__init__.py" for base in bases for one in modules]
        candidates += [(base / one).with_suffix(".py") for base in bases for one in modules]
    loaded = (sys.modules.get(".".join(parts[: count + 1])) for count in range(len(parts)))
    candidates += [Path(file) for module in loaded if (file := getattr(module, "__file__", None))]
    for candidate in candidates:
        with suppress(OSError, ValueError):
            # resolving looks at every folder of the path, so only what is there is resolved
            if candidate.is_file() and (found := candidate.resolve()).is_relative_to(root):
                yield found
