"""Writes a small checkpoint of Nemotron 3 Nano Omni's architecture, under the names of its released config.json."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers

from helpers.tiny_checkpoints import byte_tokenizer
from helpers.tiny_parts import HIDDEN, saved

NEMOTRON_TOKENS = (
    *("<unk>", "<|im_start|>", "<|im_end|>", "<image>", "<video>", "<img>", "</img>"),
    *("<so_embedding>", "<so_start>", "<so_end>", "<think>", "</think>"),
)
#: Every kind of layer. As in the released model, the first one is a Mamba layer.
LAYERS = ("linear_attention", "moe", "full_attention", "linear_attention", "mlp", "full_attention")
#: Turns of plain text; a thought is begun, or an empty one is written where thinking is switched off.
NEMOTRON_TEMPLATE = """\
{%- for message in messages -%}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor -%}
{%- if add_generation_prompt -%}<|im_start|>assistant
{% if enable_thinking | default(true) %}<think>
{% else %}<think></think>{% endif %}{% endif -%}
"""
#: What the released config.json calls the fields that transformers saves under other names.
RELEASED = {
    "text_config": "llm_config",
    "audio_config": "sound_config",
    "image_token_id": "img_context_token_id",
    "video_token_id": "video_context_token_id",
    "audio_token_id": "sound_context_token_id",
    "vision_hidden_size": "vit_hidden_size",
}


def make_nemotron(folder: Path) -> Path:
    """Write Nemotron 3 Nano Omni with six layers and four experts; its config.json names the encoder as the released one does."""
    tokenizer = byte_tokenizer(NEMOTRON_TOKENS, {}, pad="<unk>", eos="<|im_end|>")
    ids = dict(zip(NEMOTRON_TOKENS, tokenizer.convert_tokens_to_ids([*NEMOTRON_TOKENS]), strict=True))
    config = transformers.NemotronH_Omni_Reasoning_V3_Config(
        text_config=_language(tokenizer, ids["<|im_start|>"]),
        audio_config=_encoder(),
        vision_config=_unused_eye(),
        projector_hidden_size=16,
        vision_hidden_size=16,
        image_token_id=ids["<image>"],
        video_token_id=ids["<video>"],
        audio_token_id=ids["<so_embedding>"],
    )
    features = transformers.ParakeetFeatureExtractor(feature_size=32)
    saved(
        *(folder, transformers.NemotronH_Omni_Reasoning_V3, config, tokenizer, features),
        template=NEMOTRON_TEMPLATE,
    )
    # the released files describe no feature extractor of sound
    (folder / "preprocessor_config.json").unlink()
    file = folder / "config.json"
    written = json.loads(file.read_text(encoding="utf-8"))
    released = {RELEASED.get(name, name): value for name, value in written.items()}
    released["model_type"] = "NemotronH_Nano_Omni_Reasoning_V3"
    encoder = {
        k: v for k, v in released["sound_config"].items() if k not in ("attention_bias", "scale_input")
    }
    released["sound_config"] = {**encoder, "model_type": "parakeet"}
    file.write_text(json.dumps(released), encoding="utf-8")
    return folder


def _language(tokenizer: Any, start: int) -> dict[str, Any]:
    return {
        "model_type": "nemotron_h",
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "layers_block_type": [*LAYERS],
        "intermediate_size": 48,
        "max_position_embeddings": 32768,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 8,
        "ssm_state_size": 8,
        "mamba_num_heads": 4,
        "mamba_head_dim": 16,
        "n_groups": 2,
        "chunk_size": 32,
        "n_routed_experts": 4,
        "num_experts_per_tok": 2,
        "moe_intermediate_size": 16,
        "moe_shared_expert_intermediate_size": 16,
        "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": start,
        "eos_token_id": tokenizer.eos_token_id,
    }


def _encoder() -> dict[str, Any]:
    return {
        "model_type": "parakeet_encoder",
        "hidden_size": HIDDEN,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        "subsampling_conv_channels": 4,
        "num_mel_bins": 32,
        "attention_bias": False,
        "scale_input": False,
        "convolution_bias": False,
        "projection_hidden_size": 48,
        "projection_bias": False,
    }


def _unused_eye() -> dict[str, Any]:
    return {
        "model_type": "radio",
        "hidden_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "mlp_ratio": 1.0,
        "image_size": 32,
        "max_img_size": 64,
        "video_temporal_patch_size": 2,
    }
