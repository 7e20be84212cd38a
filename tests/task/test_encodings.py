"""Tests reading text files that are not UTF-8: what is said of them, and the key that names their encoding."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.minimal_task import load
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.parsing import parsed_rows


def test_latin_1_is_told_with_its_line_and_read_where_it_is_named() -> None:
    content = "q,a\none,1\nzw\u00f6lf,12\n".encode("latin-1")
    told = r"^meta\.csv:3: not UTF-8 text \(byte 0xf6\): save .* as UTF-8, or .* \(dataset_kwargs: encoding: latin-1\)"
    with pytest.raises(MarathonError, match=told):
        parsed_rows(content, "csv", None, "meta.csv")
    with pytest.raises(
        MarathonError, match=r"^meta\.json:1: not UTF-8 text \(byte 0xf6\): save .* as UTF-8$"
    ):
        parsed_rows(b'[{"q": "\xf6"}]', "json", None, "meta.json")
    rows = parsed_rows(content, "csv", None, "meta.csv", encoding="latin-1")
    assert rows[1] == {"q": "zw\u00f6lf", "a": "12"}
    with pytest.raises(MarathonError, match=r"^meta\.csv:3: byte 0xf6 is no text in .* encoding: ascii"):
        parsed_rows(content, "csv", None, "meta.csv", encoding="ascii")
    with pytest.raises(MarathonError, match="Python knows no text encoding 'latin-99'"):
        parsed_rows(content, "csv", None, "meta.csv", encoding="latin-99")


def test_the_task_names_the_encoding(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_bytes("q,a\nwas?,gr\u00fcn\n".encode("latin-1"))
    task = tmp_path / "own.yaml"
    task.write_text(
        "dataset_path: csv\ndataset_kwargs: {data_files: rows.csv, encoding: latin-1}\n"
        "doc_to_text: q\ndoc_to_target: a\n"
    )
    assert load(task).docs().docs[0].target == "gr\u00fcn"
