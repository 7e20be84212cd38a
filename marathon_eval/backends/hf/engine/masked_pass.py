"""Computes an answer's logits under a press by definition: one pass without cache that masks what the press removed.

It never shortens a tensor and attends explicitly, so it shares nothing with the machinery that it checks but the
press's own choice. Memory grows with the square of the prompt; it is meant for clips of some seconds. The state of a
Mamba layer can't be masked: for a model with layers that do not attend, the pass reads the prompt without what was removed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from marathon_eval.api.press import Decoder, EvictionPress, EvictionView, Press, PruningPress, PruningView
from marathon_eval.api.press_pair import PressPair
from marathon_eval.backends.hf.engine.eviction import attention_functions

#: Inputs that have one entry per prompt token, beside the ids and their mask.
_PER_TOKEN = ("token_type_ids", "mm_token_type_ids")
#: Takes away, in place, what a layer's queries may see: (layer, [key heads, queries, keys]).
Hide = Callable[[int, Tensor], None]


@dataclass
class PressChoices:
    """Holds what a press selected and merged, call by call, with the candidates that it selected from."""

    candidates: list[Tensor] = field(default_factory=list)
    selected: list[Tensor] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)
    merged: Tensor | None = None
    #: Of a pair of presses: what its pruning press chose.
    pruned: PressChoices | None = None


@contextmanager
def chosen_by(press: Press) -> Iterator[PressChoices]:
    """While open, record what this press object selects; what it selects does not change."""
    choices = PressChoices()
    if isinstance(press, PressPair):
        with chosen_by(press.pruning) as pruned, chosen_by(press.evicting) as choices:
            choices.pruned = pruned
            yield choices
        return
    original: Any = press.select  # type: ignore[attr-defined]  # of both kinds

    def select(view: Any) -> Any:
        selected = original(view)
        choices.candidates.append(_candidates(press, view))
        choices.selected.append(_in_prompt(view, selected))
        choices.layers.append(getattr(view, "layer", -1))
        if isinstance(press, PruningPress):
            choices.merged = press.merged(view, selected)
        return selected

    object.__setattr__(press, "select", select)  # settings are frozen
    try:
        yield choices
    finally:
        object.__delattr__(press, "select")


@torch.inference_mode()
def masked_logits(
    decoder: Decoder,
    tensors: Mapping[str, Tensor],
    tokens: Sequence[int],
    press: Press,
    choices: PressChoices,
    context: int,
) -> Tensor:
    """Return the logits [len(tokens), vocabulary] of the steps that chose `tokens`, with the removed tokens masked.

    `context` is the number of tokens behind which an eviction press's removals count.
    """
    prompt = tensors["input_ids"]
    answer = torch.tensor([list(tokens[:-1])], dtype=prompt.dtype, device=prompt.device)
    whole = {**tensors, "input_ids": torch.cat([prompt, answer], dim=1)}
    whole["attention_mask"] = torch.ones_like(whole["input_ids"])
    for name in _PER_TOKEN:
        if name in whole:
            whole[name] = torch.cat([whole[name], whole[name].new_zeros(answer.shape)], dim=1)
    with ExitStack() as stack:
        hide = []
        if isinstance(press, EvictionPress):
            hide.append(_hide_keys(choices, context))
        pruning = press.pruning if isinstance(press, PressPair) else press
        if isinstance(pruning, PruningPress):
            ((layer, _),), pruned = pruning.cuts, choices.pruned or choices
            if pruned.merged is not None:
                stack.enter_context(_merging(decoder, layer, pruned.selected[0], pruned.merged))
            if all(hasattr(each, "self_attn") for each in decoder.layers):
                hide.append(_hide_tokens(pruned, layer))
            else:
                stack.enter_context(_without(decoder, pruned))
        if hide:
            stack.enter_context(_attending(decoder, hide))
        logits: Tensor = decoder.root(**whole, use_cache=False).logits[0, -len(tokens) :]
    return logits.float().cpu()


def _candidates(press: Press, view: PruningView | EvictionView) -> Tensor:
    """Return the prompt's positions that may go: audio, and silent tokens unless nothing goes."""
    audio = _in_prompt(view, view.audio)
    return audio if view.left_out is None or not press.ratio else torch.cat([audio, view.left_out])


def _in_prompt(view: PruningView | EvictionView, positions: Tensor) -> Tensor:
    """Return the places in the whole prompt of positions in the view, which leaves silent tokens out."""
    if view.left_out is None:
        return positions
    shown = positions.new_ones(view.keys.shape[1] + len(view.left_out), dtype=torch.bool)
    shown[view.left_out] = False
    return shown.nonzero().squeeze(1)[positions]


def _removed(candidates: Tensor, selected: Tensor) -> Tensor:
    return candidates[~torch.isin(candidates, selected)]


def _hide_tokens(choices: PressChoices, layer: int) -> Hide:
    gone = [_removed(each, kept) for each, kept in zip(choices.candidates, choices.selected, strict=True)]

    def hide(index: int, seen: Tensor) -> None:
        if index >= layer and gone:
            seen[..., gone[0]] = False

    return hide


def _hide_keys(choices: PressChoices, context: int) -> Hide:
    by_layer = {
        layer: [_removed(candidates, kept) for kept in selected]
        for layer, candidates, selected in zip(
            choices.layers, choices.candidates, choices.selected, strict=True
        )
    }

    def hide(index: int, seen: Tensor) -> None:
        for head, gone in enumerate(by_layer.get(index, ())):
            seen[head, context:, gone] = False

    return hide


@contextmanager
def _without(decoder: Decoder, choices: PressChoices) -> Iterator[None]:
    """While open, the layers read the prompt as if it had never held the removed tokens; for cuts at the input alone."""
    gone = [_removed(each, kept) for each, kept in zip(choices.candidates, choices.selected, strict=True)]

    def shorter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        embeddings = kwargs["inputs_embeds"]
        read = torch.ones(embeddings.shape[1], dtype=torch.bool, device=embeddings.device)
        if gone:
            read[gone[0]] = False
        changed = {"inputs_embeds": embeddings[:, read], "attention_mask": None, "position_ids": None}
        return args, {**kwargs, **changed}

    handle = decoder.stack.register_forward_pre_hook(shorter, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def _attending(decoder: Decoder, hide: Sequence[Hide]) -> Iterator[None]:
    """While open, the decoder's layers attend by explicit softmax; every token sees itself whatever is hidden."""
    numbers = {id(layer.get_submodule("self_attn")): number for number, layer in enumerate(decoder.layers)}
    functions, name = attention_functions(decoder)
    original = functions[name]

    def explicit(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        if id(module) not in numbers:
            return original(module, query, key, value, *args, **kwargs)
        heads, keys, length = query.shape[1], key.shape[1], query.shape[2]
        seen = torch.ones(keys, length, length, dtype=torch.bool, device=query.device).tril()
        if kwargs.get("sliding_window"):
            seen = seen.triu(1 - int(kwargs["sliding_window"]))
        for each in hide:
            each(numbers[id(module)], seen)
        seen |= torch.eye(length, dtype=torch.bool, device=query.device)
        k, v, visible = (part.repeat_interleave(heads // keys, dim=0) for part in (key[0], value[0], seen))
        scores = query[0].float() @ k.float().transpose(1, 2)
        scores = scores * (kwargs.get("scaling") or query.shape[-1] ** -0.5)
        weights = scores.masked_fill(~visible, -torch.inf).softmax(dim=-1)
        return (weights @ v.float()).to(query.dtype).transpose(0, 1)[None], None

    functions[name] = explicit
    try:
        yield
    finally:
        functions[name] = original


@contextmanager
def _merging(decoder: Decoder, layer: int, places: Tensor, states: Tensor) -> Iterator[None]:
    """While open, the tokens at `places` enter `layer` with the states that the press merged into them."""

    def changed(hidden: Tensor) -> Tensor:
        return hidden.index_copy(1, places, states[None].to(hidden.dtype))

    def enter(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not layer:
            return args, {**kwargs, "inputs_embeds": changed(kwargs["inputs_embeds"])}
        if args:
            return (changed(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": changed(kwargs["hidden_states"])}

    module = decoder.layers[layer] if layer else decoder.stack
    handle = module.register_forward_pre_hook(enter, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
