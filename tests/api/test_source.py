"""The code of an own model or press is part of its fingerprint, the code of what it imports from its folder too."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.own_answers import answers
from marathon_eval.api.model import Model
from marathon_eval.api.registry import Registry
from marathon_eval.api.source import drop_stale_bytecode, own_module, source_hashes
from marathon_eval.cli.main import main
from marathon_eval.errors import MarathonError

MODEL = """
import os, sys
sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
from marathon_eval import Model, Response
from lib.words import WORD

class Mine(Model):
    def generate(self, requests):
        from lib import late
        for request in requests:
            yield request, Response("{letter}" + WORD + late.WORD)
"""
PRESS = """
from dataclasses import dataclass
from marathon_eval.api.press import PruningPress

@dataclass(frozen=True)
class Mine(PruningPress):
    def select(self, view):
        return view.positions[:{count}]
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An --include_path folder with a model, what it imports, a press, and files that nothing imports."""
    own = tmp_path / "own"
    for name, text in {
        "models/mine.py": MODEL.replace("{letter}", "A"),
        "models/unrelated.py": MODEL.replace("{letter}", "Z"),
        "presses/mine.py": PRESS.replace("{count}", "1"),
        "lib/__init__.py": "",
        "lib/words.py": "from .deep import WORD",
        "lib/deep.py": "WORD = 'b'",
        "lib/late.py": "WORD = 'c'",
        "lib/unused.py": "WORD = 'd'",
    }.items():
        (own / name).parent.mkdir(parents=True, exist_ok=True)
        (own / name).write_text(text)
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in [name for name in sys.modules if name.partition(".")[0] in ("lib", "marathon_eval_user")]:
        monkeypatch.delitem(sys.modules, name)
    return own


EDITS = {
    "models/mine.py": ('Response("A"', 'Response("X"'),
    "lib/deep.py": ("'b'", "'X'"),
    "lib/late.py": ("'c'", "'X'"),
    "lib/__init__.py": ("", "EXTRA = 1"),
    "lib/words.py": ("WORD", "WORD as WORD"),
}


def edit(path: Path, keep_times: bool = True) -> None:
    old, new = EDITS[f"{path.parent.name}/{path.name}"]
    before = path.stat()
    path.write_text(path.read_text().replace(old, new, 1) if old else new)
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def fingerprint(folder: Path) -> dict:
    return Registry([str(folder)]).model_class("mine").from_args({}).fingerprint


@pytest.mark.parametrize("file", EDITS)
def test_each_file_that_is_imported_is_in_the_fingerprint(folder: Path, file: str) -> None:
    before = fingerprint(folder)
    assert set(before["source"]) == set(EDITS)
    edit(folder / file)
    after = fingerprint(folder)
    changed = {name for name in before["source"] if before["source"][name] != after["source"].get(name)}
    assert changed == {file}


@pytest.mark.parametrize("file", ["models/unrelated.py", "lib/unused.py", "presses/mine.py"])
def test_what_is_not_imported_is_not(folder: Path, file: str) -> None:
    before = fingerprint(folder)
    (folder / file).write_text((folder / file).read_text() + "\n")
    assert fingerprint(folder) == before


def test_a_moved_folder_keeps_its_answers(folder: Path) -> None:
    before = fingerprint(folder)
    moved = folder.rename(folder.with_name("moved"))
    sys.path[:] = [entry for entry in sys.path if entry != str(folder)]
    for name in [name for name in sys.modules if name.partition(".")[0] == "lib"]:
        del sys.modules[name]
    assert fingerprint(moved) == before


@pytest.mark.parametrize(
    ("file", "said"), [("models/mine.py", "Xbc"), ("lib/deep.py", "AXc"), ("lib/late.py", "AbX")]
)
def test_the_new_code_answers_in_the_next_process(folder: Path, file: str, said: str) -> None:
    """At equal size and time, too: Python's compiled files do not notice that."""
    flags = ("--include_path", str(folder))
    assert answers(folder, "mine", *flags) == "Abc"
    edit(folder / file)
    assert answers(folder, "mine", *flags) == said


@pytest.mark.parametrize("way", ["file", "module"])
def test_other_ways_to_name_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    package = tmp_path / f"ownpkg_{way}"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mod.py").write_text(MODEL.replace("{letter}", "A").replace("lib", f"ownpkg_{way}.lib"))
    (package / "lib").mkdir()
    (package / "lib" / "words.py").write_text("WORD = 'b'")
    (package / "lib" / "late.py").write_text("WORD = 'c'")
    monkeypatch.syspath_prepend(str(tmp_path))
    name = str(package / "mod.py") if way == "file" else f"ownpkg_{way}.mod:Mine"
    read: Callable[[], dict] = lambda: Registry().model_class(name).from_args({}).fingerprint["source"]
    before = read()
    assert {"mod.py", "lib/words.py", "lib/late.py"} <= set(before)
    for file in ("mod.py", "lib/words.py", "lib/late.py"):
        (package / file).write_text((package / file).read_text() + "\n")
        after = read()
        assert {one for one in before if before[one] != after[one]} == {file}
        before = after


def test_a_press_of_ones_own_is_in_the_fingerprint(folder: Path) -> None:
    from marathon_eval.evaluator.evaluator import build_model

    def read() -> dict:
        args = {"pretrained": "nano", "press": "mine", "ratio": 0.5}
        return build_model(Registry([str(folder)]), "qwen_omni", args).fingerprint

    before = read()
    assert set(before["press_source"]) == {"presses/mine.py"}
    (folder / "presses" / "mine.py").write_text(PRESS.replace("{count}", "2"))
    after = read()
    assert before["press_source"] != after["press_source"]
    assert {**before, "press_source": 0} == {**after, "press_source": 0}


def test_a_model_that_states_its_own_fingerprint_has_its_source_in_it(tmp_path: Path) -> None:
    alone = MODEL.replace("from lib.words import WORD", "WORD = ''").replace(
        "from lib import late", "late = None"
    )
    text = alone.replace(
        "    def generate",
        "    @property\n    def fingerprint(self):\n        return {'model': 'mine', 'api_key': 'secret-123'}\n\n    def generate",
    )
    (tmp_path / "stating.py").write_text(text)
    made = Registry().model_class(str(tmp_path / "stating.py")).from_args({}).fingerprint
    assert set(made["source"]) == {"stating.py"}
    assert "secret-123" not in str(made)


def test_a_model_made_in_python_is_known_by_its_file() -> None:
    class Here(Model):
        def generate(self, requests):
            yield from ()

    name = "test_a_model_made_in_python_is_known_by_its_file.<locals>.Here"
    assert f"test_source.py:{name}" in source_hashes(Here)


def test_cache_why_names_the_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ("--include_path", str(folder))
    answers(folder, "mine", *flags)
    edit(folder / "lib" / "deep.py")
    task = str(folder.parent / "task" / "own.yaml")
    assert main(["cache", "why", "--model", "mine", "--tasks", task, *flags]) == 0
    assert "source file lib/deep.py was edited" in capsys.readouterr().out


def test_modules_of_python_itself_have_no_own_files() -> None:
    import json.decoder
    import os

    assert own_module("os", os.__file__) is None
    assert own_module("json.decoder", json.decoder.__file__) is None


def test_compiled_code_that_is_stale_goes_or_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tmp_path / "mine.py"
    source.write_text("A = 1\n")
    drop_stale_bytecode([source])  # there is none
    compiled = Path(importlib.util.cache_from_source(str(source)))
    of_another_python = compiled.with_name("mine.cpython-39.pyc")
    of_another_file = compiled.with_name("mine_too.cpython-39.pyc")
    compiled.parent.mkdir(parents=True, exist_ok=True)
    for file in (compiled, of_another_python, of_another_file):
        file.write_bytes(b"newer")
    drop_stale_bytecode([source])
    assert compiled.is_file()
    source.write_text("A = 2\n")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError(13, "denied")))
        with pytest.raises(
            MarathonError, match=r"mine\..*: cannot be deleted \(denied\), and Python may run it"
        ):
            drop_stale_bytecode([source])
    drop_stale_bytecode([source])
    assert not compiled.exists()
    assert not of_another_python.exists()
    assert of_another_file.is_file()
