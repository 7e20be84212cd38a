"""YAML with its line numbers: duplicate keys and tags are errors, includes are merged, every key knows where it stands."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeAlias

import yaml

from marathon_eval.errors import MarathonError
from marathon_eval.files import PACKAGE

KeyPath: TypeAlias = tuple[str | int, ...]
#: A place is `file:line`, ready to be printed.
Places: TypeAlias = dict[KeyPath, str]

_CORE = "tag:yaml.org,2002:"
_NEVER_INHERITED = ("task_list",)
#: What has no form in JSON, in which results keep what a task says.
_NO_JSON = frozenset(_CORE + name for name in ("binary", "omap", "pairs", "set"))
#: So many values a file may hold with its aliases written out, and so many characters a whole number.
_MAX_VALUES, _MAX_DIGITS = 100_000, 200
_MAX_INCLUDES = 50


@dataclass(frozen=True)
class Document:
    """A YAML mapping after its includes, and where each of its keys was written."""

    path: Path
    values: dict[str, Any]
    places: Places = field(repr=False)

    def where(self, *keys: str | int) -> str:
        """`file:line` of a key, or of the nearest key around it."""
        for length in range(len(keys), 0, -1):
            if keys[:length] in self.places:
                return self.places[keys[:length]]
        return f"{shown_file(self.path)}:1"


def load_document(path: Path, find: Callable[[str], Path]) -> Document:
    """Read a task's YAML with its includes; `find` turns a task's name into its file.

    As in lm-eval, includes are merged in order, shallowly, and the file's own keys win.
    Raises MarathonError with file and line.
    """
    return _merged(path, find, (), {})


def files_of(path: Path, find: Callable[[str], Path]) -> list[Path]:
    """A task's YAML and all that it includes, each once. Raises MarathonError."""
    load_document(path, find)  # refuses circles
    found: dict[Path, None] = {}
    waiting = [path]
    while waiting:
        file = waiting.pop()
        if file not in found:
            found[file] = None
            own = _read(file)
            waiting += reversed([_include_path(name, own, find) for name in _included(own)])
    return list(found)


def shown_file(path: Path) -> str:
    """A path as an error prints it: relative where the file is below the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except (ValueError, OSError):
        return str(path)


def _merged(
    path: Path, find: Callable[[str], Path], chain: Sequence[Path], known: dict[Path, Document]
) -> Document:
    """`known` holds what was merged already: files that include each other twice would take for ever."""
    resolved = path.resolve()
    if resolved in chain:
        names = " -> ".join(file.name for file in (*chain, resolved))
        raise MarathonError(f"{shown_file(path)}:1: include goes in a circle: {names}")
    if resolved in known:
        return known[resolved]
    if len(chain) > _MAX_INCLUDES:
        raise MarathonError(f"{shown_file(path)}:1: include goes over more than {_MAX_INCLUDES} files")
    own = _read(path)
    values: dict[str, Any] = {}
    places: Places = {}
    for name in _included(own):
        document = _merged(_include_path(name, own, find), find, (*chain, resolved), known)
        _overlay(values, places, document.values, document.places)
    for key in _NEVER_INHERITED:
        values.pop(key, None)
    _overlay(values, places, own.values, own.places)
    values.pop("include", None)
    known[resolved] = Document(path, values, places)
    return known[resolved]


def _overlay(values: dict[str, Any], places: Places, over: dict[str, Any], over_places: Places) -> None:
    """Shallow: a key that comes again is replaced whole, its lines too."""
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
    """Beside the file, else among the shipped bases (so that a copied task still finds them), else a task's name."""
    shipped = PACKAGE / "tasks"
    folders = (path.parent for path in sorted(shipped.glob(f"*/{Path(name).name}")))
    for folder in (document.path.parent, shipped, *folders):
        # where Path.is_file raises, as for a name that is too long, this says no
        if os.path.isfile(folder / name):
            return folder / name
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        raise MarathonError(
            f"{document.where('include')}: include: no file '{name}' beside it, nor among the shipped tasks"
        )
    return find(name)


def _read(path: Path) -> Document:
    """One file, without its includes."""
    try:
        return _parsed(path, path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MarathonError(f"{shown_file(path)}: cannot read ({error})") from None


@lru_cache(maxsize=64)
def _parsed(path: Path, text: str) -> Document:
    """Kept, since every task of a benchmark includes the same bases; nobody changes what is in it."""
    loader = yaml.CSafeLoader(text)
    try:
        node = loader.get_single_node()
        places: Places = {}
        _walk(node, (), shown_file(path), places, {})
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


def _walk(node: yaml.Node | None, keys: KeyPath, file: str, places: Places, sizes: dict[int, int]) -> int:
    """Note every key's line, and how many values there are; refuse duplicate keys and tags.

    `sizes`: of the nodes that were seen, 0 while one is walked. Aliased nodes are walked once and counted each time.
    """
    if node is None:
        return 0
    line = node.start_mark.line + 1
    if id(node) in sizes:
        if not sizes[id(node)]:
            raise MarathonError(f"{file}:{line}: broken YAML: what stands here holds itself")
        return sizes[id(node)]
    sizes[id(node)] = 0
    _refuse(node, f"{file}:{line}")
    size = 1
    if isinstance(node, yaml.MappingNode):
        size += _walk_mapping(node, keys, file, places, sizes)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            places[(*keys, position)] = f"{file}:{item.start_mark.line + 1}"
            size += _walk(item, (*keys, position), file, places, sizes)
    if size > _MAX_VALUES:
        raise MarathonError(
            f"{file}:{line}: broken YAML: more than {_MAX_VALUES} values, aliases written out"
        )
    sizes[id(node)] = size
    return size


def _refuse(node: yaml.Node, where: str) -> None:
    """Raises MarathonError for tags beyond JSON's and endless numbers; a date is the text that is written."""
    if not node.tag.startswith(_CORE) or node.tag.startswith(f"{_CORE}python/") or node.tag in _NO_JSON:
        why = " It would run Python that a YAML names." if node.tag.startswith("!function") else ""
        raise MarathonError(f"{where}: the tag '{node.tag}' is not supported here.{why}")
    if node.tag == f"{_CORE}timestamp":
        node.tag = f"{_CORE}str"
    if node.tag == f"{_CORE}int" and len(node.value) > _MAX_DIGITS:
        raise MarathonError(f"{where}: broken YAML: a number of more than {_MAX_DIGITS} characters")


def _walk_mapping(
    node: yaml.MappingNode, keys: KeyPath, file: str, places: Places, sizes: dict[int, int]
) -> int:
    first: dict[str, int] = {}
    size = 0
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
            size += _walk(value, (*keys, key.value), file, places, sizes)
        else:
            raise MarathonError(f"{file}:{line}: a key must be plain text")
    return size
