"""Tests that weights and adapters which do not fit their model are refused, and no random ones answer."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from helpers.tiny_chat_models import BUILDERS
from helpers.tiny_model_cases import CASES, built
from helpers.written_lora import write_lora
from marathon_eval.backends.hf.engine.load import load
from marathon_eval.errors import MarathonError


@pytest.mark.parametrize("beside", [True, False])
def test_an_adapter_of_another_shape_is_refused(beside: bool, tmp_path: Path) -> None:
    folder = BUILDERS["qwen2_audio"](tmp_path / "checkpoint")
    adapter = write_lora(folder, tmp_path / "lora")
    file = adapter / "adapter_model.safetensors"
    save_file({key: part[:, :2].contiguous() for key, part in load_file(file).items()}, file)
    if beside:
        shutil.copytree(adapter, folder, dirs_exist_ok=True)
    message = "lacks 16 weights of Qwen2Audio" if beside else "have another shape than their place"
    with pytest.raises(MarathonError, match=message):
        load(built(CASES["qwen2_audio"], folder, **({} if beside else {"peft": str(adapter)})))


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    folder = BUILDERS["qwen2_audio"](tmp_path / "checkpoint")
    file = folder / "model.safetensors"
    tensors = load_file(file)
    name = next(key for key in tensors if key.endswith("layers.1.mlp.up_proj.weight"))
    save_file({**tensors, name: tensors[name][:8].contiguous()}, file, metadata={"format": "pt"})
    with pytest.raises(MarathonError, match=r"lacks 1 weights of Qwen2Audio.*layers.1.mlp.up_proj.weight"):
        load(built(CASES["qwen2_audio"], folder))


@pytest.mark.parametrize("change", ["renamed", "left out"])
def test_a_speech_adapter_of_phi_that_does_not_fit_is_refused(change: str, tmp_path: Path) -> None:
    folder = BUILDERS["phi4_mm"](tmp_path / "checkpoint")
    file = folder / "speech-lora" / "adapter_model.safetensors"
    kept = {
        key: part for key, part in load_file(file).items() if change == "renamed" or "layers.0." not in key
    }
    save_file({key.replace("layers.0.", "layers.9."): part for key, part in kept.items()}, file)
    fault = (
        "4 tensors of the adapter have no place" if change == "renamed" else "4 places of the adapter got no"
    )
    with pytest.raises(MarathonError, match=f"speech-lora: {fault}.*belongs to another model"):
        load(built(CASES["phi4_mm"], folder))
