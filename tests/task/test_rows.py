"""Tests reading rows from json, jsonl, csv and parquet files and through `datasets`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest

from helpers.minimal_task import KEYS, docs_of, load, make_task, touch, write_task
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.parsing import parsed_rows
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
            ("\xff", "json", None, "^meta:1: not UTF-8 text"),
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
    @pytest.fixture(autouse=True)
    def own_cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        import datasets.config

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")

    def folder(self, tmp_path: Path, audio: dict[str, Any], question: str = "?") -> None:
        """A dataset as the hub keeps it: parquet whose own metadata says that a column is audio."""
        import pyarrow
        import pyarrow.parquet

        table = pyarrow.Table.from_pylist(
            [{"q": question, "a": "x", "audio": {"bytes": None, "path": None, **audio}}]
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
            "dataset_kwargs: {trust_remote_code: true}\n"
            "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: audio\n"
        )

    def test_audio_in_files_is_read_from_them(self, tmp_path: Path) -> None:
        clip = touch(tmp_path / "clips" / "one.wav")
        self.folder(tmp_path, {"path": str(clip)})
        (doc,) = load_own(tmp_path).docs(str(tmp_path)).docs
        assert (doc.error, [audio.path for audio in doc.audio]) == (None, [str(clip)])

    @pytest.mark.parametrize("column", ["audio", "q"])
    def test_audio_outside_the_dataset_is_an_error_row(self, tmp_path: Path, column: str) -> None:
        """A row may name any file of the machine, in a column of audio or of text."""
        clip = touch(tmp_path / "secret" / "one.wav")
        self.folder(tmp_path, {"path": str(clip)}, str(clip))
        path = tmp_path / "own.yaml"
        path.write_text(path.read_text().replace("doc_to_audio: audio", f"doc_to_audio: {column}"))
        (doc,) = load_own(tmp_path).docs().docs
        assert doc.audio == ()
        assert doc.error is not None
        assert "leads outside the dataset's root" in doc.error

    def test_a_link_out_of_the_dataset_is_an_error_row(self, tmp_path: Path) -> None:
        clip = touch(tmp_path / "secret" / "one.wav")
        self.folder(tmp_path, {"path": "link.wav"})
        (tmp_path / "ds" / "link.wav").symlink_to(clip)
        (doc,) = load_own(tmp_path).docs().docs
        assert doc.audio == ()

    def test_a_folder_of_audio_alone_is_told_to_write_rows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "torchcodec", None)
        touch(tmp_path / "ds" / "a.wav")
        (tmp_path / "own.yaml").write_text("dataset_path: ./ds\ntest_split: train\n" + KEYS)
        with pytest.raises(MarathonError) as caught:
            load_own(tmp_path).docs()
        assert "cannot be loaded: a folder of audio files needs rows in a file" in str(caught.value)
        assert "torchcodec" not in str(caught.value)

    @pytest.mark.parametrize(
        ("keys", "said"),
        [
            ("dataset_path: pandas\ndataset_kwargs: {data_dir: pickles}\n", "dataset_path: pandas: must be"),
            ("dataset_path: webdataset\ndataset_kwargs: {data_dir: .}\n", "webdataset: must be"),
            ("dataset_path: s3://somewhere/data\n", "s3://somewhere/data: must be"),
            ("dataset_path: ds\ndataset_kwargs: {cache_dir: /x}\n", "cache_dir: not a task's to set"),
            ("dataset_path: ds\ndataset_kwargs: {token: x}\n", "token: not a task's to set"),
            ("dataset_path: ds\ndataset_kwargs: {num_prok: 3}\n", "unknown key 'num_prok'"),
            ("dataset_path: ./ds\ndataset_kwargs: {data_dir: /etc}\n", "no path inside the dataset's root"),
            ("dataset_path: a/b\ndataset_kwargs: {data_dir: ../..}\n", "no path inside the dataset's root"),
            (
                "dataset_path: audiofolder\ndataset_kwargs: {data_dir: /etc}\n",
                "/etc: lies outside --data_dir",
            ),
            (
                "dataset_path: text\ndataset_kwargs: {data_files: /etc/hostname}\n",
                "/etc/hostname: lies outside",
            ),
            (
                "dataset_path: json\ndataset_kwargs: {data_files: /etc/hostname}\n",
                "/etc/hostname: lies outside",
            ),
            ("dataset_path: /etc\n", "/etc: lies outside"),
            ("dataset_path: ../..\n", "lies outside"),
            ("dataset_path: ./none\n", "./none: no such file or folder"),
            (
                "dataset_path: ./none\ndataset_kwargs: {data_files: a.json}\n",
                "./none: no such file or folder",
            ),
        ],
    )
    def test_what_a_task_may_not_choose(self, tmp_path: Path, keys: str, said: str) -> None:
        (tmp_path / "ds").mkdir()
        (tmp_path / "own.yaml").write_text(keys + KEYS)
        with pytest.raises(MarathonError) as caught:
            load_own(tmp_path).docs()
        assert said in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_a_pickle_is_never_read(self, tmp_path: Path) -> None:
        """The builder `pandas` of datasets 3.0 to 5.1 unpickles; a dataset's README may choose it as well."""
        touched = tmp_path / "touched"
        ds = tmp_path / "ds"
        ds.mkdir()
        # a pickle that opens the file for writing
        (ds / "train.pkl").write_bytes(f"cbuiltins\nopen\n(V{touched}\nVw\ntR.".encode())
        (ds / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files: train.pkl\n---\n")
        for keys in (
            "dataset_path: pandas\ndataset_kwargs: {data_dir: ds}\n",
            "dataset_path: pandas\ndataset_kwargs: {data_files: ds/train.pkl}\n",
            "dataset_path: ./ds\n",
        ):
            (tmp_path / "own.yaml").write_text(keys + KEYS)
            with pytest.raises(MarathonError):
                load_own(tmp_path).docs(str(tmp_path))
        assert not touched.exists()

    def test_a_readme_names_no_file_outside(self, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("secret")
        (tmp_path / "ds").mkdir()
        (tmp_path / "ds" / "README.md").write_text(
            f"---\nconfigs:\n- config_name: default\n  data_files: {tmp_path / 'secret.txt'}\n---\n"
        )
        (tmp_path / "own.yaml").write_text("dataset_path: ./ds\ntest_split: train\n" + KEYS)
        with pytest.raises(MarathonError, match="which is not its own"):
            load_own(tmp_path).docs()

    def test_a_folder_of_data_files_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "mydata").mkdir()
        (tmp_path / "mydata" / "rows.json").write_text('[{"q": "?", "a": "x"}]')
        (tmp_path / "mydata" / "train.txt").write_text("one\ntwo\n")
        (tmp_path / "own.yaml").write_text(
            "dataset_path: ./mydata\ndataset_kwargs: {data_files: rows.json}\n" + KEYS
        )
        assert [doc.target for doc in load_own(tmp_path).docs().docs] == ["x"]
        (tmp_path / "own.yaml").write_text(
            "dataset_path: text\ntest_split: train\ndataset_kwargs: {data_dir: mydata}\n"
            "doc_to_text: text\ndoc_to_target: text\n"
        )
        (tmp_path / "mydata" / "rows.json").unlink()
        assert [doc.target for doc in load_own(tmp_path).docs().docs] == ["one", "two"]

    @pytest.mark.parametrize("name", ["rows.jsonl", "./data/rows.CSV", "more/rows.parquet"])
    def test_a_file_is_refused_with_the_keys_to_write(self, name: str, tmp_path: Path) -> None:
        """Nothing is asked of the hub: no data set has such a name."""
        (tmp_path / "own.yaml").write_text(f"dataset_path: {name}\n" + KEYS)
        with pytest.raises(
            MarathonError, match=r"own\.yaml:1: dataset_path: .* names a file; write"
        ) as caught:
            load_own(tmp_path).docs()
        kind = name.rpartition(".")[2].lower()
        assert f"dataset_path: {kind} and dataset_kwargs: {{data_files: {name}}}" in str(caught.value)

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


class TestTables:
    """CSV and TSV: delimiters, an index, long cells, headers."""

    def rows(self, text: str, form: str = "csv", delimiter: str | None = None) -> list[Any]:
        return parsed_rows(text.encode(), form, None, "meta", delimiter)

    def test_delimiters(self) -> None:
        wanted = [{"q": "a,b", "a": "1"}]
        assert self.rows('q,a\n"a,b",1\n') == wanted
        assert self.rows("q\ta\na,b\t1\n", "tsv") == wanted
        assert self.rows("q;a\na,b;1\n", "csv", ";") == wanted
        with pytest.raises(MarathonError, match="^meta:1: .* set dataset_kwargs: delimiter: ';'"):
            self.rows("q;a\nx;1\n")

    def test_the_index_of_pandas_is_left_out(self) -> None:
        assert self.rows(",q,a\n0,x,1\n1,y,2\n") == [{"q": "x", "a": "1"}, {"q": "y", "a": "2"}]
        with pytest.raises(MarathonError, match="^meta:1: column 2 of the header has no name"):
            self.rows("q,,a\nx,0,1\n")

    def test_a_column_named_twice_is_refused(self) -> None:
        with pytest.raises(MarathonError, match="^meta:1: the header names the column 'q' twice"):
            self.rows("q,a,q\nx,1,y\n")

    def test_a_cell_as_long_as_the_transcript_of_an_hour(self) -> None:
        assert len(self.rows(f"q\n{'word ' * 100_000}\n")[0]["q"]) == 500_000

    def test_a_short_row_lacks_its_last_cells(self) -> None:
        assert self.rows("q,a\nx\n\n") == [{"q": "x", "a": None}]

    def test_a_tsv_and_patterns_of_files(self, tmp_path: Path) -> None:
        (tmp_path / "data").mkdir()
        for number in (2, 1):
            (tmp_path / "data" / f"test-{number}.tsv").write_text(f"q\ta\n?\t{number}\n")
        (tmp_path / "own.yaml").write_text(
            "dataset_path: tsv\ndataset_kwargs: {data_files: 'data/test-*.tsv'}\n" + KEYS
        )
        assert [doc.target for doc in load_own(tmp_path).docs(str(tmp_path)).docs] == ["1", "2"]
        (tmp_path / "own.yaml").write_text(
            "dataset_path: tsv\ndataset_kwargs: {data_files: 'data/train-*.tsv'}\n" + KEYS
        )
        with pytest.raises(MarathonError, match=r"holds no file like data/train-\*\.tsv"):
            load_own(tmp_path).docs(str(tmp_path))
