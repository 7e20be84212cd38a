"""Tests the reading of all stored responses without parsing: the same as by JSON, whatever layout an entry has."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conftest import MakeWav
from helpers.filled_cache import cache, change, fill, keys
from marathon_eval.cache.closest import closest_differences
from marathon_eval.cache.database import read_only
from marathon_eval.cache.entry import storable
from marathon_eval.cache.scan import responses_by_fingerprint, stored_responses
from marathon_eval.errors import MarathonError

HASHES = st.lists(st.sampled_from("ab").map(lambda one: one * 64), max_size=3)
ENTRIES = st.fixed_dictionaries(
    {
        "created": st.sampled_from(["2026-01-01T00:00:00Z", 'odd "quoted"', "é"]),
        "fingerprint": st.sampled_from(["f" * 64, "e" * 64, "short", 'a"b', "ü"]),
        "request": st.fixed_dictionaries({"audio": HASHES, "prompt": st.text(max_size=5)}),
        "response": st.fixed_dictionaries({"text": st.text(max_size=5)}),
    },
    optional={"check": st.sampled_from(["01234567", "x"])},
)


def table(values: Sequence[str | None]) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE entries (key TEXT PRIMARY KEY, value BLOB)")
    rows = [(f"response/{number}", value) for number, value in enumerate(values)]
    connection.executemany("INSERT INTO entries VALUES (?, ?)", [*rows, ("audio/x", "[1]"), ("z", "{}")])
    return connection


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(ENTRIES, st.booleans()), max_size=5), HASHES, st.integers(0, 2))
def test_every_layout_reads_as_its_json(drawn, audio: list[str], first: int) -> None:
    rows = [row for row, _ in drawn]
    texts = [storable(row) if canonical else json.dumps(row, indent=1) for row, canonical in drawn]
    expected = [(row["created"], row["fingerprint"], row["request"]["audio"]) for row in rows]
    with closing(table(texts)) as connection:
        found = list(stored_responses(connection))
        assert [(one.created, one.fingerprint, json.loads(one.audio)) for one in found] == expected
        assert [one.value() for one in found] == rows
        assert responses_by_fingerprint(connection) == Counter(row["fingerprint"] for row in rows)
        text = json.dumps(audio, separators=(",", ":"))
        chosen = [one.key for one in stored_responses(connection, {text}, first)]
    wanted = [n for n, row in enumerate(rows) if n < first or row["request"]["audio"] == audio]
    assert chosen == [f"response/{number}" for number in wanted]


@pytest.mark.parametrize("broken", ["{", "[]", "{}", '{"created":"x","fingerprint":"y","request":{}}', None])
def test_a_damaged_entry_is_named(broken: str | None) -> None:
    with closing(table([broken])) as connection:
        for read in (
            lambda: list(stored_responses(connection)),
            lambda: responses_by_fingerprint(connection),
        ):
            with pytest.raises(MarathonError, match=r"response/0: damaged"):
                read()
        assert not responses_by_fingerprint(connection, damaged=True)


def test_a_cut_text_is_damage_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = fill(tmp_path)
    key = keys(path, "response/")[0]
    with closing(sqlite3.connect(path)) as connection:
        (text,) = connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
    change(path, key, text[:-30])
    assert cache("ls", folder=tmp_path) == 2
    assert f"{key}: damaged" in capsys.readouterr().err


def test_the_closest_request_is_found_among_those_on_the_same_clip(tmp_path: Path, make_wav: MakeWav) -> None:
    clip, other = make_wav("a.wav"), make_wav("b.wav", hz=500)
    fill(tmp_path, "yes", ["p", "q"], clip)
    path = fill(tmp_path, "no", ["r"], other)
    with closing(read_only(path)) as connection:
        stored = {
            row.value()["request"]["prompt"]: row.value()["request"] for row in stored_responses(connection)
        }
        model = next(connection.execute("SELECT value FROM entries WHERE key LIKE 'fingerprint/%'"))
    fingerprint = {**json.loads(model[0]), "says": "no"}
    same_clip = closest_differences(path, [{**stored["p"], "prompt": "x"}], fingerprint)
    assert all("prompt: " in text and "model.says: 'yes' stored, 'no' asked" in text for text in same_clip)
    assert closest_differences(path, [stored["p"], stored["q"]], fingerprint) == {
        "model.says: 'yes' stored, 'no' asked": 2
    }
    (nowhere,) = closest_differences(path, [{**stored["r"], "audio": ["0" * 64]}], fingerprint)
    assert nowhere.startswith("audio: ")
    assert ";" not in nowhere
