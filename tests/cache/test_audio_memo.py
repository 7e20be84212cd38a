"""A remembered clip is the clip that lies there now; entries of earlier versions are believed only with a proof."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from conftest import MakeWav
from helpers.filled_cache import Said, cache, keys
from marathon_eval.api import file_identity as file_identity_module
from marathon_eval.api.audio import Audio, memo_keys, path_of_memo_key
from marathon_eval.api.file_identity import BLOCK_BYTES, BLOCKS, file_identity
from marathon_eval.api.model import Request
from marathon_eval.backends.hf.weights import folder_hash
from marathon_eval.cache import audio_memo
from marathon_eval.cache.answers import FILE_NAME, ResponseCache
from marathon_eval.cache.entries import faults


def replaced(path: Path, content: bytes, how: str) -> None:
    """Put other content of the same length there, with the same modification time."""
    before = path.stat()
    assert len(content) == before.st_size
    if how == "renamed":
        fresh = path.with_suffix(".fresh")
        fresh.write_bytes(content)
        os.utime(fresh, ns=(before.st_atime_ns, before.st_mtime_ns))
        fresh.replace(path)
    else:
        with path.open("r+b") as file:
            file.write(content)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_mtime_ns == before.st_mtime_ns


def changed_in(path: Path, place: float) -> bytes:
    """The file's content with four bytes changed at that fraction of it."""
    content = bytearray(path.read_bytes())
    at = int(len(content) * place) // 2 * 2
    content[at : at + 4] = bytes(255 - byte for byte in content[at : at + 4])
    return bytes(content)


def facts_of(folder: Path, path: Path):
    with ResponseCache(folder) as store:
        return store.facts([Audio(str(path))])[0][Audio(str(path))]


def as_earlier(folder: Path) -> None:
    """Turn the memo's keys into those of earlier versions."""
    with closing(sqlite3.connect(folder / FILE_NAME)) as connection, connection:
        for key in keys(folder / FILE_NAME, "audio/") + keys(folder / FILE_NAME, "file/"):
            head, size, times, *rest = key.split("|")
            earlier = "|".join([head, size, times.partition(".")[0], *rest])
            connection.execute("UPDATE entries SET key = ? WHERE key = ?", (earlier, key))


def settled(path: Path) -> None:
    """Wait until a change now is later than the second of all that is there."""
    time.sleep(max(0.0, int(path.stat().st_ctime) + 1.01 - time.time()))


@pytest.mark.parametrize("how", ["renamed", "in place"])
@pytest.mark.parametrize("place", [0.001, 0.37, 0.5, 0.97])
def test_a_clip_replaced_at_equal_size_and_time_is_another(
    tmp_path: Path, make_wav: MakeWav, how: str, place: float
) -> None:
    path = make_wav(seconds=9)
    before = facts_of(tmp_path / "c", path)
    replaced(path, changed_in(path, max(place, 0.001)), how)
    after = facts_of(tmp_path / "c", path)
    assert after == Audio(str(path)).facts()
    assert after.sha256 != before.sha256


def test_the_same_file_is_decoded_once(
    tmp_path: Path, make_wav: MakeWav, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = make_wav()
    before = facts_of(tmp_path / "c", path)
    monkeypatch.setattr(Audio, "facts", lambda self: pytest.fail("decoded again"))
    assert facts_of(tmp_path / "c", path) == before


def test_blocks_tell_files_apart_whose_times_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    path.write_bytes(bytes(BLOCK_BYTES * BLOCKS * 10))
    before = file_identity(str(path))
    for place in (0, BLOCK_BYTES * BLOCKS * 10 // 3, BLOCK_BYTES * BLOCKS * 10 - 1):
        content = bytearray(path.read_bytes())
        content[place] = 1
        path.write_bytes(content)
        assert file_identity(str(path)).blocks != before.blocks


def test_a_file_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "clip"
    path.write_bytes(b"one")
    first = file_identity(str(path))
    read: list[str] = []
    monkeypatch.setattr(file_identity_module, "_blocks", lambda path, size: read.append(path) or "blocks")
    assert (file_identity(str(path)), read) == (first, [])
    path.write_bytes(b"two")
    os.utime(path, ns=(1, 1))
    assert (file_identity(str(path)).blocks, read) == ("blocks", [str(path)])
    monkeypatch.setattr(file_identity_module, "_MOST_KNOWN", 1)
    path.with_suffix(".2").write_bytes(b"two")
    assert (file_identity(str(path.with_suffix(".2"))).blocks, file_identity(str(path)).blocks) == (
        "blocks",
    ) * 2
    assert len(read) == 3


def test_a_small_file_is_known_whole(tmp_path: Path) -> None:
    path = tmp_path / "clip"
    seen = set()
    for place in range(0, 3000, 100):
        path.write_bytes(bytes(place) + b"x" + bytes(3000 - place))
        seen.add(file_identity(str(path)).blocks)
    assert len(seen) == 30


def test_an_earlier_entry_is_believed_where_the_inode_is_as_old_as_the_content(
    tmp_path: Path, make_wav: MakeWav, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_wav()
    before = facts_of(tmp_path / "c", path)
    as_earlier(tmp_path / "c")
    monkeypatch.setattr(Audio, "facts", lambda self: pytest.fail("decoded again"))
    assert facts_of(tmp_path / "c", path) == before
    assert keys(tmp_path / "c" / FILE_NAME, memo_keys([Audio(str(path))])[0][Audio(str(path))].key)
    assert list(faults(tmp_path / "c" / FILE_NAME)) == []
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("answered", [True, False])
def test_an_earlier_entry_of_an_unpacked_clip_needs_an_answer_as_proof(
    tmp_path: Path,
    make_wav: MakeWav,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answered: bool,
) -> None:
    path = make_wav()
    os.utime(path, ns=(10**18, 10**18))  # as an archive unpacks it
    settled(path)
    before = facts_of(tmp_path / "c", path)
    if answered:
        with ResponseCache(tmp_path / "c") as store:
            list(store.answer(Said.from_args({}), [Request("a", (Audio(str(path)),))]))
    as_earlier(tmp_path / "c")
    decoded = []
    facts = Audio.facts
    monkeypatch.setattr(Audio, "facts", lambda self: decoded.append(self) or facts(self))
    assert facts_of(tmp_path / "c", path) == before
    assert len(decoded) == (0 if answered else 1)
    assert ("hashed again" in capsys.readouterr().err) is not answered


def test_an_earlier_entry_of_a_clip_replaced_since_is_not_believed(
    tmp_path: Path, make_wav: MakeWav, capsys: pytest.CaptureFixture[str]
) -> None:
    path = make_wav()
    with ResponseCache(tmp_path / "c") as store:
        list(store.answer(Said.from_args({}), [Request("a", (Audio(str(path)),))]))
    as_earlier(tmp_path / "c")
    replaced(path, changed_in(path, 0.5), "in place")
    with ResponseCache(tmp_path / "c") as store:
        answers = list(store.answer(Said.from_args({}), [Request("a", (Audio(str(path)),))]))
    assert [answer.cached for answer in answers] == [False]
    assert "1 clips are hashed again" in capsys.readouterr().err


def test_weights_replaced_at_equal_size_and_time_are_others(tmp_path: Path) -> None:
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    weights = folder / "model.safetensors"
    weights.write_bytes(bytes(100_000))
    with ResponseCache(tmp_path / "c") as store:
        before = folder_hash(folder, store)
    as_earlier(tmp_path / "c")
    with ResponseCache(tmp_path / "c") as store:
        assert folder_hash(folder, store) == before
    replaced(weights, changed_in(weights, 0.4), "in place")
    with ResponseCache(tmp_path / "c") as store:
        assert folder_hash(folder, store) == folder_hash(folder) != before


@pytest.mark.parametrize("transform", ["", "noise:snr=10,seed=1"])
def test_a_memo_key_says_its_path(tmp_path: Path, make_wav: MakeWav, transform: str) -> None:
    path = make_wav("a|1|2|b.wav")
    for audio in (Audio(str(path), transform=transform), Audio(str(path), 0.25, 0.5, transform)):
        key = memo_keys([audio])[0][audio]
        assert path_of_memo_key(key.key) == path_of_memo_key(key.earlier) == str(path)


def test_gone_audio_is_pruned_and_audio_that_is_there_is_not(tmp_path: Path, make_wav: MakeWav) -> None:
    here, gone = make_wav("here.wav"), make_wav("gone.wav")
    with ResponseCache(tmp_path / "c") as store:
        store.facts([Audio(str(here)), Audio(str(gone)), Audio(str(here), transform="noise:snr=10,seed=1")])
    gone.unlink()
    assert cache("prune", "--gone_audio", "--yes", folder=tmp_path / "c") == 0
    assert [path_of_memo_key(key) for key in keys(tmp_path / "c" / FILE_NAME, "audio/")] == [str(here)] * 2


def test_clips_are_looked_up_some_at_a_time(
    tmp_path: Path, make_wav: MakeWav, monkeypatch: pytest.MonkeyPatch
) -> None:
    clips = [Audio(str(make_wav(f"{n}.wav", 0.1 * (n + 1)))) for n in range(5)]
    absent = Audio(str(tmp_path / "no.wav"))
    monkeypatch.setattr(audio_memo, "KEYS_AT_ONCE", 2)
    for _ in range(2):  # decoded, then remembered
        with ResponseCache(tmp_path / "cache") as store:
            facts, errors = store.facts([*clips[:3], absent, *clips[3:], clips[0]])
        assert facts == {clip: clip.facts() for clip in clips}
        assert errors == {absent: f"{absent.path}: no such audio file"}
