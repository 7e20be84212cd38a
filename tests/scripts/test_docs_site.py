"""Tests the documentation site: its reference pages name everything, and it builds without a dead link."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from marathon_eval.api.registry import Registry
from marathon_eval.cli.main import verbs
from marathon_eval.scoring.filters.build import filter_names
from marathon_eval.scoring.metrics.build import metric_names
from marathon_eval.task.yaml.config import GroupConfig, TaskConfig

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "scripts" / "dev" / "site"
KINDS = ("command_line", "task_keys", "registered", "run_files", "python_api")


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    sys.path.insert(0, str(SITE))
    try:
        made = [import_module(f"reference.{kind}").pages() for kind in KINDS]
    finally:
        sys.path.remove(str(SITE))
    return {page: text for some in made for page, text in some.items()}


def missing(names: list[str], text: str, form: str) -> list[str]:
    return [name for name in names if form.format(name) not in text]


def test_every_verb_task_key_model_press_and_scorer_has_its_entry(pages: dict[str, str]) -> None:
    registry = Registry()
    assert missing(verbs(), pages["reference/cli.md"], "\n## {}\n") == []
    keys = [*TaskConfig.model_fields, *GroupConfig.model_fields]
    assert missing(keys, pages["reference/task_keys.md"], "\n| `{}` | ") == []
    assert missing(registry.names("model"), pages["reference/models.md"], "\n## {}\n") == []
    assert missing(registry.names("press"), pages["reference/presses.md"], "\n| `{}` | ") == []
    scorers = [*metric_names(), *filter_names()]
    assert missing(scorers, pages["reference/scorers.md"], "\n| `{}` | ") == []
    assert missing(["n_errors", "doc_id", "ci95"], pages["reference/results.md"], "\n| `{}` | ") == []


def test_every_entry_says_something(pages: dict[str, str]) -> None:
    empty = {
        page: found
        for page, text in pages.items()
        if (found := re.findall(r"(?m)^\| (`[^`]+`) \|  \|", text)) and page != "reference/models.md"
    }
    assert empty == {}


def test_every_page_is_in_the_navigation() -> None:
    text = (ROOT / "properdocs.yml").read_text(encoding="utf-8")
    pages = {path.name for path in (ROOT / "docs").glob("*.md")}
    named = set(re.findall(r"(?<![\w/])(\w+\.md)$", text, flags=re.MULTILINE))
    assert named - {"index.md"} == pages


def site(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build the site of the checkout in `folder`, as scripts/docs does after installing."""
    return subprocess.run(
        [sys.executable, "-m", "properdocs", "build", "--strict"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    for name in ("docs", "scripts", "marathon_eval", "models", "presses"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "nano"))
    for path in (*ROOT.glob("*.md"), ROOT / "properdocs.yml"):
        shutil.copy(path, tmp_path)
    return tmp_path


@pytest.mark.slow
def test_it_builds_and_asks_nothing_of_the_network(checkout: Path) -> None:
    done = site(checkout)
    assert done.returncode == 0, done.stderr
    built = checkout / "build" / "site"
    assert (built / "reference" / "task_keys.html").is_file()
    loaded = re.compile(r"<(?:script|link|img)[^>]*(?:src|href)=\"(https?:[^\"]*)\"")
    assert {url for path in built.rglob("*.html") for url in loaded.findall(path.read_text())} == set()


@pytest.mark.slow
def test_a_dead_link_fails_the_build(checkout: Path) -> None:
    page = checkout / "docs" / "start.md"
    page.write_text(page.read_text() + "\n[gone](nowhere.md) and [here](concepts.md#no-such-place)\n")
    done = site(checkout)
    assert done.returncode != 0
    assert "nowhere.md" in done.stderr
    assert "no-such-place" in done.stderr
