"""Computes the floating-point operations of a prefill, and so the largest speed-up that a press can reach.

A multiply-add counts as two operations. Attention is causal: a query meets only the keys before it. The formulas
follow https://arxiv.org/abs/2001.08361, with gated feed-forward layers and grouped key heads. Nothing is measured.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

#: The names under which configs give their number of experts.
EXPERTS = ("num_experts", "num_local_experts", "n_routed_experts")


@dataclass(frozen=True)
class Shape:
    """Holds the sizes of a decoder that its number of operations depends on."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int

    @classmethod
    def of(cls, config: Any) -> Shape | None:
        """Read the sizes from a transformers text config.

        Returns None when a size is missing, and for models with experts, or with layers that attend in windows or not at all.
        """
        heads = getattr(config, "num_attention_heads", None)
        hidden = getattr(config, "hidden_size", None)
        windowed = set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
        experts = any(getattr(config, name, None) for name in EXPERTS)
        if experts or windowed or not heads or not hidden:
            return None
        sizes = [
            hidden,
            getattr(config, "num_hidden_layers", None),
            heads,
            getattr(config, "num_key_value_heads", None) or heads,
            getattr(config, "head_dim", None) or hidden // heads,
            getattr(config, "intermediate_size", None),
            getattr(config, "vocab_size", None),
        ]
        return None if None in sizes else cls(*(int(size) for size in sizes if size is not None))


def projections(shape: Shape) -> int:
    """Count one layer's operations per token outside attention: four projections and the gated feed-forward."""
    queries, keys = shape.heads * shape.head_size, shape.key_heads * shape.head_size
    return 2 * shape.hidden * (2 * queries + 2 * keys + 3 * shape.feed_forward)


def attention(shape: Shape, new: int, old: int = 0) -> int:
    """Count the operations of one layer's attention of `new` tokens to `old` ones and, causally, to each other."""
    return 2 * shape.heads * shape.head_size * new * (2 * old + new)


def prefill(shape: Shape, tokens: Sequence[int]) -> int:
    """Count the operations of a prefill in which layer i sees `tokens[i]` tokens; the head sees the last one only."""
    layers = sum(projections(shape) * n + attention(shape, n) for n in tokens)
    return layers + 2 * shape.hidden * shape.vocabulary


def two_stage_prefill(shape: Shape, context: int, kept: Sequence[int], question: int) -> int:
    """Count the operations of reading `context` tokens, then `question` with `kept[i]` of them left in layer i."""
    layers = sum(
        projections(shape) * (context + question) + attention(shape, context) + attention(shape, question, n)
        for n in kept
    )
    return layers + 2 * shape.hidden * shape.vocabulary


def pruned_speedup(shape: Shape, prompt: int, tokens: Sequence[int]) -> float:
    """Return the operations of a whole prefill over those of one in which layer i sees `tokens[i]` tokens."""
    return prefill(shape, [prompt] * len(tokens)) / prefill(shape, tokens)


def evicted_speedup(shape: Shape, context: int, kept: Sequence[int], question: int) -> float:
    """Return the same quotient for eviction; it is near 1, because only reading the question gets cheaper."""
    whole = two_stage_prefill(shape, context, [context] * len(kept), question)
    return whole / two_stage_prefill(shape, context, kept, question)


def pair_speedup(shape: Shape, prompt: int, read: Sequence[int], kept: Sequence[int], question: int) -> float:
    """Return the same quotient where layer i reads `read[i]` tokens of the pruned prompt, and then the question again.

    It is read the second time with the `kept[i]` tokens that the eviction left.
    """
    again = sum(projections(shape) * question + attention(shape, question, n) for n in kept)
    head = 2 * shape.hidden * shape.vocabulary if question else 0
    return prefill(shape, [prompt] * len(read)) / (prefill(shape, read) + again + head)


#: Tokens (of keys) or channels (of values) that are rounded together in a quantised cache, and how many of the newest
#: tokens stay exact; https://arxiv.org/abs/2402.02750 and its released code.
QUANTISED_GROUP, QUANTISED_RESIDUAL = 32, 128


def exact_tokens(tokens: int) -> tuple[int, int]:
    """Return how many of the newest of `tokens` tokens keep exact keys, and exact values, in a quantised cache."""
    return tokens % QUANTISED_RESIDUAL, min(tokens, QUANTISED_RESIDUAL)


def quantised_bytes(tokens: int, key_heads: int, head_size: int, bits: int, number_bytes: int) -> int:
    """Count the bytes of one layer's packed keys and values of one sample, those of each group's scale and offset included.

    `number_bytes` are those of a number that is not rounded, of a scale and of an offset.
    """
    exact = exact_tokens(tokens)
    keys, values = (tokens - each for each in exact)
    width, channels = (
        key_heads * head_size,
        QUANTISED_GROUP if head_size % QUANTISED_GROUP == 0 else head_size,
    )
    groups = keys // QUANTISED_GROUP * width + values * width // channels
    return (keys + values) * width * bits // 8 + (sum(exact) * width + 2 * groups) * number_bytes


@dataclass(frozen=True)
class EncoderShape:
    """Holds the sizes of a Whisper-like encoder.

    Its convolutions run at the mel rate, its windowed layers at half of it, and its output is pooled by two.
    """

    layers: int = 32
    hidden: int = 1280
    feed_forward: int = 5120
    mels: int = 128
    window: int = 100
    mel_rate: int = 100


def encoder(shape: EncoderShape, seconds: float, out: int) -> float:
    """Count the operations of encoding `seconds` of audio; `out` is the language model's hidden size."""
    d, positions = shape.hidden, seconds * shape.mel_rate / 2
    layer = 2 * (4 * d * d + 2 * d * shape.feed_forward) + 4 * d * shape.window
    convolutions = 3 * 2 * d * (seconds * shape.mel_rate * shape.mels + positions * d)
    return positions * shape.layers * layer + convolutions + positions / 2 * 2 * d * out
