"""Tests `cache show|verify|prune` on caches filled by a real model."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from conftest import MakeWav
from helpers.filled_cache import Said, cache, change, fill, keys, says_of
from marathon_eval.api.model import Request
from marathon_eval.cache import entries
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.database import TABLE
from marathon_eval.errors import MarathonError


def test_show_prints_one_answer_with_its_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fill(tmp_path)
    key = keys(path, "response/")[0].removeprefix("response/")
    assert cache("show", key[:10], folder=tmp_path) == 0
    shown = json.loads(capsys.readouterr().out)
    assert shown["response"]["text"] == f"yes {shown['request']['prompt']}"
    assert shown["model"]["says"] == "yes"
    assert shown["key"] == f"response/{key}"


def test_the_list_has_a_short_line_per_model_and_json_its_settings(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(tmp_path)
    fill(tmp_path, "no", prompts="abc")
    name = Said.from_args({}).name()
    assert cache("ls", folder=tmp_path) == 0
    title, *lines = capsys.readouterr().out.splitlines()
    assert title == f"{path}: 5 answers of 2 models"
    assert [line.split()[0] for line in lines] == ["3", "2"]
    assert [line.split(maxsplit=2)[2] for line in lines] == [f"{name} says=no", f"{name} says=yes"]
    assert cache("ls", "--json", folder=tmp_path) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [(each["answers"], each["settings"]["says"]) for each in listed] == [(3, "no"), (2, "yes")]
    assert [each["fingerprint"][:8] for each in listed] == [line.split()[1] for line in lines]


def test_show_refuses_a_key_of_none_or_several(tmp_path: Path) -> None:
    path = fill(tmp_path, prompts=[str(n) for n in range(40)])
    with pytest.raises(MarathonError, match="no answer has such a key"):
        entries.look_up(path, "xyz")
    with pytest.raises(MarathonError, match="no answer has such a key"):
        entries.look_up(path, "")
    firsts = [key.removeprefix("response/")[0] for key in keys(path, "response/")]
    common = max(firsts, key=firsts.count)
    with pytest.raises(MarathonError, match=rf"{firsts.count(common)} answers have such a key: {common}"):
        entries.look_up(path, common)


def test_a_sound_cache_is_said_to_be_so(
    tmp_path: Path, make_wav: MakeWav, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path, audio=make_wav())
    assert cache("verify", folder=tmp_path) == 0
    assert "every entry is whole" in capsys.readouterr().out


@pytest.mark.parametrize("damage", ["no JSON", "another text", "another request", "not an answer"])
def test_verify_names_every_damaged_answer(
    tmp_path: Path, damage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(tmp_path, prompts=["a", "b", "c"])
    key = keys(path, "response/")[1]
    value = entries.look_up(path, key)
    value = {name: value[name] for name in ("request", "fingerprint", "response", "created")}
    changed = {
        "no JSON": "{",
        "another text": json.dumps({**value, "response": {**value["response"], "text": None}}),
        "another request": json.dumps({**value, "request": {**value["request"], "prompt": "x"}}),
        "not an answer": "[]",
    }[damage]
    change(path, key, changed)
    assert cache("verify", folder=tmp_path) == 2
    out = capsys.readouterr()
    assert out.err.count("\n") == 1
    assert key[:32] in out.err
    assert "1 damaged" in out.out


def test_verify_notices_a_lost_fingerprint(tmp_path: Path) -> None:
    path = fill(tmp_path)
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"DELETE FROM {TABLE} WHERE key LIKE 'fingerprint/%'")
    found = list(entries.faults(path))
    assert [key for key, _ in found] == keys(path, "response/")
    assert all("fingerprint" in fault for _, fault in found)


def test_what_is_no_cache_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cache("verify", folder=tmp_path) == 2
    assert "no such file" in capsys.readouterr().err
    (tmp_path / FILE_NAME).write_bytes(b"these are no database pages at all" * 100)
    for words in (
        ["verify"],
        ["show", "a"],
        ["prune", "--model", "x"],
        ["export", str(tmp_path / "x.jsonl")],
    ):
        assert cache(*words, folder=tmp_path) == 2
        assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "x.jsonl").exists()


def test_prune_without_yes_only_says_what_would_go(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(tmp_path)
    before = keys(path)
    assert cache("prune", "--model", "filled_cache", folder=tmp_path) == 0
    assert "2 answers" in capsys.readouterr().out
    assert keys(path) == before


def test_prune_takes_out_one_fingerprint_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path, "yes")
    path = fill(tmp_path, "no")
    no = next(
        key.removeprefix("fingerprint/") for key in keys(path, "fingerprint/") if says_of(path, key) == "no"
    )
    assert cache("prune", "--fingerprint", no[:8], "--yes", folder=tmp_path) == 0
    assert [says_of(path, key) for key in keys(path, "fingerprint/")] == ["yes"]
    assert len(keys(path, "response/")) == 2
    with ResponseCache(tmp_path) as left:
        answers = list(left.answer(Said.from_args({"says": "yes"}), [Request("a"), Request("b")]))
    assert [answer.cached for answer in answers] == [True, True]


def test_prune_by_age(tmp_path: Path) -> None:
    path = fill(tmp_path)
    key = keys(path, "response/")[0]
    value = entries.look_up(path, key)
    value = {name: value[name] for name in ("request", "fingerprint", "response")}
    change(path, key, json.dumps({**value, "created": "2020-01-01T00:00:00Z"}))
    assert list(entries.prunable(path, entries.Selection(older_than_days=30), False, False)) == [key]
    assert cache("prune", "--older_than", "30", "--yes", folder=tmp_path) == 0
    assert len(keys(path, "response/")) == 1


def test_prune_forgets_audio_that_is_gone(tmp_path: Path, make_wav: MakeWav) -> None:
    here, gone = make_wav("he|re.wav", hz=300), make_wav("gone.wav")
    fill(tmp_path / "c", prompts=["a"], audio=here)
    path = fill(tmp_path / "c", prompts=["a"], audio=gone)
    gone.unlink()
    assert cache("prune", "--gone_audio", "--yes", folder=tmp_path / "c") == 0
    assert [re.findall(r"[\w|]+\.wav", key) for key in keys(path, "audio/")] == [["he|re.wav"]]
    assert len(keys(path, "response/")) == 2


def test_prune_takes_out_what_is_damaged(tmp_path: Path) -> None:
    path = fill(tmp_path)
    damaged, sound = keys(path, "response/")
    change(path, damaged, "{")
    assert cache("prune", "--damaged", "--yes", folder=tmp_path) == 0
    assert keys(path, "response/") == [sound]
    assert list(entries.faults(path)) == []


def test_prune_must_be_told_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fill(tmp_path)
    assert cache("prune", "--yes", folder=tmp_path) == 2
    assert cache("prune", "--older_than", "-1", "--yes", folder=tmp_path) == 2
    assert len(keys(path, "response/")) == 2
    assert "--fingerprint" in capsys.readouterr().err
