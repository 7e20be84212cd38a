"""What other processes do to a cache while a run uses it: pruning, merging, deleting the folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from helpers.filled_cache import Said, cache, fill, keys
from helpers.minimal_task import KEYS, write_task
from marathon_eval.api.model import CachedResponse, Request
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import faults
from marathon_eval.cli.main import main


def running(
    folder: Path, prompts: Sequence[str] = ("a", "b", "c")
) -> tuple[ResponseCache, Iterator[CachedResponse]]:
    """Begin a run that answers one request per step."""
    store = ResponseCache(folder)
    return store, store.answer(Said.from_args({"says": "live"}), [Request(prompt) for prompt in prompts])


def test_the_fingerprint_comes_with_the_first_answer(tmp_path: Path) -> None:
    with ResponseCache(tmp_path) as store:
        before = []

        def through(model, requests):
            store.commit()
            before.extend(keys(tmp_path / FILE_NAME))
            yield from model.generate(requests)

        list(store.answer(Said.from_args({}), [Request("a")], through=through))
    assert before == []
    assert [key.partition("/")[0] for key in keys(tmp_path / FILE_NAME)] == ["fingerprint", "response"]


@pytest.mark.parametrize("answered", [0, 1, 2])
@pytest.mark.parametrize(
    "selection", [["--model", "nobody"], ["--older_than", "30"], ["--damaged"], ["--older_than", "0"]]
)
def test_a_prune_during_a_run_leaves_every_answer_whole(
    tmp_path: Path, answered: int, selection: list[str]
) -> None:
    path = fill(tmp_path, "other")
    store, answers = running(tmp_path)
    for _ in range(answered):
        next(answers)
    store.commit()
    assert cache("prune", *selection, "--yes", folder=tmp_path) == 0
    left = len(keys(path, "response/"))
    rest = list(answers)
    store.close()
    assert list(faults(path)) == []
    assert len(keys(path, "response/")) == left + len(rest)
    assert cache("verify", folder=tmp_path) == 0


def test_an_answer_without_its_fingerprint_gets_it_back(tmp_path: Path) -> None:
    import sqlite3

    path = fill(tmp_path)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM entries WHERE key LIKE 'fingerprint/%'")
    assert list(faults(path))
    fill(tmp_path)
    assert list(faults(path)) == []


def test_merged_answers_keep_their_fingerprint_whatever_is_pruned(tmp_path: Path) -> None:
    fill(tmp_path / "theirs", prompts=[str(number) for number in range(600)])
    from marathon_eval.cache import exchange

    pruned = []
    put = ResponseCache.put

    def pruning(self, key, value, at_once=False, model=None):
        if key.startswith("response/") and not pruned:
            self.commit()
            pruned.append(cache("prune", "--model", "nobody", "--yes", folder=tmp_path / "ours"))
        put(self, key, value, at_once, model)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ResponseCache, "put", pruning)
        exchange.merge_caches(tmp_path / "theirs", tmp_path / "ours")
    assert pruned == [0]
    assert list(faults(tmp_path / "ours" / FILE_NAME)) == []


@pytest.mark.parametrize("again", [False, True])
def test_a_deleted_folder_is_said_and_later_answers_are_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], again: bool
) -> None:
    folder = tmp_path / "kept"
    store, answers = running(folder)
    next(answers)
    store.commit()
    shutil.rmtree(folder)
    if again:
        folder.mkdir()
    rest = list(answers)
    store.close()
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "was deleted during this run" in said
    assert str(folder / FILE_NAME) in said
    assert len(keys(folder / FILE_NAME, "response/")) == len(rest) == 2
    assert list(faults(folder / FILE_NAME)) == []


def test_a_folder_deleted_after_the_last_answer_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store, answers = running(tmp_path / "kept")
    list(answers)
    store.commit()
    shutil.rmtree(tmp_path / "kept")
    store.close()
    assert "was deleted during this run" in capsys.readouterr().err
    assert not (tmp_path / "kept").exists()


def test_a_read_after_the_folder_was_deleted_finds_nothing_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path / "kept")
    with ResponseCache(tmp_path / "kept") as store:
        shutil.rmtree(tmp_path / "kept")
        answers = list(store.answer(Said.from_args({"says": "yes"}), [Request("a")]))
    assert [answer.cached for answer in answers] == [False]
    assert "was deleted during this run" in capsys.readouterr().err


def test_another_file_of_that_name_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store, answers = running(tmp_path / "kept")
    next(answers)
    store.commit()
    shutil.rmtree(tmp_path / "kept")
    fill(tmp_path / "kept", "other")
    list(answers)
    store.close()
    assert "was replaced by another file during this run" in capsys.readouterr().err
    assert len(keys(tmp_path / "kept" / FILE_NAME, "response/")) == 4


DELETING = """
import os, shutil
from marathon_eval import Model, Response

class Deleting(Model):
    def generate(self, requests):
        for request in requests:
            yield request, Response("A")
            shutil.rmtree(os.environ["DELETED"], ignore_errors=True)
"""


def test_the_command_says_that_its_cache_was_deleted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_task(tmp_path, KEYS, [{"q": "one", "a": "A"}, {"q": "two", "a": "A"}])
    (tmp_path / "deleting.py").write_text(DELETING)
    monkeypatch.setenv("DELETED", str(tmp_path / "kept"))
    command = ["--model", str(tmp_path / "deleting.py"), "--tasks", str(tmp_path / "own.yaml")]
    assert main([*command, "--use_cache", str(tmp_path / "kept")]) == 0
    assert "was deleted during this run" in capsys.readouterr().err
