"""Tests checkpoints in the states in which users have them: adapters, partial files, older layouts, own code."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers import tiny_chat_models, tiny_checkpoints
from helpers.tiny_model_cases import CASES, MODELS, asked, built, first_logits
from helpers.tiny_press_run import noise
from helpers.written_lora import write_lora
from marathon_eval.api.audio import Audio
from marathon_eval.backends.hf import lora, weights
from marathon_eval.backends.hf.engine import load as loading
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.inputs import default_template
from marathon_eval.errors import MarathonError
from marathon_eval.models.whisper import Whisper

Make = Callable[[str], Path]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Return each tiny checkpoint, written once."""
    made: dict[str, Path] = {}

    def make(name: str) -> Path:
        if name not in made:
            made[name] = tiny_chat_models.BUILDERS[name](tmp_path_factory.mktemp(name) / name)
        return made[name]

    return make


@pytest.fixture
def copied(published: Make, tmp_path: Path) -> Make:
    def copy(name: str) -> Path:
        return Path(shutil.copytree(published(name), tmp_path / "copies" / name))

    return copy


def logits(name: str, folder: Path, **args: Any) -> torch.Tensor:
    from helpers.tiny_model_cases import Bench

    case = CASES[name]
    adapter = built(case, folder, **args)
    there = Bench(case, folder, load(adapter))
    inputs = adapter.prepare(there.loaded, [asked(Audio("unread.wav"))], [[noise(2.0)]])
    return first_logits(there, inputs)


# -- adapters ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["qwen2_audio", "granite_speech"])
def test_an_adapter_beside_the_weights_or_named_by_peft_changes_the_answer(
    name: str, copied: Make, tmp_path: Path
) -> None:
    folder = copied(name)
    base = logits(name, folder)
    adapter = write_lora(folder, tmp_path / "lora", name)
    named = logits(name, folder, peft=str(adapter))
    assert (named - base).abs().max() > 1e-3
    before = built(CASES[name], folder).fingerprint
    for file in adapter.iterdir():
        shutil.copy(file, folder)
    if name == "granite_speech":
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**config, "has_lora_adapter": True}))
    torch.testing.assert_close(logits(name, folder), named)
    assert built(CASES[name], folder).fingerprint != before


def test_the_adapter_of_peft_is_in_the_fingerprint(copied: Make, tmp_path: Path) -> None:
    folder = copied("qwen2_audio")
    adapter = write_lora(folder, tmp_path / "lora")
    plain = built(CASES["qwen2_audio"], folder).fingerprint
    named = built(CASES["qwen2_audio"], folder, peft=str(adapter)).fingerprint
    assert "lora" not in plain
    assert named["lora"]["name"] == "lora"
    file = adapter / "adapter_model.safetensors"
    save_file({key: part + 1 for key, part in load_file(file).items()}, file)
    assert built(CASES["qwen2_audio"], folder, peft=str(adapter)).fingerprint != named


@pytest.mark.parametrize("beside", [True, False])
def test_an_adapter_without_its_weights_or_without_peft_is_refused(
    beside: bool, copied: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = copied("qwen2_audio")
    adapter = folder if beside else tmp_path / "lora"
    args = {} if beside else {"peft": str(adapter)}
    write_lora(folder, tmp_path / "lora")
    if beside:
        shutil.copytree(tmp_path / "lora", folder, dirs_exist_ok=True)
    find = lora.find_spec
    monkeypatch.setattr(lora, "find_spec", lambda name: None if name == "peft" else find(name))
    with pytest.raises(MarathonError, match=r"needs peft: pip install 'peft>=0.17'.*base model would answer"):
        built(CASES["qwen2_audio"], folder, **args).check()
    monkeypatch.undo()
    (adapter / "adapter_model.safetensors").unlink()
    with pytest.raises(MarathonError, match="no adapter_model.safetensors or adapter_model.bin"):
        built(CASES["qwen2_audio"], folder, **args).check()


def test_granites_adapter_may_not_be_missing(copied: Make) -> None:
    folder = copied("granite_speech")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "has_lora_adapter": True}))
    with pytest.raises(MarathonError, match=r"holds no adapter \(adapter_config.json"):
        built(CASES["granite_speech"], folder).check()


def test_an_adapter_of_another_model_is_refused(copied: Make, tmp_path: Path) -> None:
    adapter = write_lora(copied("qwen2_audio"), tmp_path / "lora")
    file = adapter / "adapter_model.safetensors"
    save_file({key.replace("layers.0.", "layers.9."): part for key, part in load_file(file).items()}, file)
    folder = tmp_path / "copies" / "qwen2_audio"
    with pytest.raises(MarathonError, match="have no place in this model .*belongs to another model"):
        load(built(CASES["qwen2_audio"], folder, peft=str(adapter)))


@pytest.mark.parametrize("name", ["./nowhere", "word", "a/b/c"])
def test_an_adapter_that_is_nowhere(name: str, published: Make) -> None:
    with pytest.raises(MarathonError, match=r"peft=.*: no such folder, and no name on the hub"):
        built(CASES["qwen2_audio"], published("qwen2_audio"), peft=name).check()


# -- partial files -------------------------------------------------------------------------------------------------------


POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4665a5\nsize 1208448\n"


@pytest.mark.parametrize("file", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_git_lfs_pointer_is_named(file: str, copied: Make) -> None:
    folder = copied("qwen2_audio")
    (folder / file).write_text(POINTER)
    with pytest.raises(MarathonError, match=rf"{file}: git-lfs pointers.*git lfs pull"):
        built(CASES["qwen2_audio"], folder).check()


@pytest.mark.parametrize("kept", [0, 5, 300, 0.5, -1])
def test_a_truncated_weight_file_is_named(kept: float, copied: Make) -> None:
    file = copied("qwen2_audio") / "model.safetensors"
    data = file.read_bytes()
    size = int(len(data) * kept) if 0 < kept < 1 else len(data) + int(kept) if kept < 0 else int(kept)
    file.write_bytes(data[:size])
    with pytest.raises(MarathonError, match=rf"{file}: is .*: download it again"):
        built(CASES["qwen2_audio"], file.parent).check()


def test_a_truncated_shard_is_named(copied: Make) -> None:
    shard = copied("qwen_omni") / "model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-100])
    with pytest.raises(MarathonError, match="its header promises .* bytes, it has .*: download it again"):
        built(MODELS["qwen_omni"], shard.parent).check()


# -- older layouts -------------------------------------------------------------------------------------------------------


def as_pickle(folder: Path) -> None:
    """Replace the safetensors file by what torch.save writes."""
    torch.save(load_file(folder / "model.safetensors"), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()


def test_a_checkpoint_of_bin_files_answers_the_same(copied: Make) -> None:
    folder = copied("qwen2_audio")
    expected = logits("qwen2_audio", folder)
    as_pickle(folder)
    built(CASES["qwen2_audio"], folder).check()
    torch.testing.assert_close(logits("qwen2_audio", folder), expected)
    file = folder / "pytorch_model.bin"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(MarathonError, match="is cut short: the end of the archive is missing"):
        built(CASES["qwen2_audio"], folder).check()


def test_a_tokenizer_without_a_pad_token_takes_batches(copied: Make, tmp_path: Path) -> None:
    folder = copied("qwen2_audio")
    config = json.loads((folder / "tokenizer_config.json").read_text())
    config.pop("pad_token")
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    adapter = built(CASES["qwen2_audio"], folder)
    loaded = load(adapter)
    requests = [asked(Audio("unread.wav")), asked(Audio("unread.wav"), "A longer question?")]
    inputs = adapter.prepare(loaded, requests, [[noise(2.0)], [noise(1.0)]])
    assert inputs.tensors["attention_mask"].min() == 0


NAMED = [{"name": "tools", "template": "T"}, {"name": "default", "template": tiny_checkpoints.CHAT_TEMPLATE}]


def test_of_named_chat_templates_the_default_is_filled(copied: Make) -> None:
    folder = copied("qwen2_audio")
    adapter = built(CASES["qwen2_audio"], folder)
    expected = adapter.chat(load(adapter), asked(Audio("unread.wav")), 1)
    for file in folder.glob("chat_template*"):
        file.unlink()
    config = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**config, "chat_template": NAMED}))
    adapter = built(CASES["qwen2_audio"], folder)
    assert adapter.chat(load(adapter), asked(Audio("unread.wav")), 1) == expected


def test_named_chat_templates_without_a_default_are_listed() -> None:
    assert default_template({"a": "x", "default": "y"}, "here") == "y"
    with pytest.raises(
        MarathonError, match="here: has the chat templates rag, tools, and none is named default"
    ):
        default_template(NAMED[:1] + [{"name": "rag", "template": "R"}], "here")


def test_whisper_without_its_token_for_no_timestamps_answers_the_same(tmp_path: Path, make_wav: Any) -> None:
    folder = tiny_checkpoints.make_whisper(tmp_path / "whisper")
    request = asked(Audio(str(make_wav(seconds=2))))

    def text() -> str:
        model = Whisper.from_args({"pretrained": str(folder), "device": "cpu"})
        ((_, response),) = model.generate([request])
        assert response.status == "ok", response.error
        return response.text

    expected = text()
    config = json.loads((folder / "generation_config.json").read_text())
    config.pop("no_timestamps_token_id")
    (folder / "generation_config.json").write_text(json.dumps(config))
    assert text() == expected


# -- kinds, devices, rates -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["audio_flamingo", "music_flamingo"])
def test_the_checkpoint_decides_the_kind_of_flamingo(name: str, published: Make) -> None:
    folder = published(name)
    kind, other = ("audio", "music") if name == "audio_flamingo" else ("music", "audio")
    adapter = built(CASES["audio_flamingo"], folder)
    assert adapter.fingerprint["kind"] == kind
    assert type(load(adapter).model).__name__.startswith(
        "AudioFlamingo3" if kind == "audio" else "MusicFlamingo"
    )
    with pytest.raises(MarathonError, match=f"which is kind={kind}, not kind={other}"):
        built(CASES["audio_flamingo"], folder, kind=other).check()


def test_flamingo_refuses_a_checkpoint_of_another_model(published: Make) -> None:
    with pytest.raises(
        MarathonError, match="model_type qwen2_audio: audio_flamingo loads audioflamingo3 and"
    ):
        built(CASES["audio_flamingo"], published("qwen2_audio")).check()


def test_weights_are_read_straight_to_a_gpu() -> None:
    assert loading.device_map(None, torch.device("cuda:1")) == {"": "cuda:1"}
    assert loading.device_map("auto", torch.device("cuda")) == "auto"
    assert loading.device_map(None, torch.device("cpu")) is None


def test_code_beside_the_weights_is_in_the_fingerprint_where_it_may_run(copied: Make) -> None:
    folder = copied("qwen2_audio")
    (folder / "modeling_own.py").write_text("A = 1\n")
    plain = built(CASES["qwen2_audio"], folder).fingerprint
    trusted = built(CASES["qwen2_audio"], folder, trust_remote_code=True).fingerprint
    assert ("code" in plain, "code" in trusted) == (False, True)
    (folder / "modeling_own.py").write_text("A = 2\n")
    assert built(CASES["qwen2_audio"], folder).fingerprint == plain
    assert built(CASES["qwen2_audio"], folder, trust_remote_code=True).fingerprint != trusted


@pytest.mark.parametrize("seconds", [6.3, 6.26, 29.99])
def test_a_rate_with_a_fraction_of_a_token_is_no_cut(seconds: float, published: Make) -> None:
    adapter = built(CASES["hf"], published("hf"))
    loaded = load(adapter)
    made, rate = loaded.features.made, 12.5

    def sparse(texts: Any, clips: Any) -> dict[str, torch.Tensor]:
        ids = torch.full((len(clips), 400), 0)
        for row, clip in enumerate(clips):
            ids[row, : int(len(clip) / 16000 * rate)] = loaded.features.token_id
        return {**made(texts, clips), "input_ids": ids}

    vars(type(loaded.features))  # the class is frozen: the instance's dict is set
    loaded.features.__dict__["made"] = sparse
    adapter.begin(loaded)
    adapter.token_rate = rate
    heard = adapter.hear(loaded, [noise(seconds)])
    assert heard.seconds == [pytest.approx(seconds, abs=0.001)]


def test_the_bin_files_of_a_checkpoint_are_those_of_its_index(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / weights.PICKLED_INDEX).write_text(
        json.dumps({"weight_map": {"a": "one.bin", "b": "two.bin"}})
    )
    assert weights.missing_shards(tmp_path, None) == ["one.bin", "two.bin"]
    (tmp_path / weights.SINGLE).write_bytes(b"")
    assert weights.missing_shards(tmp_path, None) == []
