"""A model that was typed in a notebook is known by its cells and what they refer to, one without text by its process."""

from __future__ import annotations

import itertools
import linecache
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from marathon_eval.api.source import source_hashes

CLASS = """
class Mine(Model):
    def generate(self, requests):
        yield from ((request, Response(word())) for request in requests)
"""
WORD = "def word():\n    return PREFIX + 'A'\n"


#: Numbers all cells, as IPython does; their names are not part of a hash.
NUMBERS = itertools.count()


class Notebook:
    """Runs cells in one namespace and keeps their text as IPython does."""

    def __init__(self) -> None:
        self.names: dict[str, Any] = {"__name__": "typed_notebook"}
        self.run("from marathon_eval import Model, Response")

    def run(self, cell: str, keep: bool = True) -> None:
        file = f"<cell-{next(NUMBERS)}>"
        if keep:
            linecache.cache[file] = (len(cell), None, cell.splitlines(keepends=True), file)
        exec(compile(cell, file, "exec"), self.names)  # noqa: S102  as a notebook does

    def mine(self) -> dict[str, str]:
        return dict(source_hashes(self.names["Mine"]))


def typed(*cells: str, keep: bool = True) -> dict[str, str]:
    notebook = Notebook()
    for cell in cells:
        notebook.run(cell, keep)
    return notebook.mine()


def test_equal_cells_are_the_same_model_in_every_notebook() -> None:
    cells = ("PREFIX = ''", WORD, CLASS)
    first = typed(*cells)
    assert set(first) == {"typed_notebook:Mine"}
    assert typed(*cells) == first


@pytest.mark.parametrize(
    "cells",
    [
        ("PREFIX = ''", WORD, CLASS.replace("word()", "word() + 'B'")),
        ("PREFIX = ''", WORD.replace("'A'", "'B'"), CLASS),
        ("PREFIX = 'B'", WORD, CLASS),
        ("PREFIX = ''", WORD, CLASS.replace("(Model)", "(Model, Other)")),
    ],
    ids=["class", "function", "value", "base"],
)
def test_every_cell_that_a_class_refers_to_is_in_its_hash(cells: tuple[str, ...]) -> None:
    base = "class Other:\n    word = 'x'\n"
    assert typed(base, *cells) != typed(base, "PREFIX = ''", WORD, CLASS)


def test_a_value_that_changes_later_changes_the_hash() -> None:
    notebook = Notebook()
    for cell in ("PREFIX = ''", WORD, CLASS):
        notebook.run(cell)
    before = notebook.mine()
    notebook.run("PREFIX = 'B'")
    assert notebook.mine() != before


def test_an_imported_file_of_the_users_is_in_the_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(word: str) -> dict[str, str]:
        (tmp_path / "cell_words.py").write_text(f"WORD = {word!r}\n")
        monkeypatch.delitem(sys.modules, "cell_words", raising=False)
        return typed("import cell_words\ndef word():\n    return cell_words.WORD\n", CLASS)

    monkeypatch.syspath_prepend(str(tmp_path))
    assert read("A") == read("A")
    assert read("A") != read("B")


@pytest.mark.parametrize("value", ["open('/dev/null')", "object()"])
def test_what_cannot_be_read_is_of_one_process(value: str, capsys: pytest.CaptureFixture[str]) -> None:
    cells = (f"PREFIX = {value}", WORD, CLASS)
    notebook = Notebook()
    for cell in cells:
        notebook.run(cell)
    assert notebook.mine() == notebook.mine()
    said = capsys.readouterr().err
    assert said.count("its cached responses serve this process alone") == 1
    assert "typed_notebook:Mine: what it is made of cannot be read (PREFIX is a" in said
    assert typed(*cells) != notebook.mine()


def test_a_class_without_text_is_another_one_each_time(capsys: pytest.CaptureFixture[str]) -> None:
    cells = ("PREFIX = ''", WORD, CLASS)
    assert typed(*cells, keep=False) != typed(*cells, keep=False)
    assert "its source was typed and cannot be read" in capsys.readouterr().err


def test_standard_input_answers_with_its_own_code(tmp_path: Path) -> None:
    task = (
        "task: mine\ndataset_path: json\ndataset_kwargs: {data_files: r.jsonl}\ntest_split: train\n"
        "output_type: generate_until\ndoc_to_text: '{{q}}'\ndoc_to_target: '{{a}}'\n"
        "metric_list: [{metric: exact_match}]\n"
    )
    (tmp_path / "r.jsonl").write_text('{"q": "one", "a": "A"}\n')
    (tmp_path / "mine.yaml").write_text(task)

    def said(letter: str) -> str:
        code = (
            "from marathon_eval import Model, Response, simple_evaluate\n"
            "class Mine(Model):\n"
            "    def generate(self, requests):\n"
            f"        for request in requests: yield request, Response('{letter}')\n\n"
            "run = simple_evaluate(Mine.from_args({}), ['mine'], include_path=['.'], use_cache='cache')\n"
            "print(run.samples['mine'][0].response)\n"
        )
        command = [sys.executable, "-"]
        return subprocess.run(
            command, input=code, cwd=tmp_path, text=True, check=True, capture_output=True
        ).stdout.split()[-1]

    assert [said("A"), said("B")] == ["A", "B"]
