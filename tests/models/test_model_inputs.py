"""Compares models' inputs with the official processors', and tests what single chat models need."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from safetensors.torch import load_file, save_file

from helpers.tiny_model_cases import (
    MODELS,
    ROOT,
    TORCHVISION,
    Bench,
    Benches,
    Clips,
    answers,
    asked,
    built,
    first_logits,
)
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError
from marathon_eval.models.granite_speech import LogMel
from marathon_eval.models.voxtral import wav

# -- Phi-4's speech adapter -----------------------------------------------------------------------------------------------


def test_phi4_answers_with_its_speech_adapter(bench: Benches) -> None:
    there = bench("phi4_mm")
    kept = load_file(there.folder / "speech-lora" / "adapter_model.safetensors")
    active = there.loaded.model.state_dict()
    lora = {name: part for name, part in active.items() if "lora_" in name}
    assert len(lora) == len(kept) > 0
    for name, part in kept.items():
        inside = name.removeprefix("base_model.model.").replace(".weight", ".speech.weight")
        assert torch.equal(lora[inside], part)
    inputs = there.adapter().prepare(there.loaded, [asked(Audio("unread.wav"))], [[noise(3.0)]])
    with_speech = first_logits(there, inputs)
    there.loaded.model.disable_adapters()
    try:
        assert (first_logits(there, inputs) - with_speech).abs().max() > 1e-3
    finally:
        there.loaded.model.enable_adapters()


def test_phi4_without_its_speech_adapter_is_refused(bench: Benches, tmp_path: Path) -> None:
    there = bench("phi4_mm")
    bare = tmp_path / "bare"
    shutil.copytree(there.folder, bare, ignore=shutil.ignore_patterns("speech-lora"))
    adapter = built(there.case, bare)
    with pytest.raises(MarathonError, match="has no speech-lora/adapter_config.json"):
        adapter.check()


def test_another_speech_adapter_is_another_model(bench: Benches, tmp_path: Path) -> None:
    there = bench("phi4_mm")
    other = tmp_path / there.folder.name
    shutil.copytree(there.folder, other)
    assert built(there.case, other).fingerprint == built(there.case, there.folder).fingerprint
    file = other / "speech-lora" / "adapter_model.safetensors"
    save_file({name: part + 1 for name, part in load_file(file).items()}, file)
    assert built(there.case, other).fingerprint != built(there.case, there.folder).fingerprint


# -- any model by arguments -----------------------------------------------------------------------------------------------


def test_what_arguments_say_equals_an_adapter_of_its_own(bench: Benches, clip: Clips) -> None:
    told, own = bench("hf"), bench("qwen2_audio")
    requests, waves = [asked(clip(41.0)), asked(clip(3.0))], [[noise(41.0)], [noise(3.0)]]
    inputs = [there.adapter().prepare(there.loaded, requests, waves) for there in (told, own)]
    for name, tensor in inputs[1].tensors.items():
        torch.testing.assert_close(inputs[0].tensors[name].to(tensor.dtype), tensor, atol=0, rtol=0)
    assert inputs[0].audio_tokens == inputs[1].audio_tokens


def test_a_processor_that_cuts_without_a_word_is_caught(bench: Benches, clip: Clips) -> None:
    (response,) = answers(bench("hf").adapter(segment_seconds=None), [asked(clip(95.0))])
    assert response.status == "error"
    assert "audio was cut: 95.00 s were sent, the model would hear 30.00 s" in str(response.error)


# -- features of our own -----------------------------------------------------------------------------------------------------


def test_granites_features_are_torchaudios() -> None:
    time = np.arange(16000)
    chirp = np.sin(time * 0.05 * (1 + time / 16000)).astype(np.float32)
    mel = LogMel()(torch.from_numpy(chirp)[None])[0]
    # torchaudio 2.11.0's MelSpectrogram, logged, scaled and stacked as transformers' extractor does
    places = [0, 3, 20, 79, 100, 159]
    expected = {
        10: [0.80237, 1.10033, *[-0.00647] * 4],
        -1: [0.23891, 0.14996, 0.38428, -0.00647, 0.90247, 0.09575],
    }
    for row, values in expected.items():
        torch.testing.assert_close(mel[row, places], torch.tensor(values), atol=2e-5, rtol=0)
    assert float(mel.mean()) == pytest.approx(0.2576286, abs=1e-6)


def test_a_missing_package_is_named_with_its_extra(bench: Benches, monkeypatch: pytest.MonkeyPatch) -> None:
    adapter = bench("qwen2_audio").adapter()
    monkeypatch.setattr(type(adapter), "needs", {"no_such_module": "voxtral"})
    with pytest.raises(MarathonError, match=r"needs no_such_module: pip install 'marathon-eval\[voxtral\]'"):
        adapter.check()


# -- the official processors ------------------------------------------------------------------------------------------------


def official(name: str, there: Bench) -> Any:
    """The processor that the model's authors mean, with eyes that nothing is shown to."""
    made: dict[str, Callable[..., Any]] = {
        "qwen2_audio": lambda ear, words: transformers.Qwen2AudioProcessor(ear, words),
        "audio_flamingo": lambda ear, words: transformers.AudioFlamingo3Processor(ear, words),
        "music_flamingo": lambda ear, words: transformers.MusicFlamingoProcessor(ear, words),
        "qwen3_omni": lambda ear, words: transformers.Qwen3OmniMoeProcessor(
            transformers.Qwen2VLImageProcessor(), transformers.Qwen2VLVideoProcessor(), ear, words
        ),
        "phi4_mm": lambda ear, words: transformers.Phi4MultimodalProcessor(
            transformers.Phi4MultimodalImageProcessorFast(), ear, words
        ),
        "gemma3n": lambda ear, words: transformers.Gemma3nProcessor(
            ear, transformers.SiglipImageProcessor(), words
        ),
        "gemma4": lambda ear, words: transformers.Gemma4Processor(
            ear, transformers.Gemma4ImageProcessor(), words, transformers.Gemma4VideoProcessor()
        ),
        "gemma4_unified": lambda ear, words: transformers.Gemma4UnifiedProcessor(
            ear,
            transformers.Gemma4UnifiedImageProcessor(),
            words,
            transformers.Gemma4UnifiedVideoProcessor(),
        ),
        "qwen3_asr": lambda ear, words: transformers.Qwen3ASRProcessor(ear, words),
        "glm_asr": lambda ear, words: transformers.GlmAsrProcessor(ear, words),
        "nemotron_h_omni": lambda ear, words: transformers.NemotronH_Omni_Reasoning_V3Processor(
            transformers.NemotronH_Omni_Reasoning_V3ImageProcessor(),
            transformers.NemotronH_Omni_Reasoning_V3VideoProcessor(),
            words,
            ear,
        ),
    }
    return made[name](there.adapter().extractor(there.folder), there.loaded.tokenizer)


SEEING = (
    ["qwen3_omni", "phi4_mm", "gemma3n", "gemma4", "gemma4_unified", "nemotron_h_omni"] if TORCHVISION else []
)


HEARING = ["qwen2_audio", "audio_flamingo", "music_flamingo", "qwen3_asr", "glm_asr"]


@pytest.mark.parametrize("name", [*HEARING, *SEEING])
@pytest.mark.parametrize("seconds", [2.03, 30.0, 71.7])
def test_inputs_are_those_of_the_official_processor(name: str, seconds: float, bench: Benches) -> None:
    there = bench(name)
    adapter, wave, request = there.adapter(), noise(seconds), asked(Audio("unread.wav"))
    ours = adapter.prepare(there.loaded, [request], [[wave]]).tensors
    clips = list(adapter.split(wave))
    chat = adapter.chat(there.loaded, request, len(clips))
    begun = chat.startswith(there.loaded.tokenizer.bos_token or "no <bos>")
    theirs = official(name, there)(
        text=[chat],
        # as `apply_chat_template(tokenize=True)` of every processor does
        text_kwargs={"add_special_tokens": not begun},
        audio=clips,
        return_tensors="pt",
        audio_kwargs={"sampling_rate": RATE},
    )
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key].to(tensor.dtype), atol=0, rtol=0)


@pytest.mark.parametrize(
    ("marked", "wanted", "told"),
    [
        ("not slow", "gemma3n or (official and (qwen3_omni or phi4_mm or gemma4 or nemotron))", "32 passed"),
        pytest.param("slow", "gemma3n", " passed", marks=[pytest.mark.slow, pytest.mark.timeout(900)]),
    ],
    ids=["quick", "long clips"],
)
def test_what_needs_torchvision_passes_beside_it(marked: str, wanted: str, told: str) -> None:
    if TORCHVISION:
        return  # it was all collected here
    script = Path(__file__).resolve().parents[1] / "helpers" / "with_torchvision.py"
    files = [__file__, str(Path(__file__).with_name("test_models.py"))]
    # every dtype under every kernel
    files += [str(Path(__file__).with_name("test_kernels_and_dtypes.py"))] * (marked == "slow")
    command = [sys.executable, str(script), *files, "-q", "-p", "no:xdist", "-m", marked, "-k", wanted]
    out = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=dict(os.environ))
    assert out.returncode == 0, out.stdout[-4000:]
    assert told in out.stdout


@pytest.mark.parametrize("seconds", [2.03, 30.0, 71.7])
def test_voxtrals_inputs_are_those_of_the_official_processor(seconds: float, bench: Benches) -> None:
    there = bench("voxtral")
    adapter, wave, request = there.adapter(), noise(seconds), asked(Audio("unread.wav"))
    ours = adapter.prepare(there.loaded, [request], [[wave]]).tensors
    official = transformers.VoxtralProcessor(_features(there), there.loaded.tokenizer)
    theirs = official.apply_chat_template([adapter.turns(request, [{"type": "audio", "base64": wav(wave)}])])
    for key, tensor in ours.items():
        torch.testing.assert_close(tensor, theirs[key].to(tensor.dtype), atol=0, rtol=0)


def _features(there: Bench) -> Any:
    return transformers.AutoFeatureExtractor.from_pretrained(there.folder)


@pytest.mark.parametrize("name", ["gemma4", "gemma4_unified", *(["gemma3n"] if TORCHVISION else [])])
def test_a_prompt_begins_with_one_bos(name: str, bench: Benches) -> None:
    there = bench(name)
    tokenizer = there.loaded.tokenizer
    assert tokenizer("x")["input_ids"][0] == tokenizer.bos_token_id, "this tokenizer adds no <bos>"
    ids = there.adapter().prepare(there.loaded, [asked(Audio("unread.wav"))], [[noise(2.0)]]).tensors
    assert (ids["input_ids"] == tokenizer.bos_token_id).sum() == 1


def test_a_processor_whose_tokenizer_adds_bos_writes_it_once(bench: Benches, tmp_path: Path) -> None:
    folder = tmp_path / "with_bos"
    shutil.copytree(bench("hf").folder, folder)
    config = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    start = config["added_tokens"][0]
    bos = {"SpecialToken": {"id": start["content"], "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    named = {start["content"]: {"id": start["content"], "ids": [start["id"]], "tokens": [start["content"]]}}
    config["post_processor"] = {
        "type": "TemplateProcessing",
        "single": [bos, text],
        "pair": [bos, text, text],
        "special_tokens": named,
    }
    (folder / "tokenizer.json").write_text(json.dumps(config), encoding="utf-8")
    adapter = built(MODELS["hf"], folder)
    loaded = load(adapter)
    assert loaded.tokenizer("x")["input_ids"][0] == start["id"]
    inputs = adapter.prepare(loaded, [asked(Audio("unread.wav"))], [[noise(2.0)]])
    assert not (inputs.tensors["input_ids"] == start["id"]).any(), "the template writes no such token"


def test_the_date_in_a_template_is_the_same_on_every_day(bench: Benches) -> None:
    there = bench("granite_speech")
    dated = "Today's Date: {{ strftime_now('%B %d, %Y') }}. " + str(there.loaded.chat_template)
    loaded = replace(there.loaded, chat_template=dated)
    chat = there.adapter().chat(loaded, asked(Audio("unread.wav")), 1)
    assert chat.startswith("Today's Date: January 01, 2025. ")


def test_gemma4_hears_after_it_reads(bench: Benches) -> None:
    there = bench("gemma4")
    chat = there.adapter().chat(there.loaded, asked(Audio("unread.wav")), 1)
    assert chat.index("What is heard?") < chat.index("<|audio|>")
