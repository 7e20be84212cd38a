"""Builds the model, a small Qwen2.5-Omni thinker, and runs its forward pass in the parts that training needs."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import transformers
from torch import Tensor, nn
from torch.nn.functional import gelu

from nano.mels import BINS

HIDDEN, LAYERS, ENCODER_HIDDEN, ENCODER_LAYERS = 128, 5, 96, 2
#: Where the options' auxiliary answers are read, and up to where text hears no audio in most training steps.
AUXILIARY_LAYER, DEAF_LAYERS = 3, 2
#: Spread of initial embeddings, and so about the size of what the encoder gives.
EMBEDDED = 0.3
TOKENS_PER_CHUNK = 50

AUDIO = {
    "num_mel_bins": BINS,
    "encoder_layers": ENCODER_LAYERS,
    "encoder_attention_heads": 4,
    "encoder_ffn_dim": 2 * ENCODER_HIDDEN,
    "d_model": ENCODER_HIDDEN,
    "output_dim": HIDDEN,
    "initializer_range": 0.06,
}


def thinker(tokenizer: Any, seed: int) -> Any:
    """Return the network with random weights."""
    from nano.words import SPECIAL

    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 2 * HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "head_dim": 32,
        "max_position_embeddings": 32768,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [8, 4, 4]},
        "initializer_range": 0.06,
        "pad_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
    }
    # images are never sent, so the vision tower is the smallest that the class allows
    vision = {
        "depth": 1,
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_heads": 1,
        "out_hidden_size": HIDDEN,
        "fullatt_block_indexes": [0],
        "patch_size": 2,
    }
    config = transformers.Qwen2_5OmniThinkerConfig(
        audio_config=AUDIO,
        vision_config=vision,
        text_config=text,
        audio_token_index=ids["<|AUDIO|>"],
        image_token_index=ids["<|IMAGE|>"],
        video_token_index=ids["<|VIDEO|>"],
        audio_start_token_id=ids["<|audio_bos|>"],
        audio_end_token_id=ids["<|audio_eos|>"],
        vision_start_token_id=ids["<|vision_bos|>"],
        vision_end_token_id=ids["<|vision_eos|>"],
        initializer_range=0.06,
    )
    torch.manual_seed(seed)
    model = transformers.Qwen2_5OmniThinkerForConditionalGeneration(config)
    with torch.no_grad():
        model.get_input_embeddings().weight.normal_(0, EMBEDDED)
    return model


def encoded(tower: Any, chunks: Tensor) -> Tensor:
    """Encode windows of two seconds [N, BINS, 200] to audio tokens [N, 50, HIDDEN].

    The same as the tower's own forward pass, which goes through windows one by one.
    """
    hidden = gelu(tower.conv1(chunks))
    hidden = gelu(tower.conv2(hidden)).transpose(1, 2)
    hidden = hidden + tower.positional_embedding.positional_embedding[: hidden.shape[1]]
    for layer in tower.layers:
        hidden = hidden + _attended(layer.self_attn, layer.self_attn_layer_norm(hidden))
        hidden = hidden + layer.fc2(gelu(layer.fc1(layer.final_layer_norm(hidden))))
    pooled = (hidden[:, 0::2] + hidden[:, 1::2]) / 2
    tokens: Tensor = tower.proj(tower.ln_post(pooled))
    return tokens


def _attended(attention: Any, hidden: Tensor) -> Tensor:
    def heads(projected: Tensor) -> Tensor:
        each: Tensor = projected.unflatten(-1, (attention.num_heads, -1))
        return each.transpose(1, 2)

    mixed = nn.functional.scaled_dot_product_attention(
        heads(attention.q_proj(hidden)), heads(attention.k_proj(hidden)), heads(attention.v_proj(hidden))
    )
    projected: Tensor = attention.out_proj(mixed.transpose(1, 2).flatten(2))
    return projected


class Seen(NamedTuple):
    """Holds hidden states [B, T, HIDDEN] after the auxiliary layer and at the end."""

    middle: Tensor
    last: Tensor


def read(stack: Any, embedded: Tensor, positions: Tensor, deaf: Tensor | None) -> Seen:
    """Run the decoder on embeddings [B, T, HIDDEN] at `positions` [B, T].

    `deaf` [B, 1, T, T] says what may be attended in the first DEAF_LAYERS layers; None: all that came before.
    """
    rotary = stack.rotary_emb(embedded, positions.expand(3, -1, -1))
    hidden, middle = embedded, embedded
    for number, layer in enumerate(stack.layers):
        mask = deaf if number < DEAF_LAYERS else None
        hidden = layer(hidden, attention_mask=mask, position_embeddings=rotary)
        if number + 1 == AUXILIARY_LAYER:
            middle = hidden
    return Seen(middle, stack.norm(hidden))
