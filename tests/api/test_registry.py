"""Tests which files names resolve to: shipped files, a user's files, and what is refused."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from marathon_eval.api.model import Model
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError

PRESS = """
from dataclasses import dataclass
from marathon_eval.api.press import PruningPress

@dataclass(frozen=True)
class Mine(PruningPress):
    def select(self, view):
        return view.positions
"""
MODEL = """
from marathon_eval.api.model import Model, Response

class Mine(Model):
    def generate(self, requests):
        for request in requests:
            yield request, Response("mine")
"""


@pytest.fixture
def dropped_in(tmp_path: Path) -> Path:
    for folder, name, text in (
        ("presses", "mine.py", PRESS),
        ("models", "mine.py", MODEL),
        ("tasks", "mine.yaml", ""),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text(text)
    return tmp_path


def test_every_shipped_file_is_a_name_and_loads() -> None:
    registry = Registry()
    assert {"dummy", "qwen_omni", "whisper", "cascade"} <= set(registry.names("model"))
    for name in registry.names("model"):
        assert registry.model_class(name).name() == name
    for name in registry.names("press"):
        assert registry.press_class(name).__module__.endswith(f".{name}")


def test_names_import_nothing_heavy() -> None:
    code = (
        "import sys\nfrom marathon_eval.api.registry import Registry\n"
        "for kind in ('task', 'model', 'press'): Registry().names(kind)\n"
        "print([m for m in ('torch', 'transformers', 'numpy', 'pydantic', 'yaml', 'jinja2') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "[]"


def test_dropped_in_files_come_first(dropped_in: Path) -> None:
    registry = Registry([str(dropped_in)])
    assert registry.task_path("mine") == dropped_in / "tasks" / "mine.yaml"
    assert issubclass(registry.model_class("mine"), Model)
    assert registry.press_class("mine").__name__ == "Mine"
    assert "mine" in registry.names("press")


def test_a_path_and_a_module_name_a_class(dropped_in: Path) -> None:
    assert Registry().model_class(str(dropped_in / "models" / "mine.py")).__name__ == "Mine"
    assert Registry().model_class("marathon_eval.models.dummy:Dummy").name() == "dummy"


@pytest.mark.parametrize(
    ("kind", "name", "message"),
    [
        ("model", "qwen_omi", r"--model: no model 'qwen_omi'. Did you mean qwen_omni\? Known: .*dummy"),
        ("press", "drat", r"press=: no press 'drat'. Did you mean dart\?"),
        ("model", "./nowhere.py", "no such file"),
        ("model", "no.such.module:Class", "No module named"),
        ("model", "marathon_eval.models.dummy:Dumy", "Did you mean Dummy"),
        ("model", "marathon_eval.api.audio:Audio", "is no Model"),
    ],
)
def test_unknown_names_are_refused_with_the_nearest(kind: str, name: str, message: str) -> None:
    registry = Registry()
    with pytest.raises(MarathonError, match=message):
        registry.model_class(name) if kind == "model" else registry.press_class(name)


def test_unknown_task_and_folder() -> None:
    with pytest.raises(MarathonError, match=r"--tasks: no task 'gtzam'. Did you mean gtzan\?"):
        Registry().task_path("gtzam")
    with pytest.raises(MarathonError) as caught:
        Registry().task_path("colour")
    assert re.fullmatch(
        r"--tasks: no task 'colour'\.(?: Nearest: (?:\w+, ){,4}\w+;| None is like it;) marathon-eval ls tasks lists all \d+\. "
        "Tasks in a folder of yours need --include_path FOLDER",
        str(caught.value),
    )
    with pytest.raises(MarathonError, match="--include_path: nowhere: no such folder"):
        Registry(["nowhere"])


def test_a_file_with_no_class_or_broken_python_is_named(tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "none.py").write_text("x = 1")
    (tmp_path / "models" / "broken.py").write_text("def f(:\n")
    registry = Registry([str(tmp_path)])
    with pytest.raises(MarathonError, match="must define one class that extends Model, it defines 0"):
        registry.model_class("none")
    with pytest.raises(MarathonError, match=r"broken.py:1: "):
        registry.model_class("broken")


def test_a_task_may_come_from_an_entry_point(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from importlib.metadata import EntryPoint

    from marathon_eval.api import registry

    (tmp_path / "tasks_of_mine.py").write_text(
        f"HERE = {str(tmp_path / 'mine.yaml')!r}\nGONE = 'none.yaml'\n"
    )
    (tmp_path / "mine.yaml").write_text("include: gtzan.yaml\ntask: mine\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    points = tuple(
        EntryPoint(name, f"tasks_of_mine:{place}", "marathon_eval.tasks")
        for name, place in (("mine", "HERE"), ("lost", "GONE"))
    )
    monkeypatch.setattr(registry, "_entry_points", lambda folder: points if folder == "tasks" else ())
    assert "mine" in Registry().names("task")
    assert Registry().task_path("mine") == tmp_path / "mine.yaml"
    with pytest.raises(MarathonError, match=r"--tasks: lost: the entry point .* must be the path of a YAML"):
        Registry().task_path("lost")
