"""Tests reading rows from json, jsonl, csv and parquet files and through `datasets`."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any, ClassVar

import pytest

from helpers.minimal_task import KEYS, docs_of, load, make_task, touch, write_task
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.rows import parsed_rows
from marathon_eval.task.task import Task


def load_own(folder: Path) -> Task:
    return load(folder / "own.yaml")


class TestFormats:
    ROWS: ClassVar = [{"q": "one", "a": "1"}, {"q": "two", "a": "2"}]

    def read(
        self, folder: Path, name: str, content: bytes | str, kwargs: str = "", form: str = "json"
    ) -> list[Any]:
        path = write_task(folder, KEYS, self.ROWS)
        keys = path.read_text().replace("json\n", f"{form}\n", 1).replace("rows.json", f"{name}{kwargs}")
        path.write_text(keys)
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)
        from helpers.minimal_task import load

        return [dict(doc.fields) for doc in load(path).docs().docs]

    def test_json_jsonl_csv(self, tmp_path: Path) -> None:
        lines = "\n".join(json.dumps(row) for row in self.ROWS)
        assert self.read(tmp_path, "a.json", json.dumps(self.ROWS)) == self.ROWS
        assert self.read(tmp_path, "b.jsonl", lines + "\n\n") == self.ROWS
        assert self.read(tmp_path, "c.json", lines) == self.ROWS, "datasets reads lines from .json too"
        assert self.read(tmp_path, "d.csv", "q,a\none,1\ntwo,2\n", form="csv") == self.ROWS
        assert self.read(tmp_path, "e.json", "\ufeff" + json.dumps(self.ROWS)) == self.ROWS
        assert self.read(tmp_path, "f.json", json.dumps({"rows": self.ROWS}), ", field: rows") == self.ROWS

    def test_parquet(self, tmp_path: Path) -> None:
        import pyarrow  # type: ignore[import-untyped]  # ships no stubs
        import pyarrow.parquet  # type: ignore[import-untyped]

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(self.ROWS), tmp_path / "g.parquet")
        content = (tmp_path / "g.parquet").read_bytes()
        assert self.read(tmp_path, "g.parquet", content, form="parquet") == self.ROWS

    @pytest.mark.parametrize(
        ("content", "form", "field", "said"),
        [
            ('{"a": 1}', "json", None, r"^meta: must be a list of rows, but is an object with a"),
            ('"text"', "json", None, "^meta: must be a list of rows"),
            ("[1,", "json", None, "^meta: not readable as JSON"),
            ("[" * 100_000, "json", None, "^meta: not readable as JSON"),
            ('{"rowz": []}', "json", "rows", r"^meta: no key 'rows'\. Did you mean rowz"),
            ('{"a": 1}\n{"a"', "jsonl", None, "^meta:2: not readable as JSON"),
            ("a,b\n1,2\n1,2,3\n", "csv", None, "^meta:3: has more cells than the header"),
            ("\xff", "json", None, "^meta: not readable as"),
            ("PAR1", "parquet", None, "^meta: not readable as parquet"),
        ],
    )
    def test_a_file_that_is_not_what_it_should_be(
        self, content: str, form: str, field: str | None, said: str
    ) -> None:
        with pytest.raises(MarathonError, match=said):
            parsed_rows(content.encode("latin-1"), form, field, "meta")

    def test_an_empty_dataset_a_missing_file_and_a_missing_folder(self, tmp_path: Path) -> None:
        with pytest.raises(MarathonError, match="holds no rows with named columns"):
            docs_of(tmp_path, KEYS, [])
        (tmp_path / "rows.json").unlink()
        with pytest.raises(MarathonError, match=r"own\.yaml:1: cannot read rows\.json in .*--data_dir"):
            load_own(tmp_path).docs()
        with pytest.raises(MarathonError, match=r"--data_dir: .*nowhere: no such folder"):
            load_own(tmp_path).docs(str(tmp_path / "nowhere"))

    def test_splits(self, tmp_path: Path) -> None:
        path = write_task(tmp_path, KEYS + "test_split: held_out\n", self.ROWS)
        path.write_text(path.read_text().replace("rows.json", "{held_out: rows.json, train: gone.json}"))
        assert len(load_own(tmp_path).docs().docs) == 2
        path.write_text(path.read_text().replace("held_out\n", "heldout\n"))
        with pytest.raises(MarathonError, match=r"no split 'heldout'\. Did you mean held_out"):
            load_own(tmp_path).docs()

    def test_data_dir_comes_before_the_yamls_own_folder(self, tmp_path: Path) -> None:
        other = tmp_path / "other"
        other.mkdir()
        (other / "rows.json").write_text(json.dumps([{"q": "else", "a": "3"}]))
        task = make_task(tmp_path, KEYS, self.ROWS)
        assert [doc.fields["q"] for doc in task.docs(str(other)).docs] == ["else"]

    def test_metadata_of_another_sha256_is_refused(self, tmp_path: Path) -> None:
        digest = hashlib.sha256(json.dumps(self.ROWS).encode()).hexdigest()
        docset = docs_of(tmp_path, KEYS + f"expected_sha256: {digest}\n", self.ROWS)
        assert docset.manifest()["metadata_sha256"] == digest
        with pytest.raises(MarathonError, match=rf"rows\.json has sha256 {digest}, .* expects 0000"):
            docs_of(tmp_path, KEYS + f"expected_sha256: '{'0' * 64}'\n", self.ROWS)


class TestHubDatasets:
    def folder(self, tmp_path: Path, audio: dict[str, Any]) -> None:
        """A dataset as the hub keeps it: parquet whose own metadata says that a column is audio."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist(
            [{"q": "?", "a": "x", "audio": {"bytes": None, "path": None, **audio}}]
        )
        fields = {name: {"dtype": "string", "_type": "Value"} for name in ("q", "a")}
        features = {"info": {"features": {**fields, "audio": {"_type": "Audio"}}}}
        schema = pyarrow.schema(
            [
                ("q", "string"),
                ("a", "string"),
                ("audio", pyarrow.struct([("bytes", pyarrow.binary()), ("path", "string")])),
            ]
        )
        table = table.cast(schema).replace_schema_metadata({"huggingface": json.dumps(features)})
        (tmp_path / "ds").mkdir()
        pyarrow.parquet.write_table(table, tmp_path / "ds" / "train.parquet")
        (tmp_path / "own.yaml").write_text(
            f"dataset_path: {tmp_path / 'ds'}\ntest_split: train\n"
            f"dataset_kwargs: {{cache_dir: {tmp_path / 'hf'}, trust_remote_code: true}}\n"
            "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: audio\n"
        )

    def test_audio_in_files_is_read_from_them(self, tmp_path: Path) -> None:
        clip = touch(tmp_path / "clips" / "one.wav")
        self.folder(tmp_path, {"path": str(clip)})
        (doc,) = load_own(tmp_path).docs().docs
        assert (doc.error, [audio.path for audio in doc.audio]) == (None, [str(clip)])

    def test_audio_inside_the_table_is_refused(self, tmp_path: Path) -> None:
        self.folder(tmp_path, {"path": "one.wav", "bytes": b"RIFF"})
        with pytest.raises(MarathonError, match="the column 'audio' keeps its audio inside the table"):
            load_own(tmp_path).docs()

    def test_one_that_cannot_be_loaded_is_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "own.yaml").write_text("dataset_path: nobody/nothing\n" + KEYS)
        with pytest.raises(
            MarathonError, match=r"own\.yaml:1: the dataset nobody/nothing cannot be loaded"
        ) as caught:
            load_own(tmp_path).docs()
        assert "\n" not in str(caught.value)


def test_a_pipe_is_no_data_file(tmp_path: Path) -> None:
    path = write_task(tmp_path, KEYS)
    (tmp_path / "rows.json").unlink()
    os.mkfifo(tmp_path / "rows.json")
    with pytest.raises(MarathonError, match="not a regular file"):
        load(path).docs()


def test_a_line_of_json_ends_where_json_says() -> None:
    text = '{"q": "a\u2028b"}\r\n{"q": "c\x85d"}\n\n{"q": "e"}'
    assert parsed_rows(text.encode(), "jsonl", None, "rows.jsonl") == [
        {"q": "a\u2028b"},
        {"q": "c\x85d"},
        {"q": "e"},
    ]
