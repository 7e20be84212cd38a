"""What an own model or press is known by: its class among several, and files that lie outside of its folder."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from helpers.own_answers import answers
from marathon_eval.api.registry import Registry
from marathon_eval.api.source import source_hashes

TWO = """
from dataclasses import dataclass
from marathon_eval import Model, Response
from marathon_eval.api.press import PruningPress

class SaysA(Model):
    def generate(self, requests):
        yield from ((request, Response("A")) for request in requests)

class SaysB(SaysA):
    def generate(self, requests):
        yield from ((request, Response("B")) for request in requests)

@dataclass(frozen=True)
class Head(PruningPress):
    def select(self, view):
        return view.audio[: view.keep]

@dataclass(frozen=True)
class Tail(PruningPress):
    def select(self, view):
        return view.audio[-view.keep :]
"""


def test_two_classes_of_one_module_are_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from marathon_eval.evaluator.evaluator import build_model

    (tmp_path / "two_in_one.py").write_text(TWO)
    monkeypatch.syspath_prepend(str(tmp_path))
    models = [build_model(Registry(), f"two_in_one:{name}", {}).fingerprint for name in ("SaysA", "SaysB")]
    assert [list(one["source"])[:1] for one in models] == [["two_in_one.py:SaysA"], ["two_in_one.py"]]
    assert models[0] != models[1]
    args = {"pretrained": "nano", "ratio": 0.5}
    presses = [
        build_model(Registry(), "qwen_omni", {**args, "press": f"two_in_one:{name}"}).fingerprint
        for name in ("Head", "Tail")
    ]
    assert [list(one["press_source"]) for one in presses] == [["two_in_one.py:Head"], ["two_in_one.py:Tail"]]


def test_the_one_class_of_a_file_needs_no_name(tmp_path: Path) -> None:
    """What is not another model, or can't be run, leaves the stored answers of earlier versions valid."""
    text = (
        "from marathon_eval.api.press import Press\n"
        + TWO.partition("class SaysB")[0]
        + TWO[TWO.index("@dataclass") :]
    )
    text = text.replace("class Tail", "class _Tail").replace(
        "class SaysA", "class _Base(Model): ...\n\nclass SaysA"
    )
    (tmp_path / "one_of_each.py").write_text(text)
    file = str(tmp_path / "one_of_each.py")
    assert list(source_hashes(Registry().model_class(file))) == ["one_of_each.py"]
    assert list(source_hashes(Registry().press_class(file))) == ["one_of_each.py"]


def fingerprint(folder: Path) -> dict:
    return Registry([str(folder)]).model_class("mine").from_args({}).fingerprint


def shared_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model in `own/`, and a module that it imports from the sibling folder `shared/` by a `sys.path` of its own."""
    text = (
        "import pathlib, sys\n"
        "sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / 'shared'))\n"
        "from shared_words import WORD\n"
        "from marathon_eval import Model, Response\n\n"
        "class Mine(Model):\n"
        "    def generate(self, requests):\n"
        "        yield from ((request, Response(WORD)) for request in requests)\n"
    )
    for name, content in {
        "own/models/mine.py": text,
        "shared/shared_words.py": "from shared_package.inner import WORD\n",
        "shared/shared_package/__init__.py": "",
        "shared/shared_package/inner.py": "WORD = 'A'\n",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path / "own"


def test_a_file_beside_the_folder_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = shared_folder(tmp_path, monkeypatch)
    before = fingerprint(own)["source"]
    files = {"models/mine.py", "shared_words.py", "shared_package/__init__.py", "shared_package/inner.py"}
    assert set(before) == files
    assert Registry([str(own)]).model_class("mine") is Registry([str(own)]).model_class("mine")
    (tmp_path / "shared/shared_package/inner.py").write_text("WORD = 'B'\n")
    after = fingerprint(own)["source"]
    assert {name for name in files if before[name] != after[name]} == {"shared_package/inner.py"}


def test_a_file_beside_the_folder_runs_as_it_is_now(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At equal size and time: the module is known only once the model was imported."""
    own = shared_folder(tmp_path, monkeypatch)
    assert answers(own, "mine", "--include_path", str(own)) == "A"
    inner = tmp_path / "shared/shared_package/inner.py"
    before = inner.stat()
    inner.write_text("WORD = 'B'\n")
    os.utime(inner, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert answers(own, "mine", "--include_path", str(own)) == "B"


def test_links_are_followed_to_their_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A linked model's helper lies beside the link, and another helper is a link itself."""
    text = (
        "import os, sys\n"
        "sys.path.insert(0, os.path.dirname(__file__))\n"
        "from link_helper import WORD\n"
        "from marathon_eval import Model\n\n"
        "class Mine(Model):\n"
        "    def generate(self, requests):\n"
        "        from linked_helper import WORD\n"
    )
    dev, models = tmp_path / "dev", tmp_path / "own" / "models"
    dev.mkdir()
    models.mkdir(parents=True)
    (dev / "mine.py").write_text(text)
    (dev / "elsewhere.py").write_text("WORD = 'A'\n")
    (models / "mine.py").symlink_to(dev / "mine.py")
    (models / "link_helper.py").write_text("WORD = 'A'\n")
    (models / "linked_helper.py").symlink_to(dev / "elsewhere.py")
    monkeypatch.setattr(sys, "path", list(sys.path))
    before = fingerprint(tmp_path / "own")["source"]
    (models / "link_helper.py").write_text("WORD = 'B'\n")
    between = fingerprint(tmp_path / "own")["source"]
    (dev / "elsewhere.py").write_text("WORD = 'B'\n")
    assert before != between
    assert fingerprint(tmp_path / "own")["source"] != between


def test_what_is_installed_is_not_hashed(tmp_path: Path) -> None:
    (tmp_path / "light.py").write_text(
        "import json, numpy, pydantic, yaml\nimport marathon_eval.files\nfrom marathon_eval import Model\n\n"
        "class Light(Model):\n    def generate(self, requests): ...\n"
    )
    assert list(source_hashes(Registry().model_class(str(tmp_path / "light.py")))) == ["light.py"]


def test_a_relative_import_is_not_a_loaded_module_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "relative_package"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "words.py").write_text("WORD = 'A'\n")
    (package / "mod.py").write_text(
        "from .words import WORD\nfrom marathon_eval import Model\n\n"
        "class Mine(Model):\n    def generate(self, requests): ...\n"
    )
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "words.py").write_text("WORD = 'unrelated'\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.syspath_prepend(str(tmp_path / "other"))
    importlib.import_module("words")
    try:
        found = source_hashes(Registry().model_class("relative_package.mod:Mine"))
    finally:
        del sys.modules["words"]
    assert list(found) == ["__init__.py", "mod.py", "words.py"]
