"""Tests that a comparison's rows read like the samples that they came from, and that equal parts are kept once."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.results.compared_rows import COMPARED, SharedParts, compared_rows

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 2)
    | st.sampled_from([0.0, 1.0, -0.0, 0.5])
    | st.text(max_size=2),
    lambda parts: st.lists(parts, max_size=3) | st.dictionaries(st.text(max_size=1), parts, max_size=3),
    max_leaves=6,
)


def sample(doc_id: int) -> dict[str, Any]:
    return {
        "schema_version": 1,
        "doc_id": doc_id,
        "target": "B",
        "response": f"The answer of row {doc_id} is B.",
        "status": "ok",
        "error": None,
        "readings": {
            "strict": {"answer": "B", "rule": "letter", "scores": {"accuracy": 1.0, "macro_f1": None}}
        },
        "usage": {"audio_tokens": 100, "details": {"warm_up": True}},
        "prompt_sha256": "0" * 64,
        "audio": [{"path": f"clip_{doc_id}.wav", "sha256": "1" * 64, "seconds": 3.0}],
        "fields": {"kind": "speech"},
        "choices": ["a dog", "a cat"],
        "letters": ["A", "B"],
        "cluster": f"clip_{doc_id}.wav",
        "turns_sha256": ["2" * 64],
    }


def test_a_row_reads_like_its_sample() -> None:
    (row,) = compared_rows([sample(7)]).values()
    expected = {name: sample(7)[name] for name in COMPARED} | {"audio": [{"path": "clip_7.wav"}]}
    assert dict(row) == expected
    assert len(row) == len(expected)
    assert row.get("usage") is None
    with pytest.raises(KeyError):
        row["usage"]


def test_fields_that_early_versions_lacked_stay_absent() -> None:
    early = {
        name: value for name, value in sample(1).items() if name not in ("choices", "letters", "cluster")
    }
    (row,) = compared_rows([early]).values()
    assert row.get("choices", "none") == "none"
    assert "cluster" not in row
    assert len(row) == len(COMPARED) + 1 - 3


@given(st.lists(JSON, max_size=12))
def test_shared_parts_are_equal_in_value_and_type(values: list[Any]) -> None:
    parts = SharedParts()
    assert json.dumps([parts.shared(value) for value in values]) == json.dumps(values)


def test_a_row_of_options_needs_a_few_hundred_bytes() -> None:
    tracemalloc.start()
    try:
        rows = compared_rows(json.loads(json.dumps(sample(number))) for number in range(2000))
        assert tracemalloc.get_traced_memory()[0] / len(rows) < 900
    finally:
        tracemalloc.stop()
