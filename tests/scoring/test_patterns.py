"""Tests patterns.py: an endless regular expression fails its row only; all others find what `re` finds."""

from __future__ import annotations

import json
import re
import signal
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.cli.main import main
from marathon_eval.errors import RowError
from marathon_eval.scoring import patterns

ENDLESS = r"(a+)+$"
TEXT = "a" * 60 + "b"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "LIMIT_S", 0.05)


def test_an_endless_search_is_ended_and_named(short: None) -> None:
    for search in (
        lambda: patterns.find_all(re.compile(ENDLESS), TEXT),
        lambda: patterns.substitute(ENDLESS, "", TEXT),
        lambda: patterns.substitute(re.compile(ENDLESS), "", TEXT),
    ):
        with pytest.raises(RowError, match=r"regular expression '\(a\+\)\+\$' takes over 0.05 s"):
            search()
    # the timer is off again
    assert signal.getitimer(signal.ITIMER_VIRTUAL) == (0.0, 0.0)


def test_what_comes_after_a_search_is_not_limited(short: None) -> None:
    assert patterns.find_all(re.compile("b"), TEXT) == ["b"]
    began = time.process_time()
    while time.process_time() - began < 0.2:
        pass


@given(
    st.sampled_from([r"\w+", r"(\d)(\w)?", "", r"(?i)b|c", r"^.*$"]), st.text(max_size=40), st.integers(0, 3)
)
def test_as_re_does(pattern: str, text: str, count: int) -> None:
    assert patterns.find_all(re.compile(pattern), text) == re.findall(pattern, text)
    assert patterns.substitute(pattern, "<>", text, count) == re.sub(pattern, "<>", text, count=count)


def test_another_thread_searches_without_a_limit() -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(patterns.find_all(re.compile("b"), TEXT)))
    thread.start()
    thread.join()
    assert found == [["b"]]


@pytest.mark.parametrize("where", ["filter", "template"])
def test_a_hostile_task_ends_in_error_rows(
    short: None, tmp_path: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.json").write_text(json.dumps([{"q": TEXT, "a": "x"}, {"q": "b", "a": "x"}]))
    hostile = ENDLESS.replace("\\", "\\\\")
    text = f"{{{{ q | regex_replace('{hostile}', '') }}}}" if where == "template" else "{{ q }}"
    filters = (
        f"[{{name: f, filter: [{{function: regex, regex_pattern: '{hostile}'}}, {{function: take_first}}]}}]"
    )
    (tmp_path / "hostile.yaml").write_text(
        f'dataset_path: json\ndataset_kwargs: {{data_files: rows.json}}\ndoc_to_text: "{text}"\ndoc_to_target: a\n'
        "metric_list: [{metric: exact_match}]\n" + (f"filter_list: {filters}\n" if where == "filter" else "")
    )
    code = main(
        [
            *("--model", "dummy", "--model_args", "mode=echo", "--tasks", str(tmp_path / "hostile.yaml")),
            *("--data_dir", str(tmp_path), "--no_cache", "-o", str(tmp_path / "out")),
        ]
    )
    said = capsys.readouterr().err
    assert code == 3, said
    (file,) = (tmp_path / "out").rglob("samples_hostile.jsonl")
    rows = [json.loads(line) for line in file.read_text().splitlines()]
    assert [row["status"] for row in rows] == ["error", "ok"]
    assert "takes over 0.05 s" in rows[0]["error"]
