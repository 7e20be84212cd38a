"""Tests arguments of load_dataset where rows come from data files: each one is followed or refused, with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from helpers.minimal_task import KEYS, load
from marathon_eval.errors import MarathonError


def written(folder: Path, arguments: str, text: str = "q,a\nx,1\n", path: str = "csv") -> Path:
    (folder / "rows.csv").write_text(text)
    (folder / "own.yaml").write_text(
        f"dataset_path: {path}\ndataset_kwargs:\n  data_files: rows.csv\n  {arguments}\n" + KEYS
    )
    return folder / "own.yaml"


def rows(folder: Path, arguments: str, text: str) -> list[tuple[str, object]]:
    docs = load(written(folder, arguments, text)).docs().docs
    return [(str(doc.fields["q"]), doc.target) for doc in docs]


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("sep: ';'", "q;a\nx,y;1\nz;2\n"),
        ("skiprows: 2", 'made by "hand\n\nq,a\n"x,y",1\nz,2\n'),
        ("header: 1", "a table\n\nq,a\n'x,y',1\nz,2\n".replace("'", '"')),
        ("column_names: [q, a]", '"x,y",1\nz,2\n'),
        ("names: [q, a]\n  header: 0", 'frage,antwort\n"x,y",1\nz,2\n'),
        ("header: infer", 'q,a\n"x,y",1\nz,2\n'),
        ('quotechar: "\'"', "q,a\n'x,y',1\nz,2\n"),
        ("quoting: 3\n  escapechar: '\\'", "q,a\nx\\,y,1\nz,2\n"),
        ("skipinitialspace: true", 'q, a\n"x,y", 1\nz, 2\n'),
    ],
)
def test_arguments_of_tables_are_followed(tmp_path: Path, arguments: str, text: str) -> None:
    assert rows(tmp_path, arguments, text) == [("x,y", "1"), ("z", "2")]


def test_quotes_are_text_where_quoting_says_so(tmp_path: Path) -> None:
    assert rows(tmp_path, "quoting: 3", 'q,a\n"x,1\n') == [('"x', "1")]


def test_lines_are_counted_from_the_start_of_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "skiprows: 2", "a\nb\nq,a\nx,1\ny,2,3\n")
    with pytest.raises(MarathonError, match=r"rows\.csv:5: has more cells than the header"):
        load(path).docs()
    path = written(tmp_path, "skiprows: 2", "a\nb\nq,q\nx,1\n")
    with pytest.raises(MarathonError, match=r"rows\.csv:3: the header names the column 'q' twice"):
        load(path).docs()
    path = written(tmp_path, "names: [q, a]", "x,1\ny,2,3\n")
    with pytest.raises(MarathonError, match=r"rows\.csv:2: has more cells than dataset_kwargs name columns"):
        load(path).docs()


@pytest.mark.parametrize(
    ("argument", "said"),
    [
        (
            "na_values: ['-']",
            r"na_values: it changes nothing in how csv files are read \(each cell is read as the text",
        ),
        (
            "field: data",
            r"field: it changes nothing in how csv files are read\. Allowed: data_files, .*, skiprows",
        ),
        ("encoding_errors: ignore", r"encoding_errors: it changes nothing in how csv files"),
        (
            "data_dir: sub",
            r"data_dir: it changes nothing .*\(write the folder into data_files, or give --data_dir\)",
        ),
        ("revision: main", r"revision: 'csv' is no repository on the hub"),
        ("sep: [',']", r"sep: must be one character for data files, got \[','\]"),
        ("sep: '::'", r"sep: must be one character for data files, got '::'"),
        ("skiprows: [0, 2]", r"skiprows: must be a whole number of lines for data files, got \[0, 2\]"),
        ("quoting: 2", r"quoting: must be 0 "),
        ("header: -1", r"header: must be a whole number of lines"),
        ("names: [q, q]", r"names: must be column names that differ"),
        ("column_names: q", r"column_names: must be a list of column names"),
        ("skipinitialspace: 1", r"skipinitialspace: must be true or false"),
    ],
)
def test_an_argument_that_is_not_followed_is_refused_with_its_line(
    tmp_path: Path, argument: str, said: str
) -> None:
    with pytest.raises(MarathonError, match=rf"own\.yaml:4: dataset_kwargs: {said}"):
        load(written(tmp_path, argument))


def test_two_names_of_one_argument_must_agree(tmp_path: Path) -> None:
    with pytest.raises(MarathonError, match=r"own\.yaml:5: dataset_kwargs: sep: delimiter is ';'; give one"):
        load(written(tmp_path, "delimiter: ';'\n  sep: ','"))
    with pytest.raises(
        MarathonError, match=r"own\.yaml:5: dataset_kwargs: column_names: names is \['q'\]; give"
    ):
        load(written(tmp_path, "names: [q]\n  column_names: [a]"))


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        (
            "{data_files: rows.json, delimiter: ';'}",
            "delimiter: it changes nothing in how json files are read",
        ),
        (
            "{data_files: rows.json, encoding: latin-1}",
            "encoding: it changes nothing in how json files are read",
        ),
        ("{data_files: rows.jsonl, field: data}", "field: it changes nothing in how jsonl files are read"),
        (
            "{data_files: a.parquet, columns: [q]}",
            "columns: .* parquet files are read .columns that the task",
        ),
        (
            "{file_tree: ['{q}.wav'], data_files: rows.json}",
            "data_files: file_tree makes the rows of file names",
        ),
        (
            "{file_tree: ['{q}.wav'], archives: [a.zip]}",
            "archives: file_tree .* Allowed: file_tree, revision",
        ),
    ],
)
def test_arguments_of_other_formats_are_refused(tmp_path: Path, kwargs: str, said: str) -> None:
    (tmp_path / "own.yaml").write_text(f"dataset_path: someone/rows\ndataset_kwargs: {kwargs}\n{KEYS}")
    with pytest.raises(MarathonError, match=rf"own\.yaml:2: dataset_kwargs: {said}"):
        load(tmp_path / "own.yaml")


def test_a_field_is_not_looked_for_in_lines_of_json(tmp_path: Path) -> None:
    (tmp_path / "rows.json").write_text(
        '{"data": [{"q": "x", "a": "1"}]}\n{"data": [{"q": "y", "a": "2"}]}\n'
    )
    (tmp_path / "own.yaml").write_text(
        "dataset_path: json\ndataset_kwargs: {data_files: rows.json, field: data}\n" + KEYS
    )
    with pytest.raises(
        MarathonError, match=r"rows\.json: has an object on each line, .* field: data needs one"
    ):
        load(tmp_path / "own.yaml").docs()


def test_splits_may_have_files_of_several_formats(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("q;a\nx;1\n")
    (tmp_path / "shown.jsonl").write_text('{"q": "y", "a": "2"}\n')
    (tmp_path / "own.yaml").write_text(
        "dataset_path: csv\ntest_split: test\n"
        "dataset_kwargs: {data_files: {test: rows.csv, train: shown.jsonl}, delimiter: ';', verification_mode: no_checks}\n"
        "fewshot_split: train\nnum_fewshot: 1\n" + KEYS
    )
    assert [doc.target for doc in load(tmp_path / "own.yaml").docs().docs] == ["1"]


def test_the_files_of_a_pattern_tell_their_format_when_they_are_read(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "one.jsonl").write_text('{"q": "y", "a": "2"}\n')
    (tmp_path / "own.yaml").write_text(
        "dataset_path: someone/rows\ndataset_kwargs: {data_files: 'data/*', sep: ';'}\n" + KEYS
    )
    task = load(tmp_path / "own.yaml")
    with pytest.raises(
        MarathonError, match=r"own\.yaml:1: .*sep: it changes nothing in how jsonl files are read"
    ):
        task.docs(str(tmp_path))


def test_a_folder_that_datasets_reads_gets_encoding_and_field(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets.config

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    (tmp_path / "ds").mkdir()
    (tmp_path / "ds" / "train.csv").write_bytes("q,a\nx,gr\u00fcn\n".encode("latin-1"))
    (tmp_path / "own.yaml").write_text(
        f"dataset_path: {tmp_path / 'ds'}\ntest_split: train\ndataset_kwargs: {{encoding: latin-1}}\n{KEYS}"
    )
    assert [doc.target for doc in load(tmp_path / "own.yaml").docs(str(tmp_path)).docs] == ["gr\u00fcn"]
