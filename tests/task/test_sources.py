"""Tests where clips are found, and that paths outside the dataset's root are refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.audiomarathon_prompts import load_shipped
from helpers.minimal_task import HEARD, KEYS, docs_of, errors, load, touch
from marathon_eval.errors import AudioError, MarathonError
from marathon_eval.task.data.sources import LocalFolder, inside, locate, match_tree


class TestAudioPaths:
    def test_beside_the_metadata_or_in_wav(self, tmp_path: Path) -> None:
        touch(tmp_path / "meta" / "x" / "1.wav")
        touch(tmp_path / "meta" / "wav" / "x" / "2.wav")
        source = LocalFolder(tmp_path)
        assert locate(source, "meta", "x/1.wav") == "meta/x/1.wav"
        assert locate(source, "meta", "x/2.wav") == "meta/wav/x/2.wav"
        assert locate(source, "meta", "x/3.wav") is None

    @pytest.mark.parametrize(
        "name", ["../up.wav", "/etc/passwd", "a/../../up.wav", "", ".", "C:\\x.wav", "..\\up.wav", "a\0b"]
    )
    def test_a_path_that_leaves_the_root_is_a_row_error(self, tmp_path: Path, name: str) -> None:
        root = tmp_path / "root"
        root.mkdir()
        touch(tmp_path / "up.wav")
        docset = docs_of(root, HEARD, [{"q": "?", "a": "x", "path": name}])
        message = f"is no path inside the dataset's root {root}: write it relative to the folder that --data_dir names"
        assert message in errors(docset)[0]
        with pytest.raises(AudioError):
            inside(name)

    def test_a_file_that_was_found_does_not_open_the_way_to_it(self, tmp_path: Path) -> None:
        touch(tmp_path / "up.wav")
        touch(tmp_path / "root" / "a.wav")
        source = LocalFolder(tmp_path / "root")
        assert source.exists("../up.wav")
        with pytest.raises(AudioError, match="is no path inside"):
            source.path("../up.wav")
        assert source.exists("a.wav")
        assert source.path("a.wav") == str(tmp_path / "root" / "a.wav")
        assert not source.exists("b.wav")
        assert not source.exists("a\0b")

    def test_links_out_of_the_root_are_row_errors(self, tmp_path: Path) -> None:
        root = tmp_path / "root"
        root.mkdir()
        outside = touch(tmp_path / "secret" / "up.wav")
        (root / "file.wav").symlink_to(outside)
        (root / "folder").symlink_to(outside.parent)
        (root / "own.wav").symlink_to(touch(root / "real.wav"))
        rows = [{"q": "?", "a": "x", "path": path} for path in ("file.wav", "folder/up.wav", "own.wav")]
        docset = docs_of(root, HEARD, rows)
        assert [doc.error is None for doc in docset.docs] == [False, False, True]
        assert all("leads outside the dataset's root" in error for error in errors(docset))

    def test_a_snapshot_of_the_hubs_cache_may_link_to_its_blobs(self, tmp_path: Path) -> None:
        repo = tmp_path / "datasets--a--b"
        blob = touch(repo / "blobs" / "abc")
        snapshot = repo / "snapshots" / "f00"
        snapshot.mkdir(parents=True)
        (snapshot / "x.wav").symlink_to(blob)
        assert Path(LocalFolder(snapshot).path("x.wav")).is_file()
        (snapshot / "y.wav").symlink_to(touch(tmp_path / "secret"))
        with pytest.raises(AudioError, match="outside"):
            LocalFolder(snapshot).path("y.wav")

    def test_stretches_and_several_clips(self, tmp_path: Path) -> None:
        for name in ("a.wav", "b.wav"):
            touch(tmp_path / name)
        clip = {"path": "a.wav", "start": 1, "stop": 2.5}
        docset = docs_of(tmp_path, HEARD, [{"q": "?", "a": "x", "path": [clip, "b.wav"]}])
        first, second = docset.docs[0].audio
        assert (first.start, first.stop, Path(second.path).name) == (1.0, 2.5, "b.wav")
        assert errors(docs_of(tmp_path, HEARD, [{"q": "?", "a": "x", "path": {"start": 1}}]))

    def test_a_template_may_make_the_path(self, tmp_path: Path) -> None:
        touch(tmp_path / "en" / "7.wav")
        keys = KEYS + 'doc_to_audio: "{{ lang }}/{{ id }}.wav"\n'
        assert docs_of(tmp_path, keys, [{"q": "?", "a": "x", "lang": "en", "id": 7}]).docs[0].audio_names == (
            "en/7.wav",
        )

    @given(st.text(max_size=20))
    def test_a_clean_name_is_always_below_the_root(self, name: str) -> None:
        try:
            clean = inside(name)
        except AudioError:
            return
        assert not clean.startswith("/")
        assert ".." not in clean.split("/")


class TestFileTree:
    def test_captures_words_and_order(self, tmp_path: Path) -> None:
        for name in (
            "H/real/b.wav",
            "H/real/a.wav",
            "H/fake/a.wav",
            "H/other/a.wav",
            "H/real/a.txt",
            "H/real/x/a.wav",
        ):
            touch(tmp_path / name)
        rows = match_tree(LocalFolder(tmp_path), ["H/no/{label}.wav", "H/{label:real|fake}/{name}.wav"], "x")
        assert rows == [
            {"path": "H/fake/a.wav", "label": "fake", "name": "a"},
            {"path": "H/real/a.wav", "label": "real", "name": "a"},
            {"path": "H/real/b.wav", "label": "real", "name": "b"},
        ]
        with pytest.raises(MarathonError, match=r"x: .* holds no file like H/\{label\}\.flac"):
            match_tree(LocalFolder(tmp_path), ["H/{label}.flac"], "x")

    @pytest.mark.parametrize("folder", ["HAD", "HAD/concatenated_audio"])
    def test_both_layouts_of_had(self, tmp_path: Path, folder: str) -> None:
        for name in ("real/1.wav", "real/2.wav", "fake/1.wav"):
            touch(tmp_path / folder / name)
        docset = load_shipped("had").docs(str(tmp_path))
        assert [(doc.target, doc.audio_names[0]) for doc in docset.docs] == [
            ("fake", f"{folder}/fake/1.wav"),
            ("real", f"{folder}/real/1.wav"),
        ]
        assert docset.n_filtered == 1


class TestDataDir:
    def test_sounds_are_looked_for_below_data_dir_where_the_rows_stand_beside_the_yaml(
        self, tmp_path: Path
    ) -> None:
        home, sounds = tmp_path / "home", tmp_path / "sounds"
        (home / "sub").mkdir(parents=True)
        touch(sounds / "a.wav")
        touch(sounds / "sub" / "wav" / "b.wav")
        touch(home / "sub" / "c.wav")
        rows = [{"q": "?", "a": "x", "path": f"{name}.wav"} for name in "abcd"]
        (home / "sub" / "rows.json").write_text(json.dumps(rows))
        (home / "own.yaml").write_text(
            "dataset_path: json\ndataset_kwargs: {data_files: sub/rows.json}\n" + HEARD
        )
        docset = load(home / "own.yaml").docs(str(sounds))
        found = [doc.audio[0].path if doc.audio else None for doc in docset.docs]
        assert found == [
            str(sounds / "a.wav"),
            str(sounds / "sub" / "wav" / "b.wav"),
            str(home / "sub" / "c.wav"),
            None,
        ]
        assert all(str(folder) in errors(docset)[0] for folder in (home, sounds))

    def test_a_linked_folder_inside_the_root_is_walked_once(self, tmp_path: Path) -> None:
        touch(tmp_path / "store" / "real" / "x.wav")
        (tmp_path / "audio").symlink_to(tmp_path / "store")
        (tmp_path / "store" / "loop").symlink_to(tmp_path)
        (tmp_path / "out").symlink_to(tmp_path.parent)
        source = LocalFolder(tmp_path)
        rows = match_tree(source, ["audio/{label:real|fake}/{name}.wav"], "x.yaml:1")
        assert rows == [{"path": "audio/real/x.wav", "label": "real", "name": "x"}]
        assert not any(name.startswith("out") for name in source.names(""))
