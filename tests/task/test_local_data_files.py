"""Rows that `datasets` reads from this machine are those of the files as they are now, and their hash is noted."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from helpers.minimal_task import load, touch
from marathon_eval.errors import MarathonError
from marathon_eval.task.data.local_data_files import LocalDataFiles
from marathon_eval.task.task import DocSet

KEYS = "test_split: train\ndoc_to_text: q\ndoc_to_target: q\n"


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "datasets")


def write_arrow(path: Path, word: str) -> None:
    import pyarrow

    table = pyarrow.table({"q": [f"{word} {number}" for number in range(3)]})
    with pyarrow.OSFile(str(path), "wb") as file, pyarrow.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)


def write_text(path: Path, word: str) -> None:
    path.write_text("".join(f"{word} {number}\n" for number in range(3)))


def read(folder: Path, keys: str) -> DocSet:
    (folder / "own.yaml").write_text(keys)
    return load(folder / "own.yaml").docs()


@pytest.mark.parametrize(
    ("name", "write", "keys"),
    [
        ("rows.arrow", write_arrow, "dataset_path: arrow\ndataset_kwargs: {data_files: rows.arrow}\n" + KEYS),
        (
            "rows.txt",
            write_text,
            "dataset_path: text\ndataset_kwargs: {data_files: rows.txt}\n" + KEYS.replace(": q", ": text"),
        ),
        ("data/train.txt", write_text, "dataset_path: ./data\n" + KEYS.replace(": q", ": text")),
    ],
)
def test_a_file_replaced_at_equal_size_and_time_is_read_again(
    tmp_path: Path, name: str, write: Callable[[Path, str], None], keys: str
) -> None:
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    write(path, "one")
    before = path.stat()
    first = read(tmp_path, keys)
    assert [doc.target for doc in first.docs] == ["one 0", "one 1", "one 2"]
    assert first.manifest()["metadata_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    write(path, "two")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    second = read(tmp_path, keys)
    assert [doc.target for doc in second.docs] == ["two 0", "two 1", "two 2"]
    assert second.manifest()["metadata_sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()


def test_unchanged_files_are_prepared_once(tmp_path: Path) -> None:
    write_text(tmp_path / "rows.txt", "one")
    keys = "dataset_path: text\ndataset_kwargs: {data_files: rows.txt}\n" + KEYS.replace(": q", ": text")
    for _ in range(2):
        read(tmp_path, keys)
        assert len(list((tmp_path / "datasets" / "marathon_eval").iterdir())) == 1


def test_of_a_folder_of_sounds_the_table_and_the_names_are_hashed(tmp_path: Path) -> None:
    """What a sound holds is in the keys of its answers; that any file was written is in the name of the prepared rows."""
    import datasets

    folder = tmp_path / "sounds"
    touch(folder / "a.wav")
    (folder / "metadata.csv").write_text("file_name,q\na.wav,one\n")

    def found() -> tuple[str, str]:
        files = LocalDataFiles.of(datasets.load_dataset_builder("audiofolder", data_dir=str(folder)))
        assert files is not None
        return files.sha256("train"), files.state

    first = found()
    assert found() == first
    (folder / "a.wav").write_bytes(b"sound")
    second = found()
    assert second[0] == first[0]
    assert second[1] != first[1]
    (folder / "metadata.csv").write_text("file_name,q\na.wav,two\n")
    assert found()[0] != first[0]


def test_an_expected_hash_is_held(tmp_path: Path) -> None:
    write_text(tmp_path / "rows.txt", "one")
    keys = "dataset_path: text\ndataset_kwargs: {data_files: rows.txt}\n" + KEYS.replace(": q", ": text")
    with pytest.raises(MarathonError, match=r"rows.txt has sha256 \w+, but the task expects 0000"):
        read(tmp_path, f"{keys}expected_sha256: '{'0' * 64}'\n")
