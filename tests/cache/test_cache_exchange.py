"""Tests `cache export` and `cache merge`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conftest import MakeWav
from helpers.filled_cache import Said, cache, change, fill, keys, says_of
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.cache import entries
from marathon_eval.cache.answers import FILE_NAME, ResponseCache


def test_an_export_brings_every_answer_to_another_cache(
    tmp_path: Path, make_wav: MakeWav, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = make_wav()
    source, target, file = tmp_path / "a", tmp_path / "b", tmp_path / "x.jsonl"
    fill(source, audio=clip)
    assert cache("export", str(file), folder=source) == 0
    assert str(tmp_path) not in file.read_text(encoding="utf-8")  # no path of this machine
    assert cache("merge", str(file), folder=target) == 0
    assert "2 answers added" in capsys.readouterr().out
    with ResponseCache(target) as merged:
        requests = [Request(prompt, (Audio(str(clip)),)) for prompt in "ab"]
        answers = list(merged.answer(Said.from_args({}), requests))
    assert [answer.cached for answer in answers] == [True, True]
    assert list(entries.faults(target / FILE_NAME)) == []


def test_an_export_takes_what_is_selected(tmp_path: Path) -> None:
    path = fill(tmp_path, "yes")
    fill(tmp_path, "no")
    no = next(key for key in keys(path, "fingerprint/") if says_of(path, key) == "no")
    file = tmp_path / "x.jsonl"
    identity = no.removeprefix("fingerprint/")
    assert cache("export", str(file), "--fingerprint", identity, folder=tmp_path) == 0
    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    assert lines[0] == {"marathon_eval_cache": 1}
    assert [line["key"].split("/")[0] for line in lines[1:]] == ["fingerprint", "response", "response"]
    assert {line["value"]["fingerprint"] for line in lines[2:]} == {identity}
    assert cache("export", str(file), folder=tmp_path) == 2  # never over a file that is there


def test_an_export_of_nothing_names_the_models_and_writes_no_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(tmp_path)
    file = tmp_path / "x.jsonl"
    name = Said.from_args({}).name()
    assert cache("export", str(file), "--model", "openai_audio", folder=tmp_path) == 2
    assert f"Its models: {name}" in capsys.readouterr().err
    assert not file.exists()
    assert cache("export", str(file), "--older_than", "1", folder=tmp_path) == 2
    assert cache("export", str(file), "--model", name, folder=tmp_path) == 0
    assert len(file.read_text().splitlines()) == 4


def test_merging_keeps_ours_and_refuses_what_does_not_match_its_key(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    fill(ours, prompts=["a", "b"])
    path = fill(theirs, prompts=["a", "b", "c", "d"])
    by_prompt = {entries.look_up(path, key)["request"]["prompt"]: key for key in keys(path, "response/")}
    value = entries.look_up(path, by_prompt["a"])
    stored = {name: value[name] for name in ("request", "fingerprint", "response", "created")}
    other = {**stored, "response": {**stored["response"], "text": "no a"}}
    change(path, by_prompt["a"], json.dumps(other))
    change(path, by_prompt["d"], json.dumps(stored))  # an answer to something else
    assert cache("merge", str(theirs), folder=ours) == 0
    out = capsys.readouterr().out
    assert "1 answers added, 1 present already, 1 with another text (not replaced), 1 refused" in out
    assert entries.look_up(ours / FILE_NAME, by_prompt["a"])["response"]["text"] == "yes a"
    assert by_prompt["c"] in keys(ours / FILE_NAME)
    assert by_prompt["d"] not in keys(ours / FILE_NAME)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", None),
        ('{"some": "other file"}\n', "was not made by"),
        ('{"marathon_eval_cache": 1}\n[1]\n', ":2: must be an object"),
        ('{"marathon_eval_cache": 1}\n{"key', ":2: not readable as JSON"),
    ],
)
def test_merging_a_file_that_is_no_export(
    tmp_path: Path, text: str, message: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "x.jsonl"
    file.write_text(text, encoding="utf-8")
    assert cache("merge", str(file), folder=tmp_path / "c") == (2 if message else 0)
    assert (message or "") in capsys.readouterr().err


def test_a_merge_of_more_answers_than_one_chunk(tmp_path: Path) -> None:
    fill(tmp_path / "a", prompts=[str(n) for n in range(1201)])
    assert cache("merge", str(tmp_path / "a" / FILE_NAME), folder=tmp_path / "b") == 0
    assert len(keys(tmp_path / "b" / FILE_NAME, "response/")) == 1201
