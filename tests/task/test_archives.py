"""Tests audio in archives: it is unpacked once, only when needed, and nothing leaves the folder."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import soundfile

from helpers import make_air_bench_mmar_data
from helpers.make_other_benchmarks import RATE, noise
from helpers.minimal_task import HEARD, load
from marathon_eval import simple_evaluate
from marathon_eval.errors import MarathonError
from marathon_eval.task.data import archives

HEAD = "dataset_path: json\ndataset_kwargs: {data_files: rows.json, archives: [%s]}\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def data(folder: Path, name: str) -> Path:
    """Write two rows and an archive with the sound of the second; the first lies beside it."""
    folder.mkdir()
    rows = [{"q": "?", "a": "x", "path": f"audio/{number}.wav"} for number in range(2)]
    (folder / "rows.json").write_text(json.dumps(rows))
    (folder / "audio").mkdir()
    soundfile.write(folder / "audio" / "0.wav", noise(0), RATE)
    sound = io.BytesIO()
    soundfile.write(sound, noise(1), RATE, format="WAV")
    path = folder / name
    if name.endswith(".zip"):
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("audio/1.wav", sound.getvalue())
    else:
        with tarfile.open(path, "w:gz" if name.endswith("gz") else "w") as tarred:
            add(tarred, "./audio/1.wav", sound.getvalue())
    (folder / "own.yaml").write_text(HEAD % name + HEARD)
    return folder


def add(tarred: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    tarred.addfile(member, io.BytesIO(content))


@pytest.mark.parametrize("name", ["sounds.tar.gz", "sounds.tar", "sounds.zip"])
def test_what_is_not_beside_the_rows_comes_from_the_archive(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = data(tmp_path / "data", name)
    for turn in range(2):
        docs = load(folder / "own.yaml").docs().docs
        assert [doc.error for doc in docs] == [None, None]
        for number, doc in enumerate(docs):
            assert doc.audio[0].samples(RATE) == pytest.approx(noise(number), abs=1e-4)
        assert capsys.readouterr().err.count("unpacking") == 1 - turn
    assert docs[0].audio[0].path == str(folder / "audio" / "0.wav")


def test_an_archive_that_nothing_needs_is_not_unpacked(tmp_path: Path, cache: Path) -> None:
    folder = data(tmp_path / "data", "sounds.tar.gz")
    soundfile.write(folder / "audio" / "1.wav", noise(1), RATE)
    assert [doc.error for doc in load(folder / "own.yaml").docs().docs] == [None, None]
    assert not (cache / "unpacked").exists()
    (folder / "audio" / "1.wav").unlink()
    (folder / "sounds.tar.gz").unlink()
    assert "no such audio file" in (load(folder / "own.yaml").docs().docs[1].error or "")


def test_damage_links_and_bombs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = data(tmp_path / "data", "sounds.tar.gz")
    path = folder / "sounds.tar.gz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-2000])
    with pytest.raises(MarathonError, match=r"own\.yaml:1: archives: sounds\.tar\.gz: cannot be unpacked"):
        load(folder / "own.yaml").docs()
    with tarfile.open(path, "w:gz") as tarred:
        add(tarred, "../../up.wav", b"x")
    with pytest.raises(MarathonError, match="cannot be unpacked"):
        load(folder / "own.yaml").docs()
    assert not (tmp_path / "up.wav").exists()
    with tarfile.open(path, "w:gz") as tarred:
        link = tarfile.TarInfo("audio/1.wav")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tarred.addfile(link)
    assert "no such audio file" in (load(folder / "own.yaml").docs().docs[1].error or "")
    path.write_bytes(whole)
    monkeypatch.setattr(archives, "ARCHIVE_BYTES", 10)
    monkeypatch.setattr(archives, "ARCHIVE_TIMES", 0)
    with pytest.raises(MarathonError, match="unpacks to more than the limit"):
        load(folder / "own.yaml").docs()


@pytest.mark.parametrize("task", ["mmar", "mmar_2025"])
def test_mmar_runs_from_the_archive_of_the_hub(task: str, tmp_path: Path) -> None:
    rows = make_air_bench_mmar_data.mmar(tmp_path / "data")
    (tmp_path / "data" / "MMAR-meta.json").write_text(json.dumps(rows))
    with tarfile.open(tmp_path / "data" / "mmar-audio.tar.gz", "w:gz") as tarred:
        tarred.add(tmp_path / "data" / "audio", "audio")
    for path in (tmp_path / "data" / "audio").iterdir():
        path.unlink()
    found = simple_evaluate("dummy", [task], data_dir=str(tmp_path / "data"), no_cache=True)
    assert found.tasks[task].coverage == 1.0
    assert found.tasks[task].n_scored == len(rows)
