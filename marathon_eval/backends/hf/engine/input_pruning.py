"""Dropping audio tokens before the first layer, for models whose layers can't be cut in the middle.

Gemma's layers attend in windows, some take another's keys, and each gets an embedding of its own for every token. All of
that is made of the embeddings that go in, so that is where tokens go: out of the embeddings, the embeddings per layer
and the positions. What stays keeps its position, and a window reaches as many positions back as without the press, so
an answer is that of the whole prompt with the dropped tokens masked in every layer.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask

from marathon_eval.backends.hf.engine.prompt_pass import Cut, PromptPass, gathered_tokens
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.errors import MarathonError

#: They take a mask; others are told a window's width alone and would count kept tokens instead of positions.
KERNELS = ("eager", "sdpa")


class InputPruning(Pruning):
    """As `Pruning`, for presses with `layer=0`. Raises MarathonError for other layers and attention kernels."""

    def _refuse(self) -> None:
        if [layer for layer, _ in self.press.cuts] != [0]:
            raise MarathonError(
                f"press={self.press.name()}: this model drops tokens before its first layer only: layer=0"
            )
        kernel = self._config._attn_implementation
        if kernel not in KERNELS:
            raise MarathonError(
                f"press={self.press.name()}: attn_implementation={kernel}: with a press this model's windows need "
                f"{' or '.join(KERNELS)}"
            )

    def _hook_layers(self, undo: ExitStack) -> None:
        """All is done before the first one."""

    def _begin(
        self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        step = super()._begin(module, args, kwargs)
        current, cache = self._pass, kwargs.get("past_key_values")
        if cache is None:
            raise ValueError("tokens can't be dropped without a KV cache (use_cache=False)")
        assert current is not None
        if current.prefill:
            return self._shortened(current, cache, args, kwargs)
        if step is None:
            return None
        cut, (args, kwargs) = current.cuts[0], step
        places = kwargs["position_ids"].expand(len(cut.valid), -1)
        cut.rotary = (torch.cat([cut.rotary[0], places[..., None]], dim=1),)
        cut.valid = torch.cat([cut.valid, torch.ones_like(cut.valid[:, :1])], dim=1)
        return args, {**kwargs, "attention_mask": self._masks(cut, cache, kwargs["inputs_embeds"])}

    def _shortened(
        self, current: PromptPass, cache: DynamicCache, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """The prompt without what the press drops; None where it drops nothing."""
        hidden = kwargs["inputs_embeds"]
        places = kwargs.get("position_ids")
        if places is None:
            places = torch.arange(hidden.shape[1], device=hidden.device)[None]
        # a position is a table of one number per token
        ((_, ratio),) = self.press.cuts
        hidden = self._cut(current, 0, ratio, hidden, cache, (places[..., None],))
        if 0 not in current.cuts:
            return None
        cut = current.cuts[0]
        changed = {"inputs_embeds": hidden, "position_ids": cut.rotary[0][..., 0]}
        each = kwargs.get("per_layer_inputs")
        if each is not None:
            changed["per_layer_inputs"] = gathered_tokens(each.flatten(2), cut.order).unflatten(
                2, each.shape[2:]
            )
        return args, {**kwargs, **changed, "attention_mask": self._masks(cut, cache, hidden)}

    def _masks(self, cut: Cut, cache: DynamicCache, hidden: Tensor) -> dict[str, Any]:
        """By kind of layer; `hidden` [B, new, h] are the new tokens, the last of `cut`'s."""
        masks: dict[str, Any] = {}
        for number, kind in enumerate(self._config.layer_types):
            if kind in masks:
                continue
            if kind == "full_attention":
                masks[kind] = create_causal_mask(
                    config=self._config,
                    inputs_embeds=hidden,
                    attention_mask=cut.valid,
                    past_key_values=cache,
                    layer_idx=number,
                )
                continue
            keys, _ = cache.layers[number].get_mask_sizes(hidden.shape[1])
            places, valid = cut.rotary[0][:, -keys:, 0], cut.valid[:, -keys:]
            masks[kind] = window_mask(places, valid, hidden, self._config.sliding_window, self._eager)
        return masks

    @property
    def _eager(self) -> bool:
        return bool(self._config._attn_implementation == "eager")


def window_mask(places: Tensor, valid: Tensor, hidden: Tensor, window: int, eager: bool) -> Tensor | None:
    """[B, 1, new, keys]: each new token sees the valid ones less than `window` positions before it, and itself.

    `places` and `valid` [B, keys] are of all keys, the new ones last. None where a causal kernel needs no mask.
    """
    new, keys = hidden.shape[1], places.shape[1]
    # `<` as transformers has it: a mask that hides nothing takes another kernel, and so other last bits
    reach = int((places[:, -1] - places[:, 0]).max()) + 1
    if not eager and new in (1, keys) and bool(valid.all()) and reach < window:
        return None
    # compared, not subtracted: a table of booleans, as transformers makes one for windows
    seen = (places[:, None, :] > places[:, -new:, None] - window) & valid[:, None]
    seen = seen[:, None].tril(keys - new)
    # a padding token sees itself: no row may be empty
    seen = seen | torch.eye(new, keys, dtype=torch.bool, device=hidden.device).roll(keys - new, 1)
    if not eager:
        return seen
    return torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, torch.finfo(hidden.dtype).min)
