"""Executes the notebook in docs/, cell by cell, as a reader does who runs it from the top."""

from __future__ import annotations

import ast
import json
from pathlib import Path
from typing import Any

import pytest

from helpers import make_audiomarathon_data

NOTEBOOK = Path(__file__).parents[2] / "docs" / "python.ipynb"


def shown_by(source: str, names: dict[str, Any]) -> Any:
    """Execute a cell and return the value of its last line if that is an expression, as a notebook shows it."""
    tree = ast.parse(source)
    last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
    exec(compile(tree, "cell", "exec"), names)  # noqa: S102  # the cells are those of our own notebook
    return (
        eval(compile(ast.Expression(last.value), "cell", "eval"), names)
        if isinstance(last, ast.Expr)
        else None
    )


def test_the_notebook_runs_from_the_top(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_audiomarathon_data.build(tmp_path / "demo" / "data", 4)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    names: dict[str, Any] = {}
    shown = [
        shown_by("".join(cell["source"]), names) for cell in notebook["cells"] if cell["cell_type"] == "code"
    ]
    assert shown[1]._repr_html_().startswith("<table>")
    accuracy, headline = shown[2]
    assert 0 <= accuracy <= 1
    assert headline.value is not None
    assert set(shown[3].columns) == {"task", "doc_id", "target", "strict"}
    assert len(shown[4]) > 4
    assert "no setting 'limt'. Did you mean limit?" in capsys.readouterr().out
    assert (tmp_path / "report.html").is_file()


def test_the_notebook_has_no_output_and_no_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    notebook = json.loads(text)
    assert all(not cell["outputs"] for cell in notebook["cells"] if cell["cell_type"] == "code")
    assert len({cell["id"] for cell in notebook["cells"]}) == len(notebook["cells"])
