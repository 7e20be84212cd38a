"""Defines what a press sees of a sample: a pruning rule at one layer's input, an eviction rule one layer's cache.

Views hold no audio tokens that stand for no sound, since those leave before a rule is asked. Under
`compat=audiomarathon` they hold them, as released code does, and `audio` then spans all tokens from the marker before the
first audio token to the marker after the last. Imports no torch at its top.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Generator, LongTensor, Tensor


@dataclass(frozen=True)
class PruningView:
    """Shows a rule one sample at the input of decoder layer K, without padding.

    T prompt tokens, L of them audio, h hidden size. Audio tokens that stand for no sound are left out like padding, except
    under `compat=audiomarathon`.
    """

    hidden: Tensor
    """[T, h] input of layer K."""
    norm: Callable[[Tensor], Tensor]
    """The decoder's final norm."""
    keys: Tensor
    """[key heads, T, head size] of layer K-1, positions already rotated in; for K = 0 the embeddings, as one head."""
    attention: Tensor | None
    """[T] softmax attention of the last prompt token in layer K-1, mean over heads; None unless `needs_attention`."""
    audio: LongTensor
    """[L] positions of the remaining audio tokens, ascending."""
    keep: int
    """Number of audio tokens that must stay."""
    generator: Generator
    """On the CPU, seeded from (press seed, audio content, prompt), so that the order of samples has no influence."""
    loudness: Tensor | None = None
    """[L] root mean square of the sound samples that each audio token stands for; None unless `needs_loudness`."""
    left_out: LongTensor | None = None
    """Places in the whole prompt, ascending, of audio tokens that stand for no sound and are not shown."""
    question: LongTensor | None = None
    """[Q] positions, ascending, of the tokens that write the user's last turn: no special tokens and none of the chat
    template's or the system prompt's; None unless `needs_question`."""
    seconds: Tensor | None = None
    """[L] second of the joined clips at which each audio token begins, on the CPU; None unless `needs_question`, and
    where the model does not say."""
    projections: tuple[Tensor, Tensor] | None = None
    """Query weights [heads, d, h] and key weights [key heads, d, h] of the first layer; None unless `needs_projections`."""

    @cached_property
    def normed(self) -> Tensor:
        """[T, h] hidden states after the decoder's final norm; computed on first use."""
        return self.norm(self.hidden)


@dataclass(frozen=True)
class EvictionView:
    """Shows a rule one layer of one sample after the context, without audio tokens that stand for no sound.

    T context tokens, L of them audio, d head size.
    """

    layer: int
    layers: int
    keys: Tensor
    """[key heads, T, d], positions rotated in."""
    values: Tensor
    """[key heads, T, d]."""
    queries: Tensor | None
    """[heads, w, d] the context's last w queries, rotated; w is `window` or less. None where `window` is 0."""
    unrotated: Tensor | None
    """[heads, T, d] every query before rotation; None unless `needs_queries`."""
    rotation: Callable[[int], Tensor] | None
    """`rotation(n)`: [d, d] mean rotary matrix of the n positions that follow the context."""
    audio: LongTensor
    """[L] positions of the audio keys, ascending."""
    keep: int
    """Number of audio keys that must stay in this layer."""
    generator: Generator
    """Seeded from (press seed, audio content, prompt), alike in every layer."""
    scores: Tensor | None = None
    """[key heads, T] scores computed while the model ran; None unless `needs_module`."""
    left_out: LongTensor | None = None
    """Places in the context, ascending, of audio tokens that stand for no sound or were pruned, and are not shown."""

    received: Tensor | None = None
    """[key heads, T] attention that each key received from all queries of the context, summed over the queries and
    averaged over a key head's queries; None unless `needs_received`."""

    @cached_property
    def attention(self) -> Tensor:
        """[heads, w, T] causal softmax attention of the last w queries, in float32; computed on first use."""
        import torch

        if self.queries is None:
            raise ValueError("this press reads queries: its window must be above 0")
        heads, window, size = self.queries.shape
        keys = self.keys.repeat_interleave(heads // len(self.keys), dim=0).float()
        scores = self.queries.float() @ keys.transpose(1, 2) / size**0.5
        future = torch.ones_like(scores[0], dtype=torch.bool).triu(keys.shape[1] - window + 1)
        attention: Tensor = scores.masked_fill(future, -torch.inf).softmax(-1)
        return attention


@dataclass(frozen=True)
class StepView:
    """Shows a rule one layer's cache after the prompt or after a decoding step. K keys of any tokens."""

    received: Tensor
    """[key heads, K] attention that each key received from all queries so far, summed over the queries and averaged
    over a key head's queries."""
    last: Tensor
    """[heads, K] attention of the newest query."""
    keep: int
    """Number of keys that must stay."""
