"""Writes an adapter of peft for a tiny checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from helpers.tiny_model_cases import CASES, built
from marathon_eval.backends.hf.engine.load import load


def write_lora(checkpoint: Path, folder: Path, name: str = "qwen2_audio") -> Path:
    """Write a LoRA for a checkpoint's language model into `folder`, in peft's layout."""
    from peft import LoraConfig, get_peft_model_state_dict

    model = load(built(CASES[name], checkpoint)).model
    torch.manual_seed(1)
    config = LoraConfig(
        r=4, target_modules=r".*layers\.\d+\.self_attn\.(q_proj|v_proj)", init_lora_weights=False
    )
    model.add_adapter(config, adapter_name="default")
    folder.mkdir(exist_ok=True, parents=True)
    config.save_pretrained(str(folder))
    state = get_peft_model_state_dict(model, adapter_name="default")
    save_file(
        {f"base_model.model.{key}": part.contiguous() for key, part in state.items()},
        folder / "adapter_model.safetensors",
    )
    return folder
