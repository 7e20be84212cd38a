"""Tests that an entry's checksum gives one verdict, whether it is computed from the stored text or from the parsed value."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.cache.entry import check_of, is_whole, storable

KEY = "response/0123"
TEXT = st.text(st.characters(codec="utf-8"), max_size=6)
VALUES = st.none() | st.booleans() | st.integers(-9, 9) | st.floats(allow_nan=False) | TEXT


def stored(content: dict[str, Any], key: str = KEY) -> str:
    return storable({**content, "check": check_of(key, content)})


@given(st.dictionaries(TEXT.filter(lambda name: name != "check"), VALUES, max_size=4))
def test_the_text_gives_the_verdict_of_the_value(content: dict[str, Any]) -> None:
    text = stored(content)
    assert is_whole(KEY, json.loads(text), text)
    assert is_whole(KEY, json.loads(text))
    assert not is_whole("response/0124", json.loads(text), text)


@given(st.data())
def test_a_changed_character_is_damage(data: st.DataObject) -> None:
    text = stored({"response": {"text": "C", "status": "ok"}, "created": "2026-01-02T03:04:05Z"})
    at = data.draw(st.integers(0, len(text) - 1))
    changed = text[:at] + data.draw(st.sampled_from('0aZ"{ ')) + text[at + 1 :]
    try:
        value = json.loads(changed)
    except ValueError:
        return
    assert is_whole(KEY, value, changed) == is_whole(KEY, value) == (changed == text)


def test_texts_in_another_form_are_read_too() -> None:
    content = {"z": 1, "response": {"text": "\ud800", "status": "ok"}}
    spaced = json.dumps({**content, "check": check_of(KEY, content)})
    assert is_whole(KEY, json.loads(spaced), spaced)
    assert is_whole(KEY, json.loads(stored(content)), stored(content))
    assert is_whole(KEY, json.loads(spaced), spaced.encode())
