"""Tests Aero-1-Audio in its published layout: loaded whole, and equal to Qwen2-Audio with the same weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from helpers.tiny_aero import make_aero, make_as_qwen2_audio
from helpers.tiny_model_cases import MODELS, Bench, Clips, answers, asked, built, press_of
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.errors import MarathonError

SECONDS = [95.0, 300.0, 330.0]


@pytest.fixture(scope="module")
def aero(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench_of("aero1", make_aero(tmp_path_factory.mktemp("aero")))


@pytest.fixture(scope="module")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return bench_of("qwen2_audio", make_as_qwen2_audio(tmp_path_factory.mktemp("qwen")))


def bench_of(name: str, folder: Path) -> Bench:
    return Bench(MODELS[name], folder, load(built(MODELS[name], folder)))


# -- loading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_is_loaded_and_none_is_left_over(tied: bool, tmp_path: Path) -> None:
    aero, qwen = make_aero(tmp_path / "aero", tied), make_as_qwen2_audio(tmp_path / "qwen", tied)
    adapter = built(MODELS["aero1"], aero)
    bench = bench_of("qwen2_audio", qwen)
    model, info = adapter.load_weights(type(bench.loaded.model), aero, output_loading_info=True)
    assert not any(info[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    ours, theirs = model.state_dict(), bench.loaded.model.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert (model.lm_head.weight is model.get_input_embeddings().weight) == tied
    assert model.config.text_config.rope_parameters["rope_theta"] == 1e6


@pytest.mark.parametrize("part", ["audio_modal_projector.linear.bias", "language_model.model.norm.weight"])
def test_a_checkpoint_without_a_tensor_is_refused(part: str, tmp_path: Path) -> None:
    folder = make_aero(tmp_path / "aero")
    tensors = load_file(folder / "model.safetensors")
    del tensors[part]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(MarathonError, match=r"lacks 1 weights of Qwen2AudioForConditionalGeneration"):
        load(built(MODELS["aero1"], folder))


def test_untied_embeddings_must_both_be_there(tmp_path: Path) -> None:
    folder = make_aero(tmp_path / "aero", tied=False)
    tensors = load_file(folder / "model.safetensors")
    del tensors["language_model.lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(MarathonError, match=r"lacks 1 weights of .*, first lm_head.weight"):
        load(built(MODELS["aero1"], folder))


def qwen2_audio(config: dict[str, Any]) -> None:
    config["model_type"] = "qwen2_audio"


def omni_encoder(config: dict[str, Any]) -> None:
    config["audio_config"]["model_type"] = "qwen2_5_omni_audio_encoder"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (qwen2_audio, "config.json has model_type qwen2_audio: aero1 loads aero$"),
        (
            omni_encoder,
            "has audio_config.model_type qwen2_5_omni_audio_encoder: aero1 loads qwen2_audio_encoder$",
        ),
    ],
)
def test_another_architecture_is_refused_before_weights_load(
    change: Callable[[dict[str, Any]], None], message: str, tmp_path: Path
) -> None:
    folder = make_aero(tmp_path / "aero")
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    change(config)
    (folder / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(MarathonError, match=message):
        built(MODELS["aero1"], folder).check()


# -- the chat ---------------------------------------------------------------------------------------------------------


def test_every_piece_of_30_s_is_a_run_of_its_own(aero: Bench) -> None:
    inputs = aero.adapter().prepare(aero.loaded, [asked(Audio("unread.wav"))], [[noise(71.0)]])
    audio = "<|AUDIO|>"
    assert aero.loaded.tokenizer.decode(inputs.tensors["input_ids"][0]) == (
        "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        f"{audio * 750}\n{audio * 750}\n{audio * 275}\n"
        "What is heard?<|im_end|>\n<|im_start|>assistant\n"
    )
    assert inputs.audio_tokens == [1775]


@pytest.mark.parametrize("system", ["", "Be brief."])
def test_a_checkpoint_without_a_template_gets_the_authors(system: str, aero: Bench, tmp_path: Path) -> None:
    folder = make_aero(tmp_path / "aero")
    (folder / "chat_template.json").unlink()
    file = folder / "tokenizer_config.json"
    settings = json.loads(file.read_text(encoding="utf-8"))
    language_models_own = "{{ messages[0]['content'] + '<|im_end|>' }}"
    file.write_text(json.dumps({**settings, "chat_template": language_models_own}), encoding="utf-8")
    told = bench_of("aero1", folder)
    assert told.loaded.chat_template == language_models_own
    chats = [
        bench.adapter(system_prompt=system).chat(bench.loaded, asked(Audio("unread.wav")), 2)
        for bench in (aero, told)
    ]
    assert chats[0] == chats[1]


# -- the same weights under other names -------------------------------------------------------------------------------


@pytest.mark.parametrize("seconds", SECONDS)
def test_answers_are_those_of_qwen2_audio(seconds: float, aero: Bench, qwen: Bench, clip: Clips) -> None:
    request = asked(clip(seconds))
    inputs = [
        bench.adapter().prepare(bench.loaded, [request], [[noise(seconds, int(seconds))]])
        for bench in (aero, qwen)
    ]
    assert inputs[0].tensors.keys() == inputs[1].tensors.keys()
    assert all(torch.equal(tensor, inputs[1].tensors[name]) for name, tensor in inputs[0].tensors.items())
    ours, theirs = aero.plain(request), qwen.plain(request)
    assert ours.error is None
    assert ours.text == theirs.text
    assert ours.usage.heard_seconds == pytest.approx(seconds, abs=0.1)


def test_with_a_press_too(aero: Bench, qwen: Bench, clip: Clips) -> None:
    request = asked(clip(33.0))
    for name in ("dart", "fastv", "snapkv"):
        press = press_of(name, aero.case, 0.9)
        (ours,), (theirs,) = (answers(bench.adapter(press), [request]) for bench in (aero, qwen))
        assert ours.error is None
        assert (ours.text, ours.usage.kept_tokens) == (theirs.text, theirs.usage.kept_tokens)
