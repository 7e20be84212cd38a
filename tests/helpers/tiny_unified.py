"""Writes a small checkpoint of Gemma 4 12B's architecture, which has no audio encoder."""

from __future__ import annotations

from pathlib import Path

import transformers

from helpers.tiny_checkpoints import byte_tokenizer
from helpers.tiny_parts import language, saved

#: Named as in the hub's tokenizer.
UNIFIED_NAMED = {
    "audio_token": "<|audio|>",
    "boa_token": "<|audio>",
    "eoa_token": "<audio|>",
    "image_token": "<|image|>",
    "boi_token": "<|image>",
    "eoi_token": "<image|>",
}


def make_gemma4_unified(folder: Path, template: str) -> Path:
    """Write Gemma 4 12B without its projection of images: sliding and full layers, each with a cache of its own."""
    tokens = (
        "<pad>",
        "<eos>",
        "<bos>",
        "<start_of_turn>",
        "<end_of_turn>",
        "<|video|>",
        *UNIFIED_NAMED.values(),
    )
    tokenizer = byte_tokenizer(tokens, UNIFIED_NAMED, pad="<pad>", eos="<eos>", bos="<bos>")
    ids = dict(zip(tokens, tokenizer.convert_tokens_to_ids(list(tokens)), strict=True))
    text = language(
        tokenizer,
        num_hidden_layers=4,
        global_head_dim=16,
        num_global_key_value_heads=1,
        attention_k_eq_v=True,
        layer_types=["sliding_attention", "full_attention"] * 2,
        sliding_window=64,  # of 25 tokens per second: seconds of sound are out of sight
        bos_token_id=ids["<bos>"],
    )
    config = transformers.Gemma4UnifiedConfig(
        text_config=text,
        audio_config={},
        vision_config=None,
        **{f"{name.removesuffix('_token')}_token_id": ids[token] for name, token in UNIFIED_NAMED.items()},
        video_token_id=ids["<|video|>"],
        eoa_token_index=ids["<audio|>"],
    )
    module = transformers.models.gemma4_unified.feature_extraction_gemma4_unified
    model = transformers.Gemma4UnifiedForConditionalGeneration
    return saved(folder, model, config, tokenizer, module.Gemma4UnifiedAudioFeatureExtractor(), template)
