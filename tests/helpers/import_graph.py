"""Reads which module of the package imports which: at the top of a file, inside functions and below TYPE_CHECKING."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

#: Packages from the innermost to the outermost. A package imports only from packages above its own line in this table;
#: packages in one line do not import each other. The top package's own __init__.py and __main__.py stand outside.
LAYERS = """\
errors
files
api
cache | scoring | backends
models | presses | task
results
evaluator
report | corpus
cli
"""
RANKS = {package: rank for rank, line in enumerate(LAYERS.splitlines()) for package in line.split(" | ")}


def modules(root: Path) -> dict[str, Path]:
    """Return every module of a checkout by its dotted name; models and presses by their installed name."""
    places = {"marathon_eval": root / "marathon_eval"}
    places |= {f"marathon_eval.{name}": root / name for name in ("models", "presses")}
    linked = {root / "marathon_eval" / name for name in ("models", "presses", "tasks")}
    return {
        ".".join([package, *path.relative_to(folder).with_suffix("").parts]).removesuffix(".__init__"): path
        for package, folder in places.items()
        for path in sorted(folder.rglob("*.py"))
        if linked.isdisjoint(path.parents)
    }


def imported(source: str, names: Mapping[str, object]) -> Iterator[tuple[int, str]]:
    """Yield line and module of every import of one of `names`; `import_module("name")` counts too."""
    for node in ast.walk(ast.parse(source)):
        targets: list[str] = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            members = [f"{node.module}.{alias.name}" for alias in node.names]
            targets = [member if member in names else node.module for member in members]
        elif isinstance(node, ast.Call) and _called(node.func) == "import_module":
            targets = [str(arg.value) for arg in node.args[:1] if isinstance(arg, ast.Constant)]
        yield from ((node.lineno, target) for target in dict.fromkeys(targets) if target in names)


def _called(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def package_of(module: str) -> str | None:
    """Return `cache` for `marathon_eval.cache.answers`; None for the top package itself and for `__main__`."""
    part = module.split(".")[1] if "." in module else ""
    return part if part in RANKS else None


def upward(module: str, imports: Iterable[tuple[int, str]]) -> list[str]:
    """Return those imports of a module that break the layering, as `line: what it imports`."""
    own = package_of(module)
    if own is None:
        return []
    return [
        f"{line}: {target}"
        for line, target in imports
        if (other := package_of(target)) is not None and other != own and RANKS[other] >= RANKS[own]
    ]
