"""Tests the identity of weights, which files are downloaded, and the errors when they are not available."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from helpers import hub_server, tiny_checkpoints
from marathon_eval.backends.hf import weights
from marathon_eval.cache.answers import ResponseCache
from marathon_eval.errors import MarathonError
from marathon_eval.models.qwen_omni import QwenOmni

ROOT = Path(__file__).resolve().parents[3]
NAME = "someone/tiny-omni"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a checkpoint; nothing here loads it."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    (made / "config.json").write_text("{}")
    (made / "model.safetensors").write_bytes(b"weights")
    (made / "README.md").write_text("one")
    return made


def test_a_folder_is_its_config_and_weights_and_nothing_else(folder: Path) -> None:
    before = weights.folder_hash(folder)
    (folder / "README.md").write_text("two")
    assert weights.folder_hash(folder) == before
    assert weights.folder_hash(folder.rename(folder.with_name("moved"))) == before


@pytest.mark.parametrize(
    "file", ["config.json", "model.safetensors", "tokenizer.json", "chat_template.jinja"]
)
def test_every_file_that_can_change_an_answer_counts(folder: Path, file: str) -> None:
    before = weights.folder_hash(folder)
    (folder / file).write_text("other")
    assert weights.folder_hash(folder) != before


def test_weights_are_hashed_once(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ResponseCache(tmp_path / "memo") as memo:
        first = weights.folder_hash(folder, memo)
        monkeypatch.setattr(weights, "file_hash", lambda path: pytest.fail("hashed again"))
        assert weights.folder_hash(folder, memo) == first
        monkeypatch.undo()
        (folder / "model.safetensors").write_bytes(b"others!")
        assert weights.folder_hash(folder, memo) != first


@pytest.mark.parametrize("index", ["model.safetensors.index.json", "pytorch_model.bin.index.json"])
def test_a_shard_in_another_folder_counts_where_the_index_names_it(folder: Path, index: str) -> None:
    (folder / "parts").mkdir()
    (folder / "parts" / "one.safetensors").write_bytes(b"one")
    before = weights.folder_hash(folder)
    (folder / "parts" / "one.safetensors").write_bytes(b"two")
    assert weights.folder_hash(folder) == before
    (folder / index).write_text(json.dumps({"weight_map": {"a": "parts/one.safetensors", "b": "absent"}}))
    before = weights.folder_hash(folder)
    (folder / "parts" / "one.safetensors").write_bytes(b"six")
    assert weights.folder_hash(folder) != before


@pytest.mark.parametrize("missing", ["config.json", "model.safetensors"])
def test_a_folder_without_a_checkpoint(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(MarathonError, match="holds no checkpoint"):
        weights.folder_hash(folder)


@pytest.mark.parametrize("name", ["./nowhere", "no/such/folder", "word", "~/nowhere"])
def test_a_path_that_does_not_exist(name: str) -> None:
    with pytest.raises(MarathonError, match="no such folder, and no name on the hub"):
        weights.local_folder(name)


def test_only_the_shards_with_the_prefix_are_needed(folder: Path) -> None:
    assert weights.missing_shards(folder, "thinker.") == []
    names = {"thinker.a": "one", "thinker.b": "two", "talker.c": "two", "talker.d": "three"}
    (folder / weights.INDEX).write_text(json.dumps({"weight_map": names}))
    assert weights.needed_shards(folder, "thinker.") == ["one", "two"]
    assert weights.needed_shards(folder, "other.") == ["one", "three", "two"]
    assert weights.needed_shards(folder, None) == ["one", "three", "two"]


def test_a_broken_index(folder: Path) -> None:
    (folder / weights.INDEX).write_text('{"weight_map": 3}')
    with pytest.raises(MarathonError, match="is no index of weights"):
        weights.missing_shards(folder, None)


def model(**args: Any) -> QwenOmni:
    built = QwenOmni.from_args(args)
    assert isinstance(built, QwenOmni)
    return built


def test_weights_out_of_reach_are_named_with_the_way_out() -> None:
    # HF_HUB_OFFLINE is set for all tests
    with pytest.raises(MarathonError, match=r"Qwen/Qwen2.5-Omni-7B.*--model_args pretrained=FOLDER") as told:
        model().check()
    assert "\n" not in str(told.value)
    with pytest.raises(MarathonError, match="no weights: Qwen/Qwen2.5-Omni-7B"):
        list(model().generate([]))


def test_pinned_weights_have_a_fingerprint_without_being_there() -> None:
    assert model().fingerprint["revision"] == QwenOmni.pinned["Qwen/Qwen2.5-Omni-7B"]
    assert model(revision="a" * 40).fingerprint["revision"] == "a" * 40
    with pytest.raises(MarathonError, match="no weights: someone/else"):
        print(model(pretrained="someone/else").fingerprint)


def test_a_folder_has_no_revision(folder: Path) -> None:
    with pytest.raises(MarathonError, match="is a folder, and a folder has no revisions"):
        print(model(pretrained=str(folder), revision="main").fingerprint)


def test_a_folder_is_known_by_content_not_by_place(folder: Path, tmp_path: Path) -> None:
    (folder / "chat_template.json").write_text('{"chat_template": "hello"}')
    before = model(pretrained=str(folder)).fingerprint
    (tmp_path / "deeper").mkdir()
    moved = folder.rename(tmp_path / "deeper" / folder.name)
    assert model(pretrained=str(moved)).fingerprint == before
    (moved / "chat_template.json").write_text('{"chat_template": "other"}')
    changed = model(pretrained=str(moved)).fingerprint
    assert {key for key in before if before[key] != changed[key]} == {"weights", "chat_template"}


ASK = """
import json, sys
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.models.qwen_omni import QwenOmni

model = QwenOmni.from_args({"pretrained": sys.argv[1], "device": "cpu"})
fingerprint = model.fingerprint
assert "torch" not in sys.modules and "transformers" not in sys.modules
requests = [Request("What?", (Audio(wav),), Generation(max_new_tokens=4)) for wav in sys.argv[2:]]
answers = [response.status for _, response in model.generate(requests)] if requests else []
print(json.dumps({"revision": fingerprint.get("revision"), "answers": answers, "folder": model.folder().name}))
"""


def asked(name: str, *wavs: Path, home: Path, hub: str) -> dict[str, Any]:
    """Answer about each WAV in a process of its own, with a hub cache of its own."""
    own = {
        "HF_HOME": str(home),
        "HF_HUB_DISABLE_XET": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_OFFLINE": "0",
        "HF_ENDPOINT": hub,
    }
    command = [sys.executable, "-c", ASK, name, *map(str, wavs)]
    out = subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, cwd=ROOT, check=False
    )
    assert out.returncode == 0, out.stderr
    found: dict[str, Any] = json.loads(out.stdout)
    return found


def test_a_hub_is_asked_for_the_thinkers_files_only(tmp_path: Path, make_wav: Any) -> None:
    published = tiny_checkpoints.make_qwen_omni(tmp_path / "published")
    for unneeded in ("spk_dict.pt", "README.md", "training_args.bin"):
        (published / unneeded).write_bytes(b"never asked for")
    home = tmp_path / "home"
    with hub_server.serving(published, NAME) as hub:
        first = asked(NAME, make_wav(seconds=2), home=home, hub=hub.url)
        assert first == {"revision": hub_server.COMMIT, "answers": ["ok"], "folder": hub_server.COMMIT}
        assert set(hub.files) == {
            "chat_template.json",
            "config.json",
            "generation_config.json",
            "model-00001-of-00002.safetensors",
            "model.safetensors.index.json",
            "preprocessor_config.json",
            "tokenizer.json",
            "tokenizer_config.json",
        }
        assert len(hub.files) == len(set(hub.files)), "asked twice"
    assert asked(NAME, home=home, hub=hub.url) == {**first, "answers": []}, "a second run needs no hub"
