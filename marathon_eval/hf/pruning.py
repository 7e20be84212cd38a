"""Dropping audio tokens inside the decoder, by hooks: no modeling file is copied.

Layers 0 .. K-1 run on the whole prompt. At the input of layer K the press names the audio tokens that stay; hidden
states, rotary embeddings and the mask are cut to them and to all text, and kept tokens keep their positions. From then
on the layers' caches have two lengths, so the mask of layers K .. is built from layer K's own length, in decoding too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

import torch
from torch import Tensor
from transformers import DynamicCache
from transformers.masking_utils import create_causal_mask

from marathon_eval.errors import MarathonError
from marathon_eval.hf.attention_tap import LastTokenAttention
from marathon_eval.press import Decoder, PruningPress, PruningView, budget


@dataclass
class _Pass:
    """One prompt on its way: what the prefill decided and decoding needs."""

    audio: Tensor
    valid: Tensor
    prefill: bool = True
    order: Tensor | None = None
    short_valid: Tensor | None = None
    mask: Any = None
    rotary: tuple[Tensor, ...] = ()


@dataclass(frozen=True)
class Kept:
    """What the last prefill kept, one number per sample."""

    audio: list[int]
    kept: list[int]
    prompt: list[int]
    select_s: float


@dataclass
class Pruning:
    """`with Pruning(decoder, press, seeds) as pruning: model.generate(...)`; afterwards `pruning.kept` tells.

    `seeds`: one per sample of the batch, in order; `loudness` likewise, for presses that ask for it. `early_exit=False` runs the machinery also where nothing is
    dropped, for tests. Raises MarathonError for a layer that the model lacks or layers that attend in windows;
    ValueError for ways of generating that cannot be pruned (beams, static caches, prompts in pieces).
    """

    decoder: Decoder
    press: PruningPress
    seeds: Sequence[int]
    early_exit: bool = True
    loudness: Sequence[Tensor] | None = None
    kept: Kept | None = None
    _pass: _Pass | None = field(default=None, init=False)
    _prompt: tuple[Tensor, Tensor | None] | None = field(default=None, init=False)
    _tap: LastTokenAttention | None = field(default=None, init=False)
    _undo: ExitStack = field(default_factory=ExitStack, init=False)

    def __post_init__(self) -> None:
        layers = len(self.decoder.layers)
        if self.press.layer >= layers:
            raise MarathonError(
                f"press={self.press.name()}: layer={self.press.layer}: this model has {layers} layers, "
                f"layer must be 1 to {layers - 1}"
            )
        kinds = set(getattr(self._config, "layer_types", None) or ["full_attention"])
        if kinds != {"full_attention"}:
            raise MarathonError(
                f"press={self.press.name()}: this model has {', '.join(sorted(kinds - {'full_attention'}))} layers, "
                "where tokens can't be dropped"
            )

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            self._hook(undo, self.decoder.root, self._see_prompt)
            self._hook(undo, self.decoder.stack, self._begin)
            for index in range(self.press.layer, len(self.decoder.layers)):
                self._hook(undo, self.decoder.layers[index], partial(self._before_layer, index))
            if self.press.needs_attention:
                layer = self.decoder.layers[self.press.layer - 1]
                attention = cast("torch.nn.Module", layer.self_attn)
                self._tap = undo.enter_context(LastTokenAttention(attention, self._config))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()
        self._pass = self._prompt = self._tap = None

    @property
    def _config(self) -> Any:
        return self.decoder.stack.config

    @property
    def _merges(self) -> bool:
        return type(self.press).merged is not PruningPress.merged

    @staticmethod
    def _hook(undo: ExitStack, module: torch.nn.Module, hook: Any) -> None:
        undo.callback(module.register_forward_pre_hook(hook, with_kwargs=True).remove)

    # -- hooks, in the order in which one forward meets them ----------------------------------------------------

    def _see_prompt(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        ids = kwargs.get("input_ids", args[0] if args else None)
        if ids is None:
            raise ValueError(
                "tokens can't be dropped from a prompt of embeddings alone: input_ids are needed"
            )
        self._prompt = ids, kwargs.get("attention_mask")

    def _begin(self, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        cache = kwargs.get("past_key_values")
        if self._prompt is None:
            raise ValueError("the decoder ran without its model")
        ids, mask = self._prompt
        if cache is not None and not isinstance(cache, DynamicCache):
            raise ValueError(
                f"tokens can't be dropped with a {type(cache).__name__}: only with a DynamicCache"
            )
        if cache is not None and cache.get_seq_length() > 0:
            if self._pass is None or ids.shape[1] != 1:
                raise ValueError("tokens can't be dropped from a prompt that arrives in pieces")
            self._pass.prefill = False
            return
        if len(ids) != len(self.seeds):
            raise ValueError(
                f"{len(ids)} sequences for {len(self.seeds)} samples: beams and several answers can't be pruned"
            )
        audio = torch.isin(ids, torch.tensor(self.decoder.audio_token_ids, device=ids.device))
        valid = torch.ones_like(audio) if mask is None else _left_padded(mask)
        self._pass = _Pass(audio & valid, valid)
        if self._tap is not None:
            self._tap.valid = valid

    def _before_layer(
        self, index: int, module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        current = self._pass
        if current is None:
            raise ValueError("a layer ran without its decoder")
        hidden = args[0] if args else kwargs["hidden_states"]
        if index == self.press.layer:
            hidden = self._at_the_cut(current, hidden, kwargs)
        if current.order is None:
            return None
        # Position ids serve only to find packed sequences in flash attention; gaps would mislead it.
        changed = {**kwargs, "attention_mask": current.mask, "position_ids": None}
        if current.prefill:
            changed["position_embeddings"] = current.rotary
        if args:
            return (hidden, *args[1:]), changed
        return (), {**changed, "hidden_states": hidden}

    # -- the cut ------------------------------------------------------------------------------------------------

    def _at_the_cut(self, current: _Pass, hidden: Tensor, kwargs: dict[str, Any]) -> Tensor:
        """In the prefill: choose and cut. In decoding: the new token joins the kept ones. Both: the mask."""
        cache = kwargs.get("past_key_values")
        if cache is None:
            raise ValueError("tokens can't be dropped without a KV cache (use_cache=False)")
        if current.prefill:
            hidden = self._cut(current, hidden, cache, kwargs["position_embeddings"])
        elif current.short_valid is not None:
            new = torch.ones_like(current.short_valid[:, :1])
            current.short_valid = torch.cat([current.short_valid, new], dim=1)
        if current.order is not None:
            current.mask = create_causal_mask(
                config=self._config,
                inputs_embeds=hidden,
                attention_mask=current.short_valid,
                past_key_values=cache,
                layer_idx=self.press.layer,
            )
        return hidden

    def _cut(self, current: _Pass, hidden: Tensor, cache: DynamicCache, rotary: tuple[Tensor, ...]) -> Tensor:
        started = _now(hidden)
        keep = current.valid & ~current.audio
        before, hidden = hidden, hidden.clone() if self._merges else hidden
        for row in range(len(keep)):
            self._choose(current, before, hidden, cache, row, keep)
        lengths = keep.sum(dim=1)
        self.kept = Kept(
            audio=current.audio.sum(dim=1).tolist(),
            kept=(keep & current.audio).sum(dim=1).tolist(),
            prompt=lengths.tolist(),
            select_s=_now(hidden) - started,
        )
        total, longest = keep.shape[1], int(lengths.max())
        if longest == total and self.early_exit:
            return hidden
        # A stable sort puts what stays at the end, in order, and what goes (or pads) before it.
        current.order = keep.int().argsort(dim=1, stable=True)[:, total - longest :]
        current.short_valid = keep.gather(1, current.order)
        current.rotary = tuple(taken(part, current.order) for part in rotary)
        return taken(hidden, current.order)

    def _choose(
        self, current: _Pass, hidden: Tensor, after: Tensor, cache: DynamicCache, row: int, keep: Tensor
    ) -> None:
        """Ask the press about one sample, without its padding: mark what stays, and write what it carries on."""
        start = int((~current.valid[row]).sum())
        audio: Any = current.audio[row, start:].nonzero().squeeze(1)
        if not len(audio):
            return
        attention = None if self._tap is None or self._tap.row is None else self._tap.row[row, start:]
        view = PruningView(
            hidden=hidden[row, start:],
            norm=self.decoder.norm,
            keys=_keys(cache, self.press.layer - 1)[row, :, start:],
            attention=attention,
            audio=audio,
            keep=budget(len(audio), self.press.ratio),
            loudness=None if self.loudness is None else self.loudness[row],
            generator=torch.Generator().manual_seed(self.seeds[row]),
        )
        chosen = self.press.select(view)
        if (
            len(chosen.unique()) != view.keep
            or len(chosen) != view.keep
            or not torch.isin(chosen, audio).all()
        ):
            raise ValueError(
                f"press {self.press.name()} named {len(chosen)} of {len(audio)} audio tokens; "
                f"it must name {view.keep} different ones"
            )
        keep[row, chosen + start] = True
        merged = self.press.merged(view, chosen)
        if merged is not None:
            after[row, chosen + start] = merged


def taken(values: Tensor, order: Tensor) -> Tensor:
    """`values` [..., B or 1, T, D] gathered along T by `order` [B, n]."""
    if values.shape[-3] == 1 and len(order) > 1:
        values = values.expand(*values.shape[:-3], len(order), *values.shape[-2:])
    order = order.to(values.device)
    index = order.reshape(*[1] * (values.dim() - 3), *order.shape, 1)
    return values.gather(-2, index.expand(*values.shape[:-2], order.shape[1], values.shape[-1]))


def _keys(cache: DynamicCache, layer: int) -> Tensor:
    keys: Tensor = cache.layers[layer].keys
    return keys


def _left_padded(mask: Tensor) -> Tensor:
    """The mask [B, T] as booleans; the last token must be real and padding stand on the left. Raises ValueError."""
    if mask.dim() != 2:
        raise ValueError(
            "tokens can't be dropped under a ready-made attention mask: a padding mask [B, T] is needed"
        )
    valid = mask.bool()
    if not (valid[:, 1:] >= valid[:, :-1]).all() or not valid[:, -1].all():
        raise ValueError("tokens can be dropped from left-padded batches only")
    return valid


def _now(tensor: Tensor) -> float:
    if tensor.is_cuda:
        torch.cuda.synchronize(tensor.device)
    return time.perf_counter()
