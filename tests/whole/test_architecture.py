"""The house's walls: who imports whom, what stays light, how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

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


def test_only_hf_and_distributed_import_torch_at_their_top() -> None:
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


def test_nothing_but_commands_imports_the_command_line() -> None:
    for path in FILES:
        # scripts and tests stand outside: they start commands as a user does
        if "cli" in path.parts or path.name == "__main__.py":
            continue
        if path.relative_to(ROOT).parts[0] in ("scripts", "tests"):
            continue
        used = imports(path, top_level_only=False)
        assert not {m for m in used if m.startswith("marathon_eval.cli")}, name_of(path)


def test_the_engine_has_no_import_cycle() -> None:
    from graphlib import TopologicalSorter

    graph: dict[str, set[str]] = {}
    for path in FILES:
        if path.is_relative_to(ENGINE):
            module = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
            graph[module] = {
                m for m in imports(path, top_level_only=True) if m.startswith("marathon_eval")
            } - {module}
    list(TopologicalSorter(graph).static_order())


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
