"""Tests that a task file made to exhaust the loader is refused: multiplied aliases, deep nesting, endless includes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from helpers.minimal_task import KEYS, load, make_task, write_task
from marathon_eval.api.registry import Registry
from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.evaluator import load_tasks
from marathon_eval.task.yaml.loader import files_of, load_document

ROOT = Path(__file__).resolve().parents[2]
NEEDED = "doc_to_text: q\ndoc_to_target: a\n"


def test_aliases_that_multiply_are_refused(tmp_path: Path) -> None:
    lines = ["metadata:", "  l0: &l0 [x, x]"]
    lines += [f"  l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 9)]
    with pytest.raises(MarathonError, match="values with aliases expanded"):
        make_task(tmp_path, KEYS + "\n".join([*lines, "  version: *l8\n"]))


@pytest.mark.parametrize(
    "value",
    ["[" * 100_000, "[" * 200 + "]" * 200, "{a: " * 100_000, "\n" + "- " * 100_000, "\n" + "? " * 100_000],
    ids=["unclosed lists", "lists", "mappings", "block lists", "block keys"],
)
def test_deep_nesting_is_refused_before_the_c_loader_recurses(tmp_path: Path, value: str) -> None:
    """Composing 100,000 levels overflows the C stack and kills the process, so that it is tried in a child."""
    path = write_task(tmp_path, f"{KEYS}metadata: {value}")
    command = [sys.executable, "-m", "marathon_eval", "validate", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2, done.stderr
    assert re.search(
        r"own\.yaml:[56]: broken YAML: nested more than 100 levels deep", done.stdout + done.stderr
    )


def test_a_chain_of_aliases_is_no_crash(tmp_path: Path) -> None:
    links = "".join(f"  a{n}: &a{n} [*a{n - 1}]\n" for n in range(1, 430))
    path = write_task(tmp_path, f"{KEYS}metadata:\n  a0: &a0 [x]\n{links}")
    with pytest.raises(MarathonError, match="nested more than 100 levels deep"):
        load(path)


def test_a_date_is_the_text_that_is_written(tmp_path: Path) -> None:
    task = make_task(tmp_path, KEYS + "metadata: {version: 2024-01-01, 2024-02-02: x}\n")
    assert task.config.metadata == {"version": "2024-01-01", "2024-02-02": "x"}


def test_files_that_include_each_other_twice_are_read_once(tmp_path: Path) -> None:
    write_task(tmp_path, KEYS, name="fan0")
    for number in range(1, 40):
        (tmp_path / f"fan{number}.yaml").write_text(
            f"include: [fan{number - 1}.yaml, fan{number - 1}.yaml]\n"
        )
    find = Registry().task_path
    assert load_document(tmp_path / "fan39.yaml", find).values["doc_to_text"] == "q"
    assert [file.stem for file in files_of(tmp_path / "fan39.yaml", find)] == [
        f"fan{number}" for number in range(39, -1, -1)
    ]


def test_an_endless_chain_of_includes_is_refused(tmp_path: Path) -> None:
    write_task(tmp_path, KEYS, name="chain0")
    for number in range(1, 1500):
        (tmp_path / f"chain{number}.yaml").write_text(f"include: chain{number - 1}.yaml\n")
    with pytest.raises(MarathonError, match="more than 50 files"):
        load_document(tmp_path / "chain1499.yaml", Registry().task_path)


def test_a_group_that_names_itself_ends(tmp_path: Path) -> None:
    (tmp_path / "tasks").mkdir()
    write_task(tmp_path / "tasks", KEYS)
    (tmp_path / "tasks" / "round.yaml").write_text("group: round\ntask: [own, round, own]\n")
    tasks, _ = load_tasks(Registry([str(tmp_path)]), ["round"])
    assert list(tasks) == ["own"]
