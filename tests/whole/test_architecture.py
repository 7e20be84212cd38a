"""Tests the structure: which package imports which, which imports are late, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from statistics import median
from typing import NamedTuple

import pytest

from helpers.import_graph import LAYERS, RANKS, imported, modules, package_of, upward

ROOT = Path(__file__).resolve().parents[2]
ENGINE = ROOT / "marathon_eval"
FILES = [
    path
    for folder in ("marathon_eval", "models", "presses", "scripts", "tests")
    for path in sorted((ROOT / folder).rglob("*.py"))
    if not (folder == "marathon_eval" and path.relative_to(ENGINE).parts[0] in ("models", "presses", "tasks"))
]
HEAVY = {"torch", "transformers"}
#: imported where used: names, help and validation must answer at once
LAZY = {
    "numpy",
    "rich",
    "jinja2",
    "av",
    "soundfile",
    "soxr",
    "jiwer",
    "whisper_normalizer",
    "evaluate",
    "matplotlib",
    "ray",
    "accelerate",
    "sqlitedict",
}
MAX_FILE, MAX_FUNCTION = 350, 55
#: How docstrings begin that say what something is before they say what it does.
NO_VERBS = frozenset(
    [
        "A",
        "An",
        "The",
        "This",
        "That",
        "Each",
        "Every",
        "All",
        "One",
        "Whether",
        "What",
        "How",
        "Where",
        "When",
        "If",
        "Class",
        "Function",
    ]
)


class Facts(NamedTuple):
    """What the tests ask of a file, so that each file is parsed once."""

    lines: int
    functions: dict[str, int]
    docstring: str | None
    imports: set[str]
    imports_at_top: set[str]
    public_names: set[str]
    #: The first words of public classes' and functions' docstrings; a property may be called a noun.
    first_words: dict[str, str]


@cache
def facts(path: Path) -> Facts:
    source = path.read_text(encoding="utf-8")
    tree = ast.parse(source)
    nodes = list(ast.walk(tree))
    functions = {
        f"{node.name}:{node.lineno}": (node.end_lineno or 0) - node.lineno + 1
        for node in nodes
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    return Facts(
        source.count("\n"),
        functions,
        ast.get_docstring(tree) if source.strip() else "empty",
        imports(nodes),
        imports(tree.body),
        public_names(tree),
        {
            f"{node.name}:{node.lineno}": text.split(None, 1)[0]
            for node in nodes
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
            and not node.name.startswith("_")
            and not any("property" in ast.unparse(one) for one in node.decorator_list)
            and (text := ast.get_docstring(node))
        },
    )


def imports(nodes: Iterable[ast.AST]) -> set[str]:
    """The modules that import statements among the nodes name; at a file's top, below TYPE_CHECKING does not count."""
    found = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
    return found


def name_of(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", FILES, ids=name_of)
def test_files_and_functions_are_short(path: Path) -> None:
    assert facts(path).lines <= MAX_FILE, "two ideas?"
    long = {name: length for name, length in facts(path).functions.items() if length > MAX_FUNCTION}
    assert long == {}


@pytest.mark.parametrize("path", [p for p in FILES if name_of(p).split("/")[0] != "tests"], ids=name_of)
def test_every_file_says_what_it_is(path: Path) -> None:
    assert facts(path).docstring, "no module docstring"


@pytest.mark.parametrize("path", [p for p in FILES if name_of(p).split("/")[0] != "tests"], ids=name_of)
def test_docstrings_begin_with_a_verb(path: Path) -> None:
    assert {name: word for name, word in facts(path).first_words.items() if word in NO_VERBS} == {}


def test_only_the_engine_of_local_models_imports_torch_at_its_top() -> None:
    for path in FILES:
        top = name_of(path).split("/")[0]
        if top in ("tests", "scripts") or "engine" in path.parts:
            continue
        roots = {module.split(".")[0] for module in facts(path).imports_at_top}
        assert not roots & HEAVY, name_of(path)
        # sandbox.py and repeatable.py are nothing but jinja2: template.py imports them where a template is first parsed
        if top == "marathon_eval" and path.name not in ("sandbox.py", "repeatable.py"):
            assert not roots & LAZY, name_of(path)


def test_models_and_presses_do_not_import_each_other() -> None:
    for path in FILES:
        top = name_of(path).split("/")[0]
        if top in ("models", "presses"):
            others = {
                m
                for m in facts(path).imports
                if m.startswith(("marathon_eval.models", "marathon_eval.presses"))
            }
            same_kind = {module for module in others if module.startswith(f"marathon_eval.{top}.")}
            assert others == same_kind, name_of(path)


MODULES = modules(ROOT)


@cache
def imports_of(path: Path) -> list[tuple[int, str]]:
    return list(imported(path.read_text(encoding="utf-8"), MODULES))


def test_no_package_imports_from_one_further_out() -> None:
    broken = {
        module: found for module, path in MODULES.items() if (found := upward(module, imports_of(path)))
    }
    assert broken == {}
    assert {package_of(module) for module in MODULES} - {None} == set(RANKS), "a package without a rank"


@pytest.mark.parametrize(
    "planted",
    [
        "from marathon_eval.evaluator.evaluator import simple_evaluate",
        "import marathon_eval.cache.answers",
        "from marathon_eval.cache import answers",
        "def later():\n    from marathon_eval.task.task import Task",
        "if TYPE_CHECKING:\n    from marathon_eval.results.compare import run_label",
        "def later():\n    return importlib.import_module('marathon_eval.cli.main')",
    ],
)
def test_a_planted_import_breaks_the_layering(planted: str) -> None:
    assert upward("marathon_eval.scoring.stats", imported(planted, MODULES)) != []
    assert upward("marathon_eval.cli.terminal", imported(planted, MODULES)) == []


def test_no_modules_import_each_other_in_a_cycle() -> None:
    from graphlib import TopologicalSorter

    graph = {
        module: {target for _, target in imports_of(path)} - {module} for module, path in MODULES.items()
    }
    list(TopologicalSorter(graph).static_order())


def test_a_planted_cycle_is_found() -> None:
    from graphlib import CycleError, TopologicalSorter

    names = {"marathon_eval.api.audio": None, "marathon_eval.api.sound": None}
    sources = {
        "marathon_eval.api.audio": "if TYPE_CHECKING:\n    from marathon_eval.api import sound",
        "marathon_eval.api.sound": "def later():\n    from marathon_eval.api.audio import Audio",
    }
    graph = {module: {target for _, target in imported(text, names)} for module, text in sources.items()}
    with pytest.raises(CycleError):
        list(TopologicalSorter(graph).static_order())


def test_contributing_prints_the_layering() -> None:
    assert LAYERS in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


#: Public names that several modules define, each with its reason.
SHARED_NAMES = {
    "add_arguments": "each verb of the command line has one, called by cli/main.py",
    "run": "likewise",
    "TYPE_CHECKING": "four files that `--help` reads do not import typing; mypy knows the name",
}


def public_names(tree: ast.Module) -> set[str]:
    """Functions, classes and constants at the top of a file whose name begins with no underscore."""
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {
                part.id for target in targets for part in ast.walk(target) if isinstance(part, ast.Name)
            }
    return {name for name in names if not name.startswith("_")}


def test_a_public_name_is_defined_in_one_module() -> None:
    homes: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        if package_of(module) not in (None, "models", "presses"):
            for name in facts(path).public_names:
                homes.setdefault(name, []).append(module)
    several = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert set(several) == set(SHARED_NAMES), several
    assert len(SHARED_NAMES) <= 10


def test_half_of_the_files_and_functions_are_short() -> None:
    files = [facts(path) for path in MODULES.values() if path.name != "__init__.py"]
    assert median(file.lines for file in files) <= 150
    assert median(length for file in files for length in file.functions.values()) <= 10


def test_the_top_of_the_package_has_at_most_twelve_entries() -> None:
    beside = {"__init__.py", "__main__.py", "py.typed", "data", "models", "presses", "tasks", "__pycache__"}
    assert len({path.name for path in ENGINE.iterdir()} - beside) <= 12


@pytest.mark.parametrize("folder", ["models", "presses"])
def test_adapters_and_presses_know_their_settings_without_torch(folder: str) -> None:
    names = [p.stem for p in sorted((ROOT / folder).glob("*.py")) if p.stem != "__init__"]
    code = "import sys\n" + "".join(f"import marathon_eval.{folder}.{name}\n" for name in names)
    code += "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert out.stdout.strip() == "[]"


def test_no_machine_path_and_no_unfinished_business() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "/wo" + "rk/", "/ro" + "ot/", "pytest.s" + "kip", "x" + "fail")
    for path in FILES:
        text = path.read_text(encoding="utf-8")
        assert not [word for word in words if word in text], name_of(path)
