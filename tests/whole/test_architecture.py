"""Tests the structure: which room imports which, which imports are late, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from statistics import median

import pytest

from helpers.import_graph import LAYERS, RANKS, imported, modules, room, upward

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
}
MAX_FILE, MAX_FUNCTION = 350, 55


def imports(path: Path, top_level_only: bool) -> set[str]:
    """The modules that a file imports; below TYPE_CHECKING does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    nodes = tree.body if top_level_only else list(ast.walk(tree))
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
    text = path.read_text(encoding="utf-8")
    assert text.count("\n") <= MAX_FILE, "two ideas?"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= MAX_FUNCTION, f"{node.name} has {length} lines"


@pytest.mark.parametrize("path", [p for p in FILES if name_of(p).split("/")[0] != "tests"], ids=name_of)
def test_every_file_says_what_it_is(path: Path) -> None:
    if path.read_text(encoding="utf-8").strip():
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), "no module docstring"


def test_only_the_engine_of_local_models_and_the_leader_import_torch_at_their_top() -> None:
    for path in FILES:
        top = name_of(path).split("/")[0]
        if top in ("tests", "scripts") or "engine" in path.parts or path.name == "leader.py":
            continue
        roots = {module.split(".")[0] for module in imports(path, top_level_only=True)}
        assert not roots & HEAVY, name_of(path)
        # sandbox.py is nothing but jinja2, and template.py imports it where a template is first parsed
        if top == "marathon_eval" and path.name != "sandbox.py":
            assert not roots & LAZY, name_of(path)


def test_models_and_presses_do_not_import_each_other() -> None:
    for path in FILES:
        top = name_of(path).split("/")[0]
        if top in ("models", "presses"):
            others = {
                m
                for m in imports(path, top_level_only=False)
                if m.startswith(("marathon_eval.models", "marathon_eval.presses"))
            }
            same_kind = {module for module in others if module.startswith(f"marathon_eval.{top}.")}
            assert others == same_kind, name_of(path)


MODULES = modules(ROOT)


def test_no_room_imports_from_a_room_further_out() -> None:
    broken = {
        module: found
        for module, path in MODULES.items()
        if (found := upward(module, path.read_text(encoding="utf-8"), MODULES))
    }
    assert broken == {}
    assert {room(module) for module in MODULES} - {None} == set(RANKS), "a room without a rank"


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
    assert upward("marathon_eval.scoring.stats", planted, MODULES) != []
    assert upward("marathon_eval.cli.terminal", planted, MODULES) == []


def test_no_module_imports_itself_in_a_circle() -> None:
    from graphlib import TopologicalSorter

    graph = {
        module: {target for _, target in imported(path.read_text(encoding="utf-8"), MODULES)} - {module}
        for module, path in MODULES.items()
    }
    list(TopologicalSorter(graph).static_order())


def test_a_planted_circle_is_found() -> None:
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
}


def public_names(path: Path) -> set[str]:
    """Functions, classes and constants at the top of a file whose name begins with no underscore."""
    names: set[str] = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
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
        if room(module) not in (None, "models", "presses"):
            for name in public_names(path):
                homes.setdefault(name, []).append(module)
    several = {name: modules for name, modules in homes.items() if len(modules) > 1}
    assert set(several) == set(SHARED_NAMES), several
    assert len(SHARED_NAMES) <= 10


def test_half_of_the_files_and_functions_are_short() -> None:
    texts = [path.read_text(encoding="utf-8") for path in MODULES.values() if path.name != "__init__.py"]
    lengths = [
        (node.end_lineno or 0) - node.lineno + 1
        for text in texts
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert median(text.count("\n") for text in texts) <= 150
    assert median(lengths) <= 10


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
