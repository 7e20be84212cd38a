"""Tests that a truncated or corrupted cache file is noticed and set aside, and that its intact responses are kept."""

from __future__ import annotations

import random
import sqlite3
import threading
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from helpers import filled_cache
from helpers.filled_cache import Said, change, fill, keys
from marathon_eval.api.model import Request
from marathon_eval.cache import salvage as mending
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import faults
from marathon_eval.cache.salvage import salvage
from marathon_eval.errors import MarathonError

ANSWERS = 300
PROMPTS = [f"question {number} " + "word " * (number % 50) for number in range(ANSWERS)]


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    return fill(tmp_path_factory.mktemp("sound"), prompts=PROMPTS).read_bytes()


def asked_of(folder: Path, prompts: Sequence[str] = PROMPTS) -> tuple[int, dict[str, str]]:
    """How many of the answers the cache had, and all of them."""
    with ResponseCache(folder) as cache:
        found = list(cache.answer(Said.from_args({"says": "yes"}), [Request(prompt) for prompt in prompts]))
    return sum(one.cached for one in found), {one.request.prompt: one.response.text for one in found}


def damaged(folder: Path, content: bytes) -> Path:
    path = folder / FILE_NAME
    path.write_bytes(content)
    return path


RIGHT = {prompt: f"yes {prompt}" for prompt in PROMPTS}


@pytest.mark.parametrize("seed", range(20))
def test_a_cut_file_keeps_what_lies_before_the_cut(
    sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    at = random.Random(seed).randrange(16, len(sound))
    damaged(tmp_path, sound[:at])
    kept, answers = asked_of(tmp_path)
    assert answers == RIGHT
    # rows lie in the order in which they were written; their index takes the rest of the file
    assert kept >= ANSWERS * at / len(sound) * 0.6 - 12
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1, lines
    assert f"{kept} answers were taken over" in lines[0]
    assert (tmp_path / "answers.damaged-1.sqlite").read_bytes() == sound[:at]
    assert asked_of(tmp_path) == (ANSWERS, RIGHT)
    assert not list(faults(tmp_path / FILE_NAME))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("seed", range(20))
def test_flipped_bytes_never_change_an_answer(
    sound: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str], seed: int
) -> None:
    draw = random.Random(seed)
    content = bytearray(sound)
    for _ in range(draw.choice([1, 4, 40])):
        content[draw.randrange(16, len(content))] ^= draw.randrange(1, 256)
    damaged(tmp_path, bytes(content))
    kept, answers = asked_of(tmp_path)
    assert answers == RIGHT
    assert kept >= ANSWERS - 120
    assert len(capsys.readouterr().err.splitlines()) <= 2
    assert asked_of(tmp_path)[1] == RIGHT


@pytest.mark.parametrize("at", range(16))
def test_one_flipped_byte_of_the_first_sixteen_keeps_every_answer(
    sound: bytes, tmp_path: Path, at: int
) -> None:
    damaged(tmp_path, sound[:at] + bytes([sound[at] ^ 0x55]) + sound[at + 1 :])
    kept, answers = asked_of(tmp_path)
    assert answers == RIGHT
    assert kept >= ANSWERS * 0.95


def test_a_damaged_file_that_sqlite_calls_read_only_is_mended(sound: bytes, tmp_path: Path) -> None:
    content = bytearray(sound)
    content[18] = 3  # the header's version for writing, which no sqlite knows
    size = int.from_bytes(sound[16:18], "big")
    content[size] = content[2 * size] = 0  # the kinds of two pages
    damaged(tmp_path, bytes(content))
    assert asked_of(tmp_path)[1] == RIGHT
    assert asked_of(tmp_path) == (ANSWERS, RIGHT)


def test_an_answer_whose_text_was_changed_is_asked_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = fill(tmp_path, prompts=["a", "b"])
    key = keys(path, "response/")[0]
    with sqlite3.connect(path) as connection:
        text = connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()[0]
    change(path, key, text.replace('"text":"yes', '"text":"yez'))
    kept, answers = asked_of(tmp_path, ["a", "b"])
    assert (kept, answers) == (1, {"a": "yes a", "b": "yes b"})
    assert "1 damaged entries are not used" in capsys.readouterr().err
    assert asked_of(tmp_path, ["a", "b"])[0] == 2


def test_an_answer_under_another_answers_key_is_not_taken(tmp_path: Path) -> None:
    path = fill(tmp_path, prompts=["a", "b"])
    first, second = keys(path, "response/")
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE entries SET value = (SELECT value FROM entries WHERE key = ?) WHERE key = ?",
            (first, second),
        )
    assert asked_of(tmp_path, ["a", "b"]) == (1, {"a": "yes a", "b": "yes b"})


def test_damaged_twice_is_set_aside_twice(sound: bytes, tmp_path: Path) -> None:
    for number in (1, 2):
        damaged(tmp_path, sound[: len(sound) // 2])
        asked_of(tmp_path)
        assert (tmp_path / f"answers.damaged-{number}.sqlite").exists()


def test_a_cut_file_with_a_log_keeps_what_the_log_holds(tmp_path: Path) -> None:
    """What was committed since the last checkpoint stands in the write-ahead log alone."""
    live, cut = tmp_path / "live", tmp_path / "cut"
    with ResponseCache(live) as cache:
        list(cache.answer(Said.from_args({"says": "yes"}), [Request(prompt) for prompt in PROMPTS]))
        cache.commit()
        cut.mkdir()
        for suffix in ("", "-wal"):
            content = (live / f"{FILE_NAME}{suffix}").read_bytes()
            (cut / f"{FILE_NAME}{suffix}").write_bytes(content if suffix else content[: len(content) // 3])
    kept, answers = asked_of(cut)
    assert answers == RIGHT
    assert kept > ANSWERS // 2


@pytest.mark.parametrize("content", [b"no database" * 100, b"{}", b"PK\3\4" + bytes(4096)])
def test_what_never_was_a_cache_is_left_where_it_is(tmp_path: Path, content: bytes) -> None:
    path = damaged(tmp_path, content)
    with pytest.raises(MarathonError, match="is damaged .*move it away"):
        ResponseCache(tmp_path)
    assert path.read_bytes() == content


def test_rows_of_an_early_cache_without_checksums_are_hits(tmp_path: Path) -> None:
    path = fill(tmp_path, prompts=["a"])
    with sqlite3.connect(path) as connection:
        connection.execute(
            "UPDATE entries SET value = json_remove(value, '$.check') WHERE key LIKE 'response/%'"
        )
    assert asked_of(tmp_path, ["a"])[0] == 1
    assert filled_cache.cache("verify", folder=tmp_path) == 0


def test_a_run_that_shares_a_mended_file_writes_into_the_new_one(sound: bytes, tmp_path: Path) -> None:
    path = damaged(tmp_path, sound)
    with ResponseCache(tmp_path) as running, ResponseCache(tmp_path) as other:
        running.put("audio/before", ["x", 1.0], at_once=True)
        other.close()
        content = bytearray(path.read_bytes())
        content[8192:32768] = b"\xff" * 24576
        path.write_bytes(content)
        salvage(path)
        assert (tmp_path / "answers.damaged-1.sqlite").exists()
        running.put("audio/after", ["y", 2.0], at_once=True)
    with ResponseCache(tmp_path) as again:
        assert again.get_many(["audio/after"]) == {"audio/after": ["y", 2.0]}


def test_an_answer_that_comes_while_the_file_is_mended_is_in_the_new_one(
    sound: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = damaged(tmp_path, sound)
    with ResponseCache(tmp_path) as running:
        running.put("audio/before", ["x", 1.0], at_once=True)
        writer = threading.Thread(target=running.put, args=("audio/while", ["y", 2.0], True))
        read = mending._intact_entries

        def found(aside: Path) -> dict[str, Any]:
            writer.start()
            writer.join(0.3)
            assert writer.is_alive()  # it waits
            return read(aside)

        monkeypatch.setattr(mending, "_intact_entries", found)
        monkeypatch.setattr(mending, "fault_of", lambda _: "told so")
        salvage(path)
        writer.join()
    with ResponseCache(tmp_path) as again:
        assert again.get_many(["audio/while"]) == {"audio/while": ["y", 2.0]}


@pytest.mark.parametrize(
    "made",
    [
        "CREATE VIEW entries AS WITH RECURSIVE c(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM c) SELECT k FROM c",
        "CREATE TABLE entries (key TEXT PRIMARY KEY, value AS (zeroblob(1000000000)))",
    ],
)
def test_a_table_that_computes_is_refused(tmp_path: Path, made: str) -> None:
    path = tmp_path / FILE_NAME
    with closing(sqlite3.connect(path)) as connection:
        connection.execute(made)
    with pytest.raises(MarathonError, match="no cache of this program"):
        ResponseCache(tmp_path)
    with pytest.raises(MarathonError, match="no cache of this program"):
        list(faults(path))
    path.rename(tmp_path / "answers.rank-1.sqlite")
    with pytest.raises(MarathonError, match="no cache of this program"):
        ResponseCache(tmp_path)


def test_a_trigger_is_refused(sound: bytes, tmp_path: Path) -> None:
    path = damaged(tmp_path, sound)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END")
    with pytest.raises(MarathonError, match="no cache of this program"):
        ResponseCache(tmp_path)
