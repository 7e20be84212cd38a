"""Answers with any chat model under a press, by the harness and by the definition of the press.

The definition is one pass of the model over prompt and answer, without cache, hooks or generate. Attention is
computed explicitly, and the removed tokens are masked: from the cut's layer on for pruning, per layer and head for
eviction. It never shortens a tensor, so it shares no code with what it checks. Only the state of a Mamba layer can't be
masked: there, the definition is the prompt without the removed tokens.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor
from transformers import GenerationConfig
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers.tiny_model_cases import Bench
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.api.press import EvictionPress, EvictionView, Press, PruningPress, PruningView
from marathon_eval.backends.hf.engine.eviction import (
    answer,
    context_length,
    keep_selected_keys,
    prefill_context,
)
from marathon_eval.backends.hf.engine.input_pruning import InputPruning
from marathon_eval.backends.hf.engine.prompt_facts import with_facts
from marathon_eval.backends.hf.engine.prompt_pass import KeptTokens
from marathon_eval.backends.hf.engine.pruning import Pruning
from marathon_eval.backends.hf.engine.request_inputs import token_loudness
from marathon_eval.backends.hf.inputs import Inputs

STEPS = 4


@dataclass
class Answered:
    """Holds a greedy answer's logits [B, step, vocabulary] and tokens [B, step], and the keys cached per layer."""

    logits: Tensor
    tokens: Tensor
    cached: list[int]
    kept: KeptTokens | None = None
    #: What the press named, call by call; for eviction layer by layer [key heads, keep].
    chosen: Sequence[Tensor] = ()
    merged: Tensor | None = None
    #: Where an evicted cache was cut: who comes later misses keys.
    length: int = 0


def inputs_of(there: Bench, *seconds: float, first: int = 0) -> Inputs:
    """Build a batch of prompts of different lengths, each with noise; return the rows from `first` on."""
    rows = range(first, first + len(seconds))
    waves = [[noise(length, row)] for row, length in zip(rows, seconds, strict=True)]
    requests = [Request("What is heard?" + " Say it." * row, (Audio("unread.wav"),)) for row in rows]
    inputs = there.adapter().prepare(there.loaded, requests, waves)
    heard = [token_loudness(wave, tokens) for wave, tokens in zip(waves, inputs.audio_tokens, strict=True)]
    inputs = replace(inputs, loudness=heard)
    if there.case.transcribes:
        return inputs
    return with_facts(inputs, requests, there.loaded.tokenizer, there.decoder.audio_token_ids)


def written(there: Bench) -> list[int]:
    """Return ids that an answer must not contain: the definition's pass would take a placeholder for audio."""
    named = [there.loaded.tokenizer.convert_tokens_to_ids(token) for token in SPECIAL]
    decoder = there.decoder
    return sorted({*decoder.audio_token_ids, *there.loaded.tokenizer.all_special_ids, *filter(None, named)})


SPECIAL = (
    "<end_of_turn>",
    "<|AUDIO|>",
    "<|IMAGE|>",
    "<|VIDEO|>",
    "<|image|>",
    "<|video|>",
    "<image_soft_token>",
    "<image>",
    "<video>",
)


def generated(
    there: Bench,
    inputs: Inputs,
    press: PruningPress | None = None,
    early_exit: bool = True,
    seeds: Sequence[int] = (11, 12),
    silent: bool = False,
) -> Answered:
    """Answer the batch with `model.generate`, under the press; `silent` tells it which tokens stand for no sound."""
    config = GenerationConfig(
        max_new_tokens=STEPS,
        do_sample=False,
        pad_token_id=0,
        suppress_tokens=written(there),
        output_logits=True,
        return_dict_in_generate=True,
    )
    decoder, prompt = there.decoder, inputs.tensors["input_ids"].shape[1]
    pruning = None
    with torch.inference_mode(), recorded(press) as chosen, ExitStack() as stack:
        if press is not None:
            kind = InputPruning if decoder.cut_at_input else Pruning
            rows = len(inputs.tensors["input_ids"])
            pruning = stack.enter_context(
                kind(decoder, press, seeds[:rows], early_exit, inputs.loudness, facts=inputs.facts)
            )
            if silent:
                pruning.silent = [inputs.silent(row) for row in range(rows)]
        out = there.loaded.model.generate(**inputs.tensors, generation_config=config)
    return Answered(
        logits=torch.stack(out.logits, dim=1),
        tokens=out.sequences[:, prompt:],
        cached=[keys.shape[-2] - (STEPS - 1) for keys in keys_of(out.past_key_values)],
        kept=pruning.kept if pruning else None,
        chosen=chosen.named,
        merged=chosen.merged,
    )


def keys_of(cache: Any) -> list[Tensor]:
    """Return the keys of the layers that have any: a Mamba layer has none, nor has one that takes another's."""
    return [layer.keys for layer in cache.layers if getattr(layer, "keys", None) is not None]


def after_eviction(
    there: Bench,
    inputs: Inputs,
    press: EvictionPress,
    seed: int = 1,
    keep_all: bool = False,
    silent: bool = False,
) -> Answered:
    """Answer one prompt with the two-stage loop of eviction."""
    ids, decoder = inputs.tensors["input_ids"], there.decoder
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids)).nonzero().squeeze(1)
    length = context_length(press, ids, audio)
    with recorded(press) as chosen:
        unheard = inputs.silent(0) if silent else None
        context = prefill_context(decoder, inputs.tensors, length, press, unheard)
        cache = keep_selected_keys(decoder, context, press, seed, keep_all)
    cached, tokens, forbidden = [layer.keys.shape[2] for layer in cache.layers], [], written(there)

    def choose(logits: Tensor) -> int | None:
        if len(tokens) == STEPS - 1:
            return None
        tokens.append(int(logits.index_fill(0, torch.tensor(forbidden), -torch.inf).argmax()))
        return tokens[-1]

    steps = answer(decoder, cache, ids[:, length:], length, choose, context.logits)
    return Answered(
        torch.stack(list(steps))[None], torch.tensor([tokens]), cached, chosen=chosen.named, length=length
    )


class Chosen:
    """Holds what a press selected and merged, call by call."""

    def __init__(self) -> None:
        self.named: list[Tensor] = []
        self.merged: Tensor | None = None


@contextmanager
def recorded(press: Press | None) -> Iterator[Chosen]:
    """Record what the press selects."""
    seen = Chosen()
    if press is None:
        yield seen
        return
    original: Any = type(press).select  # type: ignore[attr-defined]  # of either kind

    def select(self: Any, view: PruningView | EvictionView) -> Any:
        named = original(self, view)
        seen.named.append(named)
        if isinstance(self, PruningPress):
            seen.merged = self.merged(cast("PruningView", view), named)
        return named

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(press), "select", select)
        yield seen


def by_definition(there: Bench, inputs: Inputs, done: Answered, press: Press) -> Tensor:
    """Return the logits [step, vocabulary] of one sample's answer, with the tokens that the press removed masked."""
    ids = torch.cat([inputs.tensors["input_ids"], done.tokens[:, : STEPS - 1]], dim=1)
    whole = {**inputs.tensors, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    decoder = there.decoder
    audio = torch.isin(inputs.tensors["input_ids"][0], torch.tensor(decoder.audio_token_ids))
    with torch.inference_mode(), ExitStack() as stack:
        if isinstance(press, PruningPress):
            if done.merged is not None:
                stack.enter_context(carrying(there, press.layer, done.chosen[0], done.merged))
            if there.case.recurrent:
                stack.enter_context(shortened(there, audio, done.chosen[0]))
            else:
                stack.enter_context(attending(there, unseen_from(press.layer, audio, done.chosen[0])))
        else:
            stack.enter_context(attending(there, unseen_later(audio, done.chosen, done.length)))
        logits: Tensor = there.loaded.model(**whole, use_cache=False).logits[0]
    return logits[-STEPS:]


Sight = Callable[[int, Tensor], None]
"""Takes away, in place, what layer's queries may see: [key heads, queries, keys]."""


def unseen_from(layer: int, audio: Tensor, stays: Tensor) -> Sight:
    goes = audio.clone()
    goes[stays] = False

    def hide(index: int, seen: Tensor) -> None:
        if index >= layer:
            seen[..., : len(goes)] &= ~goes

    return hide


def unseen_later(audio: Tensor, stays: Sequence[Tensor], length: int) -> Sight:
    def hide(index: int, seen: Tensor) -> None:
        for head, kept in enumerate(stays[index]):
            goes = audio.clone()
            goes[kept] = False
            seen[head, length:, : len(goes)] &= ~goes

    return hide


@contextmanager
def attending(there: Bench, hide: Sight) -> Iterator[None]:
    """Compute the attention of the language model's layers explicitly; a dropped token still attends to itself."""
    layers = there.decoder.layers
    numbers = {id(layer.get_submodule("self_attn")): number for number, layer in enumerate(layers)}
    original = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def by_hand(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        if id(module) not in numbers:
            return original(module, query, key, value, *args, **kwargs)
        (_, heads, length, size), key_heads = query.shape, key.shape[1]
        seen = torch.ones(key_heads, length, length, dtype=torch.bool).tril()
        if kwargs.get("sliding_window"):
            seen &= torch.ones_like(seen).triu(1 - kwargs["sliding_window"])
        hide(numbers[id(module)], seen)
        seen |= torch.eye(length, dtype=torch.bool)
        groups = heads // key_heads
        keys, values, seen = (part.repeat_interleave(groups, 0) for part in (key[0], value[0], seen))
        scaling = kwargs.get("scaling") or size**-0.5
        weights = (query[0] @ keys.transpose(1, 2) * scaling).masked_fill(~seen, -torch.inf).softmax(-1)
        return (weights @ values).transpose(0, 1)[None], None

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", by_hand)
        yield


@contextmanager
def carrying(there: Bench, layer: int, places: Tensor, states: Tensor) -> Iterator[None]:
    """Let the tokens at `places` enter `layer` with these states; layer 0 is the input of the stack."""
    decoder = there.decoder

    def written_over(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if not layer:
            return args, {
                **kwargs,
                "inputs_embeds": kwargs["inputs_embeds"].index_copy(1, places, states[None]),
            }
        if args:
            return (args[0].index_copy(1, places, states[None]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": kwargs["hidden_states"].index_copy(1, places, states[None])}

    with hooked(decoder.layers[layer] if layer else decoder.stack, written_over):
        yield


@contextmanager
def shortened(there: Bench, audio: Tensor, stays: Tensor) -> Iterator[None]:
    """Let the layers read the prompt without the audio tokens that are not at `stays`, as if it had never held them."""

    def without(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        embeddings = kwargs["inputs_embeds"]
        read = torch.ones(embeddings.shape[1], dtype=torch.bool)
        read[: len(audio)] = ~audio
        read[stays] = True
        return args, {
            **kwargs,
            "inputs_embeds": embeddings[:, read],
            "attention_mask": None,
            "position_ids": None,
        }

    with hooked(there.decoder.stack, without):
        yield


@contextmanager
def hooked(module: Any, hook: Any) -> Iterator[None]:
    """Call `hook` with the module's arguments, which it may change, while open."""
    handle = module.register_forward_pre_hook(hook, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()
