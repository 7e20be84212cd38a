"""Rounds cached keys and values to a few bits each, by the rule of KIVI.

Liu et al., KIVI: A Tuning-Free Asymmetric 2bit Quantization for KV Cache, https://arxiv.org/abs/2402.02750, with the
settings of its released code: keys are rounded channel by channel in groups of 32 tokens, values token by token in groups
of 32 channels, between the least and the largest number of a group. The newest tokens stay exact. The numbers are stored
in full width once they are rounded, so answers are those of a packed cache, and memory is not saved.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from marathon_eval.backends.hf.flops import QUANTISED_GROUP, exact_tokens

if TYPE_CHECKING:
    from marathon_eval.backends.hf.inputs import LocalModel


class RoundedLayer(DynamicLayer):  # type: ignore[misc]  # transformers is untyped
    """Rounds what is stored when the next tokens arrive; these meet each other and what the rule leaves exact as they are."""

    def __init__(self, bits: int, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self.lazy_initialization(keys, values)
        self.bits, self.keys, self.values = bits, keys, values
        self._rounded_keys = self._rounded_values = 0

    def update(
        self, key_states: Tensor, value_states: Tensor, *args: Any, **kwargs: Any
    ) -> tuple[Tensor, Tensor]:
        """Round the stored keys and values, then add the new ones."""
        tokens = self.keys.shape[-2]
        keys, values = (tokens - exact for exact in exact_tokens(tokens))
        if keys > self._rounded_keys:
            part = slice(self._rounded_keys, keys)
            turned = rounded_to_bits(self.keys[..., part, :].transpose(-1, -2), self.bits)
            self.keys = _replaced(self.keys, part, turned.transpose(-1, -2))
            self._rounded_keys = keys
        if values > self._rounded_values:
            part = slice(self._rounded_values, values)
            self.values = _replaced(self.values, part, rounded_to_bits(self.values[..., part, :], self.bits))
            self._rounded_values = values
        updated: tuple[Tensor, Tensor] = super().update(key_states, value_states, *args, **kwargs)
        return updated


def kv_bits(adapter: LocalModel) -> int | None:
    """Return the bits to which this model's cache is rounded; None leaves it exact. Chat models have the argument."""
    bits: int | None = getattr(adapter.args, "kv_bits", None)
    return bits


def rounded_cache(cache: DynamicCache, bits: int) -> DynamicCache:
    """Make a filled cache round what it holds to `bits` bits; the tensors in it do not change."""
    cache.layers = [RoundedLayer(bits, layer.keys, layer.values) for layer in cache.layers]
    return cache


def rounded_to_bits(numbers: Tensor, bits: int) -> Tensor:
    """Round numbers [..., n] to 2**bits evenly spaced ones per group of 32, or of all n where 32 does not divide n.

    The least number of a group is kept exactly; the spacing is stored in the numbers' own type.
    """
    size = numbers.shape[-1]
    grouped = numbers.unflatten(-1, (-1, QUANTISED_GROUP if size % QUANTISED_GROUP == 0 else size))
    low, high = grouped.aminmax(dim=-1, keepdim=True)
    most = 2**bits - 1
    spacing = ((high.float() - low.float()) / most).to(numbers.dtype).float()
    # a group of equal numbers has no spacing
    codes = ((grouped.float() - low.float()) / spacing.where(spacing > 0, 1.0)).round().clamp(0, most)
    rounded: Tensor = (codes * spacing + low.float()).to(numbers.dtype).flatten(-2)
    return rounded


def _replaced(states: Tensor, part: slice, new: Tensor) -> Tensor:
    """Return states [..., T, d] with the tokens `part` replaced; other caches may hold the old tensor."""
    return torch.cat([states[..., : part.start, :], new, states[..., part.stop :, :]], dim=-2)
