"""Tests rows whose audio stands inside the table: bytes, samples and lists of them, in parquet and through `datasets`."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import datasets
import numpy as np
import pyarrow  # type: ignore[import-untyped]  # ships no stubs
import pyarrow.parquet  # type: ignore[import-untyped]
import pytest
import soundfile

from helpers.minimal_task import load
from marathon_eval.api.audio import Audio
from marathon_eval.api.doc import DocSet
from marathon_eval.task.data.embedded import AudioFolder

KEYS = "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: sound\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MARATHON_EVAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def noise(seed: int, frames: int = 800) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-0.5, 0.5, frames).astype(np.float32)


def encoded(seed: int, form: str = "WAV") -> bytes:
    out = io.BytesIO()
    soundfile.write(out, noise(seed), 8000, format=form, subtype="PCM_16")
    return out.getvalue()


def stored(path: Path, rows: list[dict[str, Any]]) -> None:
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


def docs(folder: Path, head: str, keys: str = KEYS, **choice: Any) -> DocSet:
    (folder / "own.yaml").write_text(head + keys)
    return load(folder / "own.yaml").docs(**choice)


def parquet(folder: Path, rows: list[dict[str, Any]], keys: str = KEYS) -> DocSet:
    stored(folder / "rows.parquet", rows)
    return docs(folder, "dataset_path: parquet\ndataset_kwargs: {data_files: rows.parquet}\n", keys)


def heard(clip: Audio) -> np.ndarray:
    return clip.samples(8000)


def test_bytes_with_and_without_a_name(tmp_path: Path, cache: Path) -> None:
    rows = [
        {"q": "?", "a": "x", "sound": {"bytes": encoded(0), "path": "sub/one.wav"}},
        {"q": "?", "a": "x", "sound": {"bytes": encoded(1, "FLAC"), "path": None}},
        {"q": "?", "a": "x", "sound": {"bytes": encoded(0), "path": "other.wav"}},
    ]
    found = parquet(tmp_path, rows)
    assert [doc.error for doc in found.docs] == [None] * 3
    for doc, seed in zip(found.docs, (0, 1, 0), strict=True):
        assert heard(doc.audio[0]) == pytest.approx(noise(seed), abs=1e-4)
    assert len([path for path in (cache / "audio").rglob("*") if path.is_file()]) == 2, "one sound, one file"
    assert found.docs[0].audio_names[0].endswith("/one.wav")
    assert found.docs[1].audio[0].path.endswith(".flac")
    again = parquet(tmp_path, rows)
    assert again.manifest_sha256 == found.manifest_sha256
    json.dumps([dict(doc.fields) for doc in found.docs])


def test_plain_bytes_lists_and_stretches(tmp_path: Path) -> None:
    both = [{"bytes": encoded(seed), "path": f"{seed}.wav"} for seed in (0, 1)]
    found = parquet(tmp_path, [{"q": "?", "a": "x", "sound": both}])
    assert [
        heard(clip) == pytest.approx(noise(seed), abs=1e-4) for seed, clip in enumerate(found.docs[0].audio)
    ]
    assert len(found.docs[0].audio) == 2
    found = parquet(tmp_path, [{"q": "?", "a": "x", "sound": encoded(2)}])
    assert heard(found.docs[0].audio[0]) == pytest.approx(noise(2), abs=1e-4)
    part = {"bytes": encoded(3), "path": "3.wav", "start": 0.025, "stop": 0.05}
    found = parquet(tmp_path, [{"q": "?", "a": "x", "sound": part}])
    assert heard(found.docs[0].audio[0]) == pytest.approx(noise(3)[200:400], abs=1e-4)


@pytest.mark.parametrize("damage", ["changed", "cut", "emptied"])
@pytest.mark.parametrize("form", ["bytes", "samples"])
def test_a_damaged_file_is_told_and_written_again(
    tmp_path: Path, cache: Path, capsys: pytest.CaptureFixture[str], form: str, damage: str
) -> None:
    samples = {"array": noise(0).tolist(), "sampling_rate": 8000, "path": "x.wav"}
    sound = {"bytes": encoded(0), "path": "x.wav"} if form == "bytes" else samples
    rows = [{"q": "?", "a": "x", "sound": sound}]
    path = Path(parquet(tmp_path, rows).docs[0].audio[0].path)
    whole = path.read_bytes()
    assert capsys.readouterr().err == ""
    changed = {"changed": whole[:-8] + b"\x11" * 8, "cut": whole[:200], "emptied": b""}[damage]
    path.write_bytes(changed)
    again = parquet(tmp_path, rows)
    assert (
        capsys.readouterr().err
        == f"marathon-eval: note: {path}: damaged since it was written; written again\n"
    )
    if form == "bytes":  # libsndfile writes the time into a file of floats
        assert path.read_bytes() == whole
    assert heard(again.docs[0].audio[0]) == pytest.approx(noise(0), abs=1e-4)
    parquet(tmp_path, rows)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("channels", [1, 2])
def test_samples_with_a_rate(tmp_path: Path, channels: int) -> None:
    samples = noise(0, 1600).reshape(channels, -1)
    array = samples[0] if channels == 1 else samples
    row = {"q": "?", "a": "x", "sound": {"array": array.tolist(), "sampling_rate": 8000, "path": "x.mp3"}}
    found = parquet(tmp_path, [row])
    assert found.docs[0].audio[0].facts().seconds == samples.shape[1] / 8000
    assert heard(found.docs[0].audio[0]) == pytest.approx(samples.mean(axis=0), abs=1e-6)


@pytest.mark.parametrize(
    "sound",
    [
        {"bytes": None, "path": None},
        {"array": [0.1] * 300_000, "sampling_rate": 0},
        {"array": [], "sampling_rate": 8000},
        {"array": [[[0.1]]], "sampling_rate": 8000},
    ],
)
def test_audio_of_no_known_form_is_one_short_error_row(tmp_path: Path, sound: Any) -> None:
    found = parquet(tmp_path, [{"q": "?", "a": "x", "sound": sound}])
    assert "audio must be a path" in (found.docs[0].error or "")
    assert len(found.docs[0].error or "") < 400


def test_empty_and_broken_bytes_are_refused_when_heard(tmp_path: Path) -> None:
    rows = [
        {"q": "?", "a": "x", "sound": {"bytes": content, "path": "x.wav"}} for content in (b"", b"RIFFxx")
    ]
    for doc in parquet(tmp_path, rows).docs:
        with pytest.raises(Exception, match="not readable as audio"):
            doc.audio[0].facts()


def test_a_path_in_the_table_is_looked_for_beside_it(tmp_path: Path) -> None:
    (tmp_path / "one.wav").write_bytes(encoded(4))
    found = parquet(tmp_path, [{"q": "?", "a": "x", "sound": {"bytes": None, "path": "one.wav"}}])
    assert heard(found.docs[0].audio[0]) == pytest.approx(noise(4), abs=1e-4)


def test_heavy_columns_that_the_task_does_not_name_are_not_read(tmp_path: Path, cache: Path) -> None:
    rows = [
        {
            "q": "?",
            "a": "x",
            "sound": encoded(0),
            "picture": b"\x89PNG" * 9,
            "vector": [0.5, 1.5],
            "tags": ["t"],
        }
    ]
    fields = parquet(tmp_path, rows).docs[0].fields
    assert fields.keys() == {"q", "a", "sound", "tags"}
    assert sum(path.is_file() for path in (cache / "audio").rglob("*")) == 1
    without = parquet(tmp_path, rows, "doc_to_text: q\ndoc_to_target: a\n")
    assert without.docs[0].fields.keys() == {"q", "a", "tags"}


def test_a_file_cut_by_a_kill_is_written_again(tmp_path: Path) -> None:
    folder = AudioFolder(tmp_path / "sounds")
    name = folder.replaced({"bytes": encoded(0), "path": "x.wav"})
    path = Path(folder.paths[name])
    path.write_bytes(path.read_bytes()[:100])
    assert AudioFolder(tmp_path / "sounds").replaced({"bytes": encoded(0), "path": "x.wav"}) == name
    assert path.read_bytes() == encoded(0)


def test_names_of_the_table_lead_nowhere(tmp_path: Path) -> None:
    folder = AudioFolder(tmp_path / "sounds")
    for name in ("../../up.wav", "/etc/up.wav", "..\\up.wav", "up\0.wav", "x." + "w" * 300, ".wav/../.."):
        path = Path(folder.paths[folder.replaced({"bytes": b"RIFF", "path": name})])
        assert path.resolve().is_relative_to(tmp_path / "sounds")
        assert path.is_file()


@pytest.mark.parametrize("several", [False, True])
def test_an_audio_column_of_datasets_is_not_decoded(tmp_path: Path, several: bool) -> None:
    sounds = [{"bytes": encoded(seed), "path": f"{seed}.wav"} for seed in (0, 1)]
    kind: Any = datasets.Audio()
    features = datasets.Features(
        {
            "q": datasets.Value("string"),
            "a": datasets.Value("string"),
            "sound": datasets.List(kind) if several else kind,
        }
    )
    rows = [{"q": "?", "a": "x", "sound": sounds if several else sounds[0]}]
    table = pyarrow.Table.from_pylist(rows, schema=features.arrow_schema)
    (tmp_path / "ds").mkdir()
    pyarrow.parquet.write_table(table, tmp_path / "ds" / "test.parquet")
    found = docs(tmp_path, "dataset_path: ./ds\ntest_split: test\n")
    assert [doc.error for doc in found.docs] == [None]
    assert len(found.docs[0].audio) == 1 + several
    for seed, clip in enumerate(found.docs[0].audio):
        assert heard(clip) == pytest.approx(noise(seed), abs=1e-4)


@pytest.mark.parametrize(
    ("kind", "zero", "most"), [("int16", 0, 2**15), ("int32", 0, 2**31), ("uint8", 128, 128)]
)
@pytest.mark.parametrize("several", [False, True])
def test_integer_samples_are_divided_by_their_types_range(
    tmp_path: Path, kind: str, zero: int, most: int, several: bool
) -> None:
    given = np.rint(noise(0).astype(np.float64) * most + zero).astype(kind)
    sound = pyarrow.struct(
        [("array", pyarrow.list_(pyarrow.type_for_alias(kind))), ("sampling_rate", pyarrow.int64())]
    )
    schema = pyarrow.schema(
        [
            ("q", pyarrow.string()),
            ("a", pyarrow.string()),
            ("sound", pyarrow.list_(sound) if several else sound),
        ]
    )
    cell = {"array": given.tolist(), "sampling_rate": 8000}
    rows = [{"q": "?", "a": "x", "sound": [cell] if several else cell}]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows, schema=schema), tmp_path / "rows.parquet")
    found = docs(tmp_path, "dataset_path: parquet\ndataset_kwargs: {data_files: rows.parquet}\n")
    assert [doc.error for doc in found.docs] == [None]
    assert heard(found.docs[0].audio[0]) == pytest.approx(noise(0), abs=1 / most)


@pytest.mark.parametrize("path", [None, "x.wav"])
@pytest.mark.parametrize("number", [int, float])
def test_whole_numbers_of_unknown_range_are_an_error_row(
    tmp_path: Path, path: str | None, number: type
) -> None:
    (tmp_path / "x.wav").write_bytes(encoded(1))
    array = [number(round(sample * 32768)) for sample in noise(0).tolist()]
    row = {"q": "?", "a": "x", "sound": {"array": array, "sampling_rate": 8000, "path": path}}
    (doc,) = parquet(tmp_path, [row]).docs
    assert "array must be numbers from -1 to 1, or of the type int16, int32 or uint8" in (doc.error or "")


def test_samples_of_a_function_are_scaled_by_their_own_type() -> None:
    folder = AudioFolder()
    name = folder.replaced({"array": np.array([16384, -32768], np.int16), "sampling_rate": 8000})
    assert soundfile.read(folder.paths[name])[0].tolist() == [0.5, -1.0]


@pytest.mark.parametrize("inside", [True, False])
def test_a_cell_with_a_key_that_audio_has_not_is_an_error_row(tmp_path: Path, inside: bool) -> None:
    (tmp_path / "x.wav").write_bytes(encoded(0))
    sound = {"bytes": encoded(0) if inside else None, "path": "x.wav", "start": 0.025, "end": 0.05}
    (doc,) = parquet(tmp_path, [{"q": "?", "a": "x", "sound": sound}]).docs
    assert "the key 'end', and its keys are path, bytes, array, sampling_rate, start, stop" in (
        doc.error or ""
    )
    (doc,) = parquet(tmp_path, [{"q": "?", "a": "x", "sound": {**sound, "end": None}}]).docs
    assert doc.error is None


def test_a_cells_own_stretch_is_refused_beside_columns_for_it(tmp_path: Path) -> None:
    (tmp_path / "x.wav").write_bytes(encoded(0))
    keys = "doc_to_text: q\ndoc_to_target: a\ndoc_to_audio: {path: sound, start: begin}\n"
    row = {"q": "?", "a": "x", "begin": 0.01, "sound": {"path": "x.wav", "start": 0.025}}
    (doc,) = parquet(tmp_path, [row], keys).docs
    assert "the key 'start'" in (doc.error or "")
