"""Tests parsing of arguments such as `press=dart,ratio=0.5`, and the errors for invalid ones."""

from __future__ import annotations

import math

import pytest

from marathon_eval.errors import MarathonError
from marathon_eval.evaluator.config import RunConfig, parse_args, parse_samples
from marathon_eval.evaluator.settings import checked_limit


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {}),
        ("press=dart,ratio=0.5", {"press": "dart", "ratio": 0.5}),
        ("a=1, b = two ,c=true", {"a": 1, "b": "two", "c": True}),
        ("path=x=y", {"path": "x=y"}),
        ("n=1e3,m=nan,i=inf", {"n": 1000.0, "m": "nan", "i": "inf"}),
        ('{"pretrained": "a,b", "n": 2}', {"pretrained": "a,b", "n": 2}),
    ],
)
def test_parse_args(text: str, expected: dict) -> None:
    assert parse_args(text, "--model_args") == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("press", "'press' is not name=value"),
        ("=1", "is not name=value"),
        ("a=1,a=2", "'a' is given twice"),
        ('{"a": }', "not readable as JSON"),
        ("{", "not readable as JSON"),
    ],
)
def test_parse_args_refuses(text: str, message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        parse_args(text, "--model_args")


def test_samples_from_json_and_file(tmp_path) -> None:
    (tmp_path / "s.json").write_text('{"gtzan": [0, 3]}')
    assert parse_samples(str(tmp_path / "s.json")) == parse_samples('{"gtzan": [0, 3]}') == {"gtzan": [0, 3]}
    with pytest.raises(MarathonError, match="list of row numbers"):
        parse_samples('{"gtzan": [-1]}')
    with pytest.raises(MarathonError, match="nowhere.json"):
        parse_samples("nowhere.json")


def test_keys_are_not_recorded() -> None:
    config = RunConfig("m", ("t",), {"api_key": "sk-1", "ratio": 0.5})
    assert config.recorded()["model_args"] == {"api_key": "<redacted>", "ratio": 0.5}


def test_json_nested_without_end_is_one_error() -> None:
    with pytest.raises(MarathonError, match="not readable as JSON"):
        parse_args('{"answer":' + "[" * 100_000, "--model_args")


@pytest.mark.parametrize("limit", [math.nan, math.inf, -math.inf, 0.0, 1.5])
def test_a_limit_is_a_number_of_rows(limit: float) -> None:
    with pytest.raises(MarathonError, match="--limit: must be"):
        checked_limit(limit)
