"""Checks that the fast JSON functions give what the standard library gives."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.files import json_line, parsed_json, plain_json_line
from marathon_eval.results.compressed_samples import CompressedSamples
from tests.results.test_compressed_samples import sample

_TEXTS = st.text(st.characters(exclude_categories=()))
_SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _TEXTS
_VALUES = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4)
)


@given(st.dictionaries(_TEXTS, _VALUES, max_size=5))
def test_any_row(row: dict[str, Any]) -> None:
    line = plain_json_line(row)
    assert line.count("\n") == 1
    line.encode()
    assert json.loads(line) == json.loads(json_line(row))
    assert repr(parsed_json(line)) == repr(json.loads(line))


@pytest.mark.parametrize(
    "text",
    [
        '"\\ud83d\\ude00 \\ud83d"',
        '"\ud800"',
        "[" * 300 + "]" * 300,
        '{"a": 1, "a": 2}',
        "-0",
        "1e400",
        "[NaN, -Infinity]",
        "9" * 400,
        " [0.1, 1E5] \n",
    ],
)
def test_texts_that_json_takes(text: str) -> None:
    assert repr(parsed_json(text)) == repr(json.loads(text))


@pytest.mark.parametrize(
    "text", ["", "[1,]", "01", '"\x01"', "[1] x", "\ufeff[1]", "nan", "{'a': 1}", "\ud800"]
)
def test_texts_that_json_refuses(text: str) -> None:
    with pytest.raises(json.JSONDecodeError):
        parsed_json(text)


@pytest.mark.parametrize(
    "row", [{"a": object()}, {"a": {1, 2}, "b": "\ud800"}, {"a": Path("a"), "b": object()}]
)
def test_a_row_that_pydantic_refuses_is_written_as_json_line_writes_it(row: dict[str, Any]) -> None:
    assert plain_json_line(row) == json_line(row)


def test_a_time_in_a_column_has_the_text_of_its_breakdown_label() -> None:
    moment = datetime(2026, 11, 21, 9, 30)
    (one,) = CompressedSamples([sample(0, fields={"moment": moment, "kind": "x"})])
    assert one.fields["moment"] == str(moment)
