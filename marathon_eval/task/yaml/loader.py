"""Reads YAML files, merges their includes, records `file:line` of every key, and refuses duplicate keys and tags."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import yaml

from marathon_eval.api.task_functions import TAG, loaded_text
from marathon_eval.errors import MarathonError
from marathon_eval.files import PACKAGE

if TYPE_CHECKING:
    from marathon_eval.api.own_code import OwnCode
    from marathon_eval.api.registry import PluginKind, Registry

KeyPath: TypeAlias = tuple[str | int, ...]
#: Maps the path of a key to `file:line`, as error messages print it.
Places: TypeAlias = dict[KeyPath, str]

_CORE = "tag:yaml.org,2002:"
_NEVER_INHERITED = ("task_list",)
#: Tags without a JSON equivalent; results.json stores values of the task's YAML.
_NO_JSON = frozenset(_CORE + name for name in ("binary", "omap", "pairs", "set"))
#: Limits: values in a file with its aliases expanded, and characters of an integer.
_MAX_VALUES, _MAX_DIGITS = 100_000, 200
#: Levels of lists and mappings inside each other; libyaml composes nodes by recursion in C, which overflows the stack.
_MAX_DEPTH = 100
#: Every list or mapping of a YAML text begins with, or holds, at least one of these characters.
_OPENING = "[{:-?"
_MAX_INCLUDES = 50


@dataclass(frozen=True)
class Document:
    """Holds a YAML mapping merged with its includes, and the `file:line` of each key."""

    path: Path
    values: dict[str, Any]
    places: Places = field(repr=False)
    #: Where the task's own metrics, filters and row steps are found; None: the task has none.
    registry: Registry | None = field(default=None, repr=False, compare=False)

    def where(self, *keys: str | int) -> str:
        """Return `file:line` of a key, or of the nearest key that encloses it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return f"{shown_file(self.path)}:1"

    def file_of(self, *keys: str | int) -> str:
        """Return the file that a key was read from, as messages print it."""
        return self.where(*keys).rpartition(":")[0]

    def own_code(self, kind: PluginKind, name: object, where: str) -> OwnCode | None:
        """Return the user's metric, filter or row step of this name, None without one. Raises MarathonError."""
        if self.registry is None or not isinstance(name, str):
            return None
        return self.registry.own_code(kind, name, where)


def load_document(path: Path, find: Callable[[str], Path], trusted: bool = False) -> Document:
    """Read a task's YAML with its includes; `find` returns the file of a task by its name.

    `trusted`: `!function` imports Python of the YAML's folder; else it is refused.

    As in lm-eval, includes are merged shallowly, in order, and keys of the file itself take precedence.
    Raises MarathonError with file and line.
    """
    return _merged(path, find, (), {}, trusted)


def files_of(path: Path, find: Callable[[str], Path]) -> list[Path]:
    """Return a task's YAML file and all files that it includes, each once. Raises MarathonError."""
    load_document(path, find)  # refuses circular includes
    files: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in files:
            files[file] = None
            document = _read(file)
            waiting += reversed([_include_path(name, document, find) for name in _included(document)])
    return list(files)


def shown_file(path: Path) -> str:
    """Return a path as error messages print it: relative if the file is below the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _merged(
    path: Path,
    find: Callable[[str], Path],
    chain: Sequence[Path],
    merged: dict[Path, Document],
    trusted: bool,
) -> Document:
    """Merge a file with its includes.

    `merged` holds the files merged so far: without it, files that include each other twice take exponential time.
    """
    resolved = path.resolve()
    if resolved in chain:
        names = " -> ".join(file.name for file in (*chain, resolved))
        raise MarathonError(f"{shown_file(path)}:1: circular include: {names}")
    if resolved in merged:
        return merged[resolved]
    if len(chain) > _MAX_INCLUDES:
        raise MarathonError(f"{shown_file(path)}:1: includes are nested more than {_MAX_INCLUDES} files deep")
    unmerged = _read(path, trusted)
    values: dict[str, Any] = {}
    places: Places = {}
    for name in _included(unmerged):
        include = _merged(_include_path(name, unmerged, find), find, (*chain, resolved), merged, trusted)
        _overlay(values, places, include.values, include.places)
    for key in _NEVER_INHERITED:
        values.pop(key, None)
    _overlay(values, places, unmerged.values, unmerged.places)
    values.pop("include", None)
    merged[resolved] = Document(path, values, places)
    return merged[resolved]


def _overlay(values: dict[str, Any], places: Places, over: dict[str, Any], over_places: Places) -> None:
    """Merge shallowly: a key that is set again is replaced with everything below it, including the recorded lines."""
    for keys in [keys for keys in places if keys[0] in over]:
        del places[keys]
    values.update(over)
    places.update(over_places)


def _included(document: Document) -> list[str]:
    names = document.values.get("include", [])
    names = [names] if isinstance(names, str) else names
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise MarathonError(f"{document.where('include')}: include: must be a file name or a list of them")
    return names


def _include_path(name: str, document: Document, find: Callable[[str], Path]) -> Path:
    """Find an included file: beside `document`, else among the shipped tasks, else by a task's name.

    The shipped tasks are searched so that a copied task still finds its base. A file that includes its own name means
    the shipped task of that name, which it replaces.
    """
    shipped = PACKAGE / "tasks"
    folders = (path.parent for path in sorted(shipped.glob(f"*/{Path(name).name}")))
    for folder in (document.path.parent, shipped, *folders):
        # not Path.is_file, which raises for a name that is too long
        if os.path.isfile(folder / name) and not _same_file(folder / name, document.path):
            return folder / name
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        if os.path.isfile(document.path.parent / name):
            raise MarathonError(
                f"{document.where('include')}: circular include: {name} is this file itself, and no task of that name ships. "
                f"Write the path from this file to the one that is meant, such as include: ../../tasks/{Path(name).name}"
            )
        raise MarathonError(
            f"{document.where('include')}: include: no file '{name}' beside this file or among the shipped tasks"
        )
    found = find(name)
    if _same_file(found, document.path):
        return _include_path(f"{name}.yaml", document, find)
    return found


def _same_file(one: Path, other: Path) -> bool:
    return one.resolve() == other.resolve()


def _read(path: Path, trusted: bool = False) -> Document:
    """Read one file, without its includes."""
    try:
        text = path.read_text(encoding="utf-8")
        if trusted and TAG in text:
            # parsed each time, because the functions' files may have been edited since
            return _parsed.__wrapped__(path, text, trusted)
        return _parsed(path, text, trusted)
    except (OSError, UnicodeDecodeError) as error:
        raise MarathonError(f"{shown_file(path)}: cannot read ({error})") from None


@lru_cache(maxsize=64)
def _parsed(path: Path, text: str, trusted: bool) -> Document:
    """Parse a file. Cached, as tasks of a benchmark share their includes; callers must not change the result."""
    loader = (_TrustingLoader if trusted else yaml.CSafeLoader)(text)
    try:
        _refuse_deep(text, shown_file(path))
        node = loader.get_single_node()
        places: Places = {}
        if isinstance(loader, _TrustingLoader):
            loader.yaml_file = path
        _walk(node, (), shown_file(path), places, {}, trusted)
        values = loader.construct_document(node) if node is not None else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise MarathonError(
            f"{shown_file(path)}:{mark.line + 1 if mark else 1}: broken YAML: {error.problem}"
        ) from None
    except yaml.YAMLError as error:
        raise MarathonError(f"{shown_file(path)}:1: broken YAML: {str(error).splitlines()[0]}") from None
    except RecursionError:
        raise MarathonError(f"{shown_file(path)}:1: broken YAML: nested too deeply") from None
    finally:
        loader.dispose()
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise MarathonError(f"{shown_file(path)}:1: must be a mapping of named keys")
    return Document(path, values, places)


def _refuse_deep(text: str, file: str) -> None:
    """Raise MarathonError for a text nested more than _MAX_DEPTH deep, from its events, which need no recursion."""
    if sum(map(text.count, _OPENING)) <= _MAX_DEPTH:
        return  # too few openings to nest so deep: most task files cost nothing
    depth = 0
    for event in yaml.parse(text, Loader=yaml.CSafeLoader):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > _MAX_DEPTH:
                line = event.start_mark.line + 1 if event.start_mark else 1
                raise MarathonError(f"{file}:{line}: broken YAML: nested more than {_MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


class _TrustingLoader(yaml.CSafeLoader):
    """Constructs `!function module.name` by importing the function from the YAML's folder."""

    yaml_file = Path()

    def function(self, node: yaml.ScalarNode) -> str:
        """Return the text that stands for the function."""
        where = f"{shown_file(self.yaml_file)}:{node.start_mark.line + 1}"
        return loaded_text(node.value, self.yaml_file.resolve().parent, where)


_TrustingLoader.add_constructor(TAG, _TrustingLoader.function)


class _Extent(NamedTuple):
    """Holds the number of values and of nested levels below a node, with aliases expanded."""

    values: int
    depth: int


_UNFINISHED = _Extent(0, 0)


def _walk(
    node: yaml.Node | None,
    keys: KeyPath,
    file: str,
    places: Places,
    extents: dict[int, _Extent],
    trusted: bool = False,
) -> _Extent:
    """Record every key's line and return the node's extent; refuse duplicate keys and tags.

    `extents` has the extent of each visited node, `_UNFINISHED` while it is being visited. An aliased node is visited
    once and counted each time.
    """
    if node is None:
        return _UNFINISHED
    line = node.start_mark.line + 1
    if id(node) in extents:
        if extents[id(node)] is _UNFINISHED:
            raise MarathonError(
                f"{file}:{line}: broken YAML: an alias refers to a value that contains the alias"
            )
        return extents[id(node)]
    extents[id(node)] = _UNFINISHED
    _refuse(node, f"{file}:{line}", trusted)
    parts: list[_Extent] = []
    if isinstance(node, yaml.MappingNode):
        parts = _walk_mapping(node, keys, file, places, extents, trusted)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            places[(*keys, position)] = f"{file}:{item.start_mark.line + 1}"
            parts.append(_walk(item, (*keys, position), file, places, extents, trusted))
    extent = _Extent(
        1 + sum(part.values for part in parts), 1 + max((part.depth for part in parts), default=0)
    )
    if extent.values > _MAX_VALUES:
        raise MarathonError(
            f"{file}:{line}: broken YAML: more than {_MAX_VALUES} values with aliases expanded"
        )
    if extent.depth > _MAX_DEPTH + 1:  # a plain value is a level here
        raise MarathonError(f"{file}:{line}: broken YAML: nested more than {_MAX_DEPTH} levels deep")
    extents[id(node)] = extent
    return extent


def _refuse(node: yaml.Node, where: str, trusted: bool = False) -> None:
    """Raise MarathonError for tags without a JSON equivalent and for very long numbers; keep dates as text."""
    if trusted and node.tag == TAG and isinstance(node, yaml.ScalarNode):
        return
    if not node.tag.startswith(_CORE) or node.tag.startswith(f"{_CORE}python/") or node.tag in _NO_JSON:
        why = (
            " It would run Python code that the YAML names; --trust_task_code runs it, if you trust its author."
            if node.tag.startswith(TAG)
            else ""
        )
        raise MarathonError(f"{where}: the tag '{node.tag}' is not supported here.{why}")
    if node.tag == f"{_CORE}timestamp":
        node.tag = f"{_CORE}str"
    if node.tag == f"{_CORE}int" and len(node.value) > _MAX_DIGITS:
        raise MarathonError(f"{where}: broken YAML: an integer of more than {_MAX_DIGITS} characters")


def _walk_mapping(
    node: yaml.MappingNode,
    keys: KeyPath,
    file: str,
    places: Places,
    extents: dict[int, _Extent],
    trusted: bool,
) -> list[_Extent]:
    first: dict[str, int] = {}
    parts: list[_Extent] = []
    for key, value in node.value:
        line = key.start_mark.line + 1
        if isinstance(key, yaml.ScalarNode):
            if key.value in first and key.value != "<<":
                raise MarathonError(
                    f"{file}:{line}: duplicate key '{key.value}', first given in line {first[key.value]}"
                )
            first[key.value] = line
            places[(*keys, key.value)] = f"{file}:{line}"
            _refuse(key, f"{file}:{line}")
            parts.append(_walk(value, (*keys, key.value), file, places, extents, trusted))
        else:
            raise MarathonError(f"{file}:{line}: a key must be plain text")
    return parts
