"""How much work a prefill is, in floating-point operations: what no implementation of a press can beat.

A multiply-add counts as two. Attention counts as a causal kernel does it, so each query meets the keys before it:
https://arxiv.org/abs/2001.08361, with gated feed-forward layers and grouped key heads. Nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Shape:
    """The numbers of a decoder that its work depends on."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape | None:
        """From a text model's config in transformers' spelling; None for missing numbers, experts in turns and windows."""
        heads = getattr(config, "num_attention_heads", None)
        hidden = getattr(config, "hidden_size", None)
        windowed = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
        if getattr(config, "num_experts", None) or windowed or not heads or not hidden:
            return None
        found = [
            hidden,
            getattr(config, "num_hidden_layers", None),
            heads,
            getattr(config, "num_key_value_heads", None) or heads,
            getattr(config, "head_dim", None) or hidden // heads,
            getattr(config, "intermediate_size", None),
            getattr(config, "vocab_size", None),
        ]
        return None if None in found else cls(*(int(number) for number in found if number is not None))


def projections(shape: Shape) -> int:
    """Operations per token in one layer outside attention: four projections and the gated feed-forward."""
    queries, keys = shape.heads * shape.head_size, shape.key_heads * shape.head_size
    return 2 * shape.hidden * (2 * queries + 2 * keys + 3 * shape.feed_forward)


def attention(shape: Shape, new: int, old: int = 0) -> int:
    """Operations of one layer's attention: `new` tokens look at `old` ones and, causally, at each other."""
    return 2 * shape.heads * shape.head_size * new * (2 * old + new)


def prefill(shape: Shape, tokens: Sequence[int]) -> int:
    """Operations of a prefill in which layer i sees `tokens[i]` tokens; only the last position is scored."""
    layers = sum(projections(shape) * n + attention(shape, n) for n in tokens)
    return layers + 2 * shape.hidden * shape.vocabulary


def two_stage_prefill(shape: Shape, context: int, kept: Sequence[int], question: int) -> int:
    """Operations where `context` tokens are read, layer i keeps `kept[i]` of them, and then a question is read."""
    layers = sum(
        projections(shape) * (context + question) + attention(shape, context) + attention(shape, question, n)
        for n in kept
    )
    return layers + 2 * shape.hidden * shape.vocabulary


def pruned_speedup(shape: Shape, prompt: int, tokens: Sequence[int]) -> float:
    """How many times less work a prefill is when layer i sees `tokens[i]` of a prompt's tokens."""
    return prefill(shape, [prompt] * len(tokens)) / prefill(shape, tokens)


def evicted_speedup(shape: Shape, context: int, kept: Sequence[int], question: int) -> float:
    """The same for eviction: the question alone gets cheaper, so this is near 1."""
    whole = two_stage_prefill(shape, context, [context] * len(kept), question)
    return whole / two_stage_prefill(shape, context, kept, question)


def key_value_bytes(shape: Shape, tokens: Sequence[int], width: int = 2) -> int:
    """Bytes of a cache whose layer i holds `tokens[i]` tokens, `width` bytes a number."""
    return sum(tokens) * 2 * shape.key_heads * shape.head_size * width


@dataclass(frozen=True)
class EncoderShape:
    """A Whisper-like encoder: convolutions at the mel rate, layers in windows at half of it, pooled by two."""

    layers: int = 32
    hidden: int = 1280
    feed_forward: int = 5120
    mels: int = 128
    window: int = 100
    mel_rate: int = 100


def encoder(shape: EncoderShape, seconds: float, out: int) -> float:
    """Operations of hearing so many seconds; `out` is the language model's hidden size."""
    d, positions = shape.hidden, seconds * shape.mel_rate / 2
    layer = 2 * (4 * d * d + 2 * d * shape.feed_forward) + 4 * d * shape.window
    convolutions = 3 * 2 * d * (seconds * shape.mel_rate * shape.mels + positions * d)
    return positions * shape.layers * layer + convolutions + positions / 2 * 2 * d * out
