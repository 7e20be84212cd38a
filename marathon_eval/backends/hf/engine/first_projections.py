"""Reads the weights with which the first decoder layer makes queries and keys, for presses that score with them."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from marathon_eval.api.press import Decoder, PruningPress
from marathon_eval.errors import MarathonError


def first_projections(decoder: Decoder, press: PruningPress) -> tuple[Tensor, Tensor]:
    """Return W_Q [heads, d, h] and W_K [key heads, d, h] of the first layer, with the changes of a LoRA in force.

    Raises MarathonError for a model that has neither `q_proj` and `k_proj` nor a fused `qkv_proj`, or whose first layer does
    not attend.
    """
    attention: Any = getattr(decoder.layers[0], "self_attn", None)
    if attention is None:
        raise MarathonError(
            f"press={press.name()}: the rule reads the first layer's query and key weights, and this model's first "
            f"layer ({type(decoder.layers[0]).__name__}) has no attention; presses that read no weights work, such as dart"
        )
    size = getattr(attention, "head_dim", None)
    query, key, fused = (getattr(attention, name, None) for name in ("q_proj", "k_proj", "qkv_proj"))
    if size is None or (fused is None and (query is None or key is None)):
        raise MarathonError(
            f"press={press.name()}: the rule reads the first layer's query and key weights, "
            f"and this model's {type(attention).__name__} has neither q_proj and k_proj nor qkv_proj"
        )
    if fused is None:
        return _weight(query).unflatten(0, (-1, size)), _weight(key).unflatten(0, (-1, size))
    config: Any = decoder.stack.config
    heads = config.num_attention_heads
    # queries, keys and values below each other; there are as many heads of values as of keys
    rows = _weight(fused).unflatten(0, (-1, size))
    return rows[:heads], rows[heads : heads + (len(rows) - heads) // 2]


def _weight(linear: Any) -> Tensor:
    """Return a linear layer's weight; peft keeps the change of a LoRA beside it."""
    weight: Tensor = linear.weight
    if not hasattr(linear, "get_delta_weight") or linear.merged or linear.disable_adapters:
        return weight
    for name in linear.active_adapters:
        if name in linear.lora_A:
            weight = weight + linear.get_delta_weight(name)
    return weight
