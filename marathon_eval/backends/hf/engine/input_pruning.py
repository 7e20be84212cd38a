"""Drops audio tokens before the first layer, for models whose layers can't be cut in the middle.

In Gemma, layers attend in windows, some reuse the keys of another layer, and each gets its own embedding of every
token. All of these are computed from the input embeddings, so tokens are removed there: from the embeddings, the
embeddings per layer and the positions. Kept tokens keep their positions, and a window reaches as many positions back
as without the press, so the answer equals that of the whole prompt with the dropped tokens masked in every layer.

Mamba layers keep a state of everything that they read, so a token can't leave between them either. Dropped here, it
is in no state: the answer equals that of the prompt without it.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask, create_recurrent_attention_mask

from marathon_eval.backends.hf.engine.prompt_pass import Cut, PromptPass, gathered_tokens
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.errors import MarathonError

#: The kernels that take a mask. Others take only a window's width, and would count kept tokens instead of positions.
MASKED_KERNELS = ("eager", "sdpa")
#: The kinds of layer that read each token for itself, and take no mask.
UNMASKED = ("mlp", "moe")


class InputPruning(Pruning):
    """Prunes at layer 0 only. Raises MarathonError for other layers, and for attention kernels not in `MASKED_KERNELS`."""

    def _refuse(self) -> None:
        if [layer for layer, _ in self.press.cuts] != [0]:
            raise MarathonError(
                f"press={self.press.name()}: this model drops tokens before its first layer only: layer=0"
            )
        kernel = self._config._attn_implementation
        if kernel not in MASKED_KERNELS:
            raise MarathonError(
                f"press={self.press.name()}: attn_implementation={kernel}: with a press that drops tokens before "
                f"the first layer, this model needs {' or '.join(MASKED_KERNELS)}"
            )

    def _hook_layers(self, undo: ExitStack) -> None:
        """Add no hooks to layers: tokens are dropped before the first one."""

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
        positions = kwargs["position_ids"].expand(len(cut.valid), -1)
        cut.rotary = (torch.cat([cut.rotary[0], positions[..., None]], dim=1),)
        cut.valid = torch.cat([cut.valid, torch.ones_like(cut.valid[:, :1])], dim=1)
        return args, {**kwargs, "attention_mask": self._masks(cut, cache, kwargs["inputs_embeds"])}

    def _shortened(
        self, current: PromptPass, cache: DynamicCache, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Return the prompt's arguments without the dropped tokens; None if none is dropped."""
        hidden = kwargs["inputs_embeds"]
        positions = kwargs.get("position_ids")
        if positions is None:
            positions = torch.arange(hidden.shape[1], device=hidden.device)[None]
        # _cut shortens positions as it does rotary tables: as a table of one number per token
        ((_, ratio),) = self.press.cuts
        hidden = self._cut(current, 0, ratio, hidden, cache, (positions[..., None],))
        if 0 not in current.cuts:
            return None
        cut = current.cuts[0]
        changed = {"inputs_embeds": hidden, "position_ids": cut.rotary[0][..., 0]}
        per_layer = kwargs.get("per_layer_inputs")
        if per_layer is not None:
            shortened = gathered_tokens(per_layer.flatten(2), cut.order)
            changed["per_layer_inputs"] = shortened.unflatten(2, per_layer.shape[2:])
        return args, {**kwargs, **changed, "attention_mask": self._masks(cut, cache, hidden)}

    def _masks(self, cut: Cut, cache: DynamicCache, hidden: Tensor) -> dict[str, Any]:
        """Build a mask for each kind of layer; `hidden` [B, new, h] holds the new tokens, the last ones of `cut`."""
        masks: dict[str, Any] = {}
        for number, kind in enumerate(self._config.layer_types):
            if kind in masks or kind in UNMASKED:
                continue
            if kind == "linear_attention":
                masks[kind] = create_recurrent_attention_mask(self._config, hidden, cut.valid)
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
            positions, valid = cut.rotary[0][:, -keys:, 0], cut.valid[:, -keys:]
            masks[kind] = window_mask(positions, valid, hidden, self._config.sliding_window, self._eager)
        return masks

    @property
    def _eager(self) -> bool:
        return bool(self._config._attn_implementation == "eager")


def window_mask(places: Tensor, valid: Tensor, hidden: Tensor, window: int, eager: bool) -> Tensor | None:
    """Build a mask [B, 1, new, keys]: new tokens see themselves and valid tokens less than `window` positions back.

    `places` (positions) and `valid` [B, keys] describe all keys, the new ones last. Returns None when a causal kernel
    needs no mask.
    """
    new, keys = hidden.shape[1], places.shape[1]
    # `<` as in transformers: an unnecessary mask would select another kernel, whose results differ in the last bits
    reach = int((places[:, -1] - places[:, 0]).max()) + 1
    if not eager and new in (1, keys) and bool(valid.all()) and reach < window:
        return None
    # compared, not subtracted, so that the mask is boolean, as in transformers
    seen = (places[:, None, :] > places[:, -new:, None] - window) & valid[:, None]
    seen = seen[:, None].tril(keys - new)
    # a padding token sees itself, because softmax over an empty row is NaN
    seen = seen | torch.eye(new, keys, dtype=torch.bool, device=hidden.device).roll(keys - new, 1)
    if not eager:
        return seen
    return torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, torch.finfo(hidden.dtype).min)
