"""Holds the state of one prompt while pruning drops tokens from it, and the tensor operations on it."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache


@dataclass
class Cut:
    """Holds what the layers from this cut to the next share: order and rotary tables of kept tokens, the mask."""

    order: Tensor
    valid: Tensor
    rotary: tuple[Tensor, ...]
    mask: Any = None


@dataclass
class PromptPass:
    """Holds the prefill's decisions for decoding; `audio`, `prunable` and `valid` describe the kept tokens.

    `silent` marks audio tokens that stand for no sound, None where there are none; `original` counts each sample's
    prunable tokens before the first cut, the L of every ratio.
    """

    audio: Tensor
    prunable: Tensor
    valid: Tensor
    silent: Tensor | None
    original: list[int]
    loudness: list[Tensor] | None
    #: The questions' tokens [B, T] and the seconds at which each sample's prunable tokens begin, for presses with
    #: `needs_question`.
    question: Tensor | None = None
    seconds: list[Tensor | None] | None = None
    prefill: bool = True
    cuts: dict[int, Cut] = field(default_factory=dict)
    positions: Tensor | None = None
    last: int = 0
    #: [B, T] index of each audio token within its sample, before any cut; values at other tokens are meaningless.
    ordinals: Tensor = field(init=False)

    def __post_init__(self) -> None:
        self.ordinals = self.audio.cumsum(dim=1) - 1

    def shown(self, row: int) -> Any:
        """Return what a press sees of a sample, as an index of its positions: all but padding and silent tokens."""
        seen = self.valid[row] if self.silent is None else self.valid[row] & ~self.silent[row]
        first = int(seen.int().argmax())
        # padding is on the left, so mostly this is a slice, which copies nothing
        return slice(first, None) if bool(seen[first:].all()) else seen.nonzero().squeeze(1)

    def left_out(self, row: int) -> Any:
        """Return the positions of a sample's silent tokens, counted without padding; None if it has none."""
        if self.silent is None:
            return None
        found = self.silent[row][self.valid[row]].nonzero().squeeze(1)
        return found if len(found) else None


@dataclass
class KeptTokens:
    """Counts tokens of the last prefill per sample: `audio` before the first cut, `kept` audio and `prompt` after the last.

    `lengths` maps each cut's layer to the prompt lengths behind it; `audio_numbers` holds, where they are recorded, the
    numbers of each sample's kept audio tokens among all of its audio tokens, ascending.
    """

    audio: list[int]
    kept: list[int]
    prompt: list[int]
    select_s: float
    lengths: dict[int, list[int]] = field(default_factory=dict)
    audio_numbers: list[Tensor] = field(default_factory=list)

    def tokens(self, row: int, prompt: int, layers: int) -> list[int]:
        """Return the number of a sample's prompt tokens in each layer."""
        seen = [prompt] * layers
        for layer, lengths in sorted(self.lengths.items()):
            seen[layer:] = [lengths[row]] * (layers - layer)
        return seen


def gathered_tokens(values: Tensor, order: Tensor) -> Tensor:
    """Gather `values` [..., B or 1, T, D] along T by `order` [B, n]."""
    if values.shape[-3] == 1 and len(order) > 1:
        values = values.expand(*values.shape[:-3], len(order), *values.shape[-2:])
    order = order.to(values.device)
    index = order.reshape(*[1] * (values.dim() - 3), *order.shape, 1)
    return values.gather(-2, index.expand(*values.shape[:-2], order.shape[1], values.shape[-1]))


def spanned(audio: Tensor) -> Tensor:
    """Mark [B, T] from the token before a row's first audio token to the one after its last, as in released code."""
    has_audio = audio.any(dim=1, keepdim=True)
    before, after = audio.int().cumsum(dim=1) > 0, audio.int().flip(1).cumsum(dim=1).flip(1) > 0
    before[:, :-1] |= before[:, 1:].clone()
    after[:, 1:] |= after[:, :-1].clone()
    return before & after & has_audio


def stored_keys(cache: DynamicCache, layer: int) -> Tensor:
    """Return a layer's keys [B, key heads, T, d]."""
    keys: Tensor = cache.layers[layer].keys
    return keys


def left_padded(mask: Tensor) -> Tensor:
    """Return the mask [B, T] as booleans. Raises ValueError unless all padding is on the left."""
    if mask.dim() != 2:
        raise ValueError(
            "tokens can't be dropped under a ready-made attention mask: a padding mask [B, T] is needed"
        )
    valid = mask.bool()
    if not (valid[:, 1:] >= valid[:, :-1]).all() or not valid[:, -1].all():
        raise ValueError("tokens can be dropped from left-padded batches only")
    return valid


def synced(tensor: Tensor) -> float:
    """Return the time in seconds, after the tensor's GPU has finished its work."""
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()
