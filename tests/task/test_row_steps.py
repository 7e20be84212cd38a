"""Tests the row steps that take settings, and audio whose path, start and stop stand in columns."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from helpers.minimal_task import HEARD, KEYS, docs_of, errors, make_task, touch
from marathon_eval.errors import MarathonError


def fields_of(folder: Path, steps: str, row: dict[str, Any]) -> Any:
    docset = docs_of(folder, f"{KEYS}process_docs: {steps}\n", [{"q": "?", "a": "x", **row}])
    return docset.docs[0].error or docset.docs[0].fields


class TestJsonFields:
    def test_keys_become_columns(self, tmp_path: Path) -> None:
        row = {"more": json.dumps({"task": "sound", "n": [1, 2]}), "again": {"level": 3}}
        fields = fields_of(tmp_path, "[{json_fields: [more, again]}]", row)
        assert (fields["task"], fields["n"], fields["level"]) == ("sound", [1, 2], 3)

    @pytest.mark.parametrize(
        ("value", "said"),
        [
            ("{'single': 1}", "not readable as JSON"),
            ("[1]", "must be a JSON object"),
            ('{"q": "other"}', "'q' is 'other', in the row '?'"),
            (None, "the row has no 'more'"),
        ],
    )
    def test_other_text_is_an_error_row(self, tmp_path: Path, value: Any, said: str) -> None:
        assert said in fields_of(tmp_path, "[{json_fields: more}]", {"more": value})

    def test_what_stands_in_it_is_asked(self, tmp_path: Path) -> None:
        keys = "doc_to_text: inner\ndoc_to_target: a\nprocess_docs: [{json_fields: more}]\n"
        task = make_task(tmp_path, keys, [{"a": "x", "more": '{"inner": "Who?"}'}])
        assert task.requests(task.docs(str(tmp_path)).docs[0])[0].prompt == "Who?"


def test_a_prefix_is_stripped_from_texts_and_lists(tmp_path: Path) -> None:
    row = {"c": ["(A) one", "(B) two", "three", 4], "g": "(B) two (C) x", "p": "./a/b.wav"}
    steps = (
        "[{strip_prefix: {columns: [c, g], prefix: '({letter}) '}}, {strip_prefix: {columns: p, prefix: ./}}]"
    )
    fields = fields_of(tmp_path, steps, row)
    assert (fields["c"], fields["g"], fields["p"]) == (["one", "two", "three", 4], "two (C) x", "a/b.wav")


class TestJoin:
    def test_columns_of_a_second_file(self, tmp_path: Path) -> None:
        (tmp_path / "more.csv").write_text("key,speaker\n1,anna\n2,bela\n")
        step = "[{join: {file: more.csv, column: id, file_column: key}}]"
        assert fields_of(tmp_path, step, {"id": 2})["speaker"] == "bela"
        assert "more.csv has no row whose 'key' is '3'" in fields_of(tmp_path, step, {"id": 3})

    @pytest.mark.parametrize(
        ("name", "text", "said"),
        [
            ("more.csv", "id,b\n1,x\n1,y\n", "'id' is '1' in two rows"),
            ("more.jsonl", '{"b": 1}\n', "row 0 has no 'id'"),
            ("more.txt", "", "the format must be one of"),
        ],
    )
    def test_an_unusable_file_ends_the_run(self, tmp_path: Path, name: str, text: str, said: str) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(MarathonError, match=rf"own\.yaml:5: process_docs: join: .*{said}"):
            fields_of(tmp_path, f"[{{join: {{file: {name}, column: id}}}}]", {"id": 1})

    def test_a_file_outside_the_root_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "secret.csv").write_text("id,b\n1,x\n")
        (tmp_path / "data").mkdir()
        with pytest.raises(MarathonError, match="is no path inside the dataset's root"):
            fields_of(tmp_path / "data", "[{join: {file: ../secret.csv, column: id}}]", {"id": 1})

    def test_another_value_of_a_column_is_an_error_row(self, tmp_path: Path) -> None:
        (tmp_path / "more.csv").write_text("id,a\n1,y\n")
        said = fields_of(tmp_path, "[{join: {file: more.csv, column: id}}]", {"id": 1})
        assert "'a' is 'y', in the row 'x'" in said


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("json_field", "no built-in row step 'json_field'.*Did you mean json_fields"),
        ("json_fields", "needs settings"),
        ("[{json_field: x}]", "unknown key 'json_field'.*Did you mean json_fields"),
        ("[{}]", "each step has one of json_fields, strip_prefix, join, got none"),
        ("[{strip_prefix: {columns: a}}]", "'.*prefix' is required"),
    ],
)
def test_a_mistake_names_the_line(tmp_path: Path, steps: str, said: str) -> None:
    with pytest.raises(MarathonError, match=rf"own\.yaml:5: .*{said}"):
        make_task(tmp_path, f"{KEYS}process_docs: {steps}\n")


class TestStretches:
    KEYS = KEYS + "doc_to_audio: {path: '{{ name }}.wav', start: from, stop: to}\n"

    def test_path_start_and_stop_from_columns(self, tmp_path: Path) -> None:
        touch(tmp_path / "one.wav")
        rows = [
            {"q": "?", "a": "x", "name": "one", "from": "1.5", "to": 3},
            {"q": "?", "a": "x", "name": "one", "from": "", "to": None},
            {"q": "?", "a": "x", "name": "one", "from": "1:30", "to": ""},
            {"q": "?", "a": "x", "name": "one", "from": "nan", "to": ""},
        ]
        docset = docs_of(tmp_path, self.KEYS, rows)
        assert [(clip.start, clip.stop) for doc in docset.docs for clip in doc.audio] == [
            (1.5, 3.0),
            (0.0, None),
        ]
        assert all("must be a number of seconds" in error for error in errors(docset))
        assert len(errors(docset)) == 2

    def test_a_decimal_comma_is_told_how_to_convert(self, tmp_path: Path) -> None:
        touch(tmp_path / "one.wav")
        rows = [
            {"q": "?", "a": "x", "p": "one.wav", "begin": "1,5"},
            {"q": "?", "a": "x", "p": "one.wav", "begin": ""},
        ]
        column = KEYS + "doc_to_audio: {path: p, start: begin}\n"
        (said,) = errors(docs_of(tmp_path, column, rows))
        form = "\"{{ begin | replace(',', '.') }}\""
        assert said.endswith(f"got '1,5'; for a decimal comma write {form} in place of the column")
        docset = docs_of(tmp_path, KEYS + f"doc_to_audio: {{path: p, start: {form}}}\n", rows)
        assert [clip.start for doc in docset.docs for clip in doc.audio] == [1.5, 0.0]

    def test_several_clips_of_a_row(self, tmp_path: Path) -> None:
        for name in "ab":
            touch(tmp_path / f"{name}.wav")
        rows = [{"q": "?", "a": "x", "path": ["a.wav", "b.wav"], "from": 1}]
        docset = docs_of(tmp_path, KEYS + "doc_to_audio: {path: path, start: from}\n", rows)
        assert [(Path(clip.path).name, clip.start) for clip in docset.docs[0].audio] == [
            ("a.wav", 1.0),
            ("b.wav", 1.0),
        ]

    def test_a_column_that_no_row_has_is_the_tasks_error(self, tmp_path: Path) -> None:
        touch(tmp_path / "one.wav")
        with pytest.raises(MarathonError, match="no row has 'to'"):
            docs_of(tmp_path, self.KEYS, [{"q": "?", "a": "x", "name": "one", "from": 1}])
        assert docs_of(tmp_path, HEARD, [{"q": "?", "a": "x", "path": "one.wav"}]).docs[0].error is None
