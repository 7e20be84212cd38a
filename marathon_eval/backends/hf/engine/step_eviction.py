"""Decodes while a press evicts keys at every step, as H2O and TOVA are published (`evict=decode`).

The budget counts the keys of all tokens, not those of audio alone: as many as are left where the press's share of the
audio is gone. It is met after the prompt, and again after every new token. Padding leaves first of all.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from marathon_eval.api.press import Decoder, EvictionPress, StepView, budget
from marathon_eval.backends.hf.engine.eviction import forward_last, own_masks, tapped_attention
from marathon_eval.backends.hf.engine.eviction_context import heard_audio
from marathon_eval.backends.hf.engine.prompt_pass import synced
from marathon_eval.backends.hf.engine.received_attention import received_attention

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass
class LayerKeys:
    """Holds of one layer's keys what they received and which tokens they are, both [key heads, K]."""

    received: Tensor
    last: Tensor
    positions: Tensor


@dataclass
class StepEviction:
    """Answers one prompt with a cache of constant size; `steps` may be used once.

    `kept_audio` counts the audio keys after the prompt's eviction, as a mean over layers and heads, and `select_s` the
    press's seconds.
    """

    decoder: Decoder
    press: EvictionPress
    cache: DynamicCache = field(init=False)
    kept_audio: float = 0.0
    select_s: float = 0.0
    _layers: dict[int, LayerKeys] = field(default_factory=dict, init=False)
    _prompt: bool = field(default=True, init=False)

    def __post_init__(self) -> None:
        self.cache = DynamicCache(config=self.decoder.stack.config)

    @torch.inference_mode()
    def steps(
        self,
        inputs: Mapping[str, Any],
        choose: Callable[[Tensor], int | None],
        silent: NDArray[np.bool_] | None = None,
    ) -> Generator[Tensor]:
        """Read the prompt (batch of 1) and decode; yields each step's logits [vocabulary].

        `choose` returns the next token, or None to stop; `silent` says which audio tokens stand for no sound.
        """
        ids = inputs["input_ids"]
        length = int(ids.shape[1])
        audio, unheard = heard_audio(self.decoder, ids, length, silent)
        size = length - len(unheard) - len(audio) + budget(len(audio), self.press.ratio)
        with tapped_attention(self.decoder, self._look):
            logits = forward_last(self.decoder, inputs, 0, self.cache)
            removes = self.press.ratio > 0 and len(audio) > 0
            if removes:
                self._leave(unheard)
                self._evict(size)
            self.kept_audio = self._count(torch.cat([audio, unheard]))
            self._prompt = False
            yield logits
            with own_masks(self.decoder, self.cache):
                while (token := choose(logits)) is not None:
                    step = {"input_ids": torch.tensor([[token]], device=ids.device)}
                    logits = forward_last(self.decoder, step, length, self.cache)
                    length += 1
                    if removes:
                        self._evict(size)
                    yield logits

    def _look(self, layer: int, query: Tensor, key: Tensor) -> None:
        """Add what the new queries [1, heads, new, d] pay to every key."""
        started = synced(query)
        received, last = received_attention(query[0], key[0])
        if self._prompt:
            positions = torch.arange(key.shape[2], device=key.device).expand(len(received), -1)
        else:
            before = self._layers[layer]
            received[:, :-1] += before.received
            positions = pad(before.positions, (0, 1), value=-1)  # not of the prompt
        self._layers[layer] = LayerKeys(received, last, positions)
        self.select_s += synced(query) - started

    def _evict(self, size: int) -> None:
        for number, keys in self._layers.items():
            if keys.received.shape[1] <= size:
                continue
            started = synced(keys.received)
            kept = self.press.select_step(StepView(keys.received, keys.last, size))
            if kept.shape != (len(keys.received), size):
                raise ValueError(f"selected {tuple(kept.shape)} keys, {(len(keys.received), size)} must stay")
            self._keep(number, kept)
            self.select_s += synced(keys.received) - started

    def _leave(self, positions: Tensor) -> None:
        """Remove the keys of these positions of the prompt from every layer."""
        for number, keys in self._layers.items():
            stays = ~torch.isin(keys.positions[0], positions.to(keys.positions.device))
            if not stays.all():
                self._keep(number, stays.nonzero().squeeze(1).expand(len(keys.received), -1))

    def _keep(self, number: int, kept: Tensor) -> None:
        """Keep the keys at the places [key heads, n] of a layer."""
        keys, stored = self._layers[number], self.cache.layers[number]
        groups = len(keys.last) // len(kept)
        keys.received, keys.positions = keys.received.gather(1, kept), keys.positions.gather(1, kept)
        keys.last = keys.last.gather(1, kept.repeat_interleave(groups, dim=0))
        index = kept[None, :, :, None]
        stored.keys = stored.keys.gather(2, index.expand(-1, -1, -1, stored.keys.shape[-1]))
        stored.values = stored.values.gather(2, index.expand(-1, -1, -1, stored.values.shape[-1]))

    def _count(self, audio: Tensor) -> float:
        """Return how many of the audio positions a head keeps, as a mean over layers and heads."""
        kept = [
            torch.isin(keys.positions, audio.to(keys.positions.device)).sum(dim=1).float().mean()
            for keys in self._layers.values()
        ]
        return float(torch.stack([each.cpu() for each in kept]).mean())
