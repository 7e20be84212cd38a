"""Tests every recipe on a small fake of its source corpus, in the corpus's own layout."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from helpers import make_source_corpora
from helpers.built_recipe import Made, at_test_rate, contents, reader
from marathon_eval.api.registry import Registry
from marathon_eval.corpus.build.builder import build
from marathon_eval.corpus.build.pipeline import Order
from marathon_eval.corpus.build.recipe import shipped_recipes
from marathon_eval.task.task import Task, load_task

NAMES = sorted(make_source_corpora.CORPORA)


@pytest.fixture(scope="module")
def tts(tmp_path_factory: pytest.TempPathFactory) -> str:
    return reader(tmp_path_factory.mktemp("tts"))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, tts: str) -> dict[str, Made]:
    return {name: Made(at_test_rate(name), tmp_path_factory.mktemp(name), tts) for name in NAMES}


def test_a_recipe_for_every_source() -> None:
    assert sorted(path.stem for path in shipped_recipes().glob("*.yaml")) == NAMES


@pytest.mark.parametrize("name", NAMES)
def test_lengths_are_inside_the_bounds(name: str, made: dict[str, Made]) -> None:
    rule = made[name].recipe.concatenate
    for line in made[name].manifest["audio"]:
        info = soundfile.info(str(made[name].root / line["path"]))
        assert (info.frames, info.samplerate, info.channels) == (line["frames"], line["rate"], 1)
        if rule is not None:
            assert rule.min_seconds <= info.frames / info.samplerate <= rule.max_seconds


@pytest.mark.parametrize("name", NAMES)
def test_the_manifest_accounts_for_every_sample(name: str, made: dict[str, Made]) -> None:
    made[name].check_every_sample(sounds_at_once=2 if "needle" in name else 1)


@pytest.mark.parametrize("name", NAMES)
def test_hashes_are_those_of_the_files(name: str, made: dict[str, Made]) -> None:
    manifest = made[name].manifest
    for line in manifest["audio"]:
        assert hashlib.sha256((made[name].root / line["path"]).read_bytes()).hexdigest() == line["sha256"]
        assert set(line["sources"]) == {span["source"] for span in line["spans"]} - {None}
        for source, sha in line["sources"].items():
            assert hashlib.sha256(made[name].source_of(source).read_bytes()).hexdigest() == sha
    for file, sha in manifest["metadata"].items():
        assert hashlib.sha256((made[name].root / file).read_bytes()).hexdigest() == sha
    assert manifest["recipe"]["recipe"] == name
    assert {"numpy", "soundfile", "soxr", "libsndfile", "marathon-eval"} <= manifest["versions"].keys()


@pytest.mark.parametrize("name", NAMES)
def test_same_bytes_elsewhere_and_in_another_directory_order(
    name: str, made: dict[str, Made], tmp_path: Path, tts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_source_corpora.copied(made[name].source, tmp_path / "elsewhere", order=7)
    listing = os.scandir

    class Backwards:
        """What a file system with another order of its own gives."""

        def __init__(self, path: Any) -> None:
            with listing(path) as entries:
                self.entries = sorted(entries, key=lambda entry: entry.name[::-1], reverse=True)

        def __enter__(self) -> Iterator[Any]:
            return iter(self.entries)

        def __exit__(self, *_: object) -> None:
            self.entries = []

        def __iter__(self) -> Iterator[Any]:
            return iter(self.entries)

    monkeypatch.setattr(os, "scandir", Backwards)
    build(made[name].recipe, Order(source, tmp_path / "out", jobs=1, tts=tts))
    monkeypatch.undo()
    assert contents(tmp_path / "out") == contents(made[name].output)


@pytest.mark.parametrize("name", NAMES)
def test_the_tasks_read_what_was_built(name: str, made: dict[str, Made]) -> None:
    """The released layout: the shipped task finds every row, its audio and its target."""
    registry = Registry()
    task = load_task(registry.task_path(name), registry.task_path)
    assert isinstance(task, Task)
    docs = task.docs(
        str(made[name].output), subset="full" if "needle" not in name else None, limit=None, samples=None
    )
    assert docs.n_meta == docs.n_loaded == made[name].built.rows
    assert docs.n_missing == 0
    for doc in docs.docs:
        assert doc.error is None
        assert doc.target
        assert task.requests(doc, None)
