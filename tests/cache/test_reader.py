"""Tests `cached_answers`, the dict that programs of the user read a cache by."""

from __future__ import annotations

from pathlib import Path

import pytest

import marathon_eval
from helpers.filled_cache import Said, fill
from marathon_eval.api.model import Request
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.errors import MarathonError


def test_the_dict_has_every_entry_decoded_and_cannot_be_written(tmp_path: Path) -> None:
    path = fill(tmp_path, prompts=["a", "ü"])
    before = path.read_bytes()
    with marathon_eval.cached_answers(tmp_path) as answers:
        texts = [value["response"]["text"] for key, value in answers.items() if key.startswith("response/")]
        assert sorted(texts) == ["yes a", "yes ü"]
        key = next(key for key in answers if key.startswith("fingerprint/"))
        assert answers[key]["says"] == "yes"
        with pytest.raises(RuntimeError, match="read-only"):
            answers["response/x"] = {}
    assert path.read_bytes() == before


def test_a_run_writes_while_the_dict_is_open(tmp_path: Path) -> None:
    fill(tmp_path, prompts=["a"])
    with marathon_eval.cached_answers(tmp_path) as answers:
        count = len(answers)
        with ResponseCache(tmp_path) as cache:
            list(cache.answer(Said.from_args({"says": "yes"}), [Request("b")]))
        assert len(answers) == count + 1


@pytest.mark.parametrize("content", [None, b"no database" * 100])
def test_what_is_no_cache_is_refused_and_not_made(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / FILE_NAME
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(MarathonError, match=r"answers\.sqlite"):
        marathon_eval.cached_answers(tmp_path)
    assert (path.read_bytes() if path.exists() else None) == content


def test_the_users_cache_is_the_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path))
    fill(tmp_path, prompts=["a"])
    with marathon_eval.cached_answers() as answers:
        assert len(answers) == 2
