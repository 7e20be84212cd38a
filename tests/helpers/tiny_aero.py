"""Writes Aero-1-Audio's published layout, small and with random weights, and the same weights as Qwen2-Audio.

The layout is that of the authors' training code (https://github.com/EvolvingLMMs-Lab/lmms-engine, models/aero): the
names of config.json, of the tensors, and a processor that saves the feature extractor's file and a chat template.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import transformers
from safetensors.torch import load_file, save_file

from helpers.tiny_checkpoints import byte_tokenizer
from helpers.tiny_parts import HIDDEN, language, mel, saved, whisper_like

TOKENS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<image>", "<video>", "<|AUDIO|>")
#: Every clip is one placeholder and a line break; a system turn is added where there is none.
AERO_TEMPLATE = """\
{%- for message in messages -%}
{%- if loop.first and message['role'] != 'system' -%}
{{ '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}
{%- endif -%}
{{ '<|im_start|>' + message['role'] + '\\n' }}
{%- for content in message['content'] -%}
{%- if 'audio' in content or 'audio_url' in content -%}{{ '<|AUDIO|>\\n' }}
{%- elif 'text' in content -%}{{ content['text'] }}
{%- endif -%}
{%- endfor -%}
{{ '<|im_end|>\\n' }}
{%- endfor -%}
{%- if add_generation_prompt -%}{{ '<|im_start|>assistant\\n' }}{%- endif -%}
"""
#: The projector's prefix in Qwen2-Audio's checkpoints and in Aero's; all other names are the same.
PROJECTORS = ("multi_modal_projector.", "audio_modal_projector.")


def make_as_qwen2_audio(folder: Path, tied: bool = True) -> Path:
    """Write the model under Qwen2-Audio's names; `tied`: one matrix for input and output embeddings."""
    tokenizer = byte_tokenizer(TOKENS, {}, pad="<|endoftext|>", eos="<|im_end|>")
    encoder = {"encoder_layers": 1, "encoder_attention_heads": 2, "encoder_ffn_dim": 32, "d_model": HIDDEN}
    config = transformers.Qwen2AudioConfig(
        audio_config=whisper_like(**encoder),
        text_config=language(tokenizer, "qwen2", rope_theta=1e6),
        audio_token_index=tokenizer.convert_tokens_to_ids("<|AUDIO|>"),
    )
    model = transformers.Qwen2AudioForConditionalGeneration
    saved(folder, model, config, tokenizer, mel(), AERO_TEMPLATE)
    if tied:
        tensors = load_file(folder / "model.safetensors")
        embedding = next(name for name in tensors if name.endswith("embed_tokens.weight"))
        head = next(name for name in tensors if name.endswith("lm_head.weight"))
        tensors[head] = tensors[embedding].clone()
        save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def make_aero(folder: Path, tied: bool = True) -> Path:
    """Write Aero-1's layout: `tied`, as Qwen2.5-1.5B is, the output embeddings are not saved."""
    make_as_qwen2_audio(folder, tied)
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    published = aero_config(config, tied)
    (folder / "config.json").write_text(json.dumps(published), encoding="utf-8")
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": AERO_TEMPLATE}), encoding="utf-8")
    features = json.loads((folder / "preprocessor_config.json").read_text(encoding="utf-8"))
    features |= {"processor_class": "AeroProcessor"}
    features |= {"auto_map": {"AutoProcessor": "processing_aero.AeroProcessor"}}
    (folder / "preprocessor_config.json").write_text(json.dumps(features), encoding="utf-8")
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text(encoding="utf-8"))
    tokenizer |= {"tokenizer_class": "Qwen2Tokenizer", "processor_class": "AeroProcessor"}
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer), encoding="utf-8")
    weights = load_file(folder / "model.safetensors")
    tensors = {name.replace(*PROJECTORS): part for name, part in weights.items()}
    if tied:
        del tensors["language_model.lm_head.weight"]
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def aero_config(config: dict[str, Any], tied: bool) -> dict[str, Any]:
    """Return config.json as Aero's own classes write it with transformers 4.5x."""
    text = {key: value for key, value in config["text_config"].items() if key != "rope_parameters"}
    text |= {"rope_theta": 1e6, "rope_scaling": None, "tie_word_embeddings": tied, "torch_dtype": "float32"}
    return {
        "architectures": ["AeroForConditionalGeneration"],
        "audio_config": {**config["audio_config"], "num_hidden_layers": 1, "torch_dtype": "float32"},
        "audio_token_index": config["audio_token_index"],
        "auto_map": {
            "AutoConfig": "configuration_aero.AeroConfig",
            "AutoModelForCausalLM": "modeling_aero.AeroForConditionalGeneration",
        },
        "model_type": "aero",
        "text_config": text,
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "transformers_version": "4.51.3",
    }
