"""Prefills in two stages: reads the audio, evicts audio keys from the cache, then reads the question and answers.

A one-pass prefill computes the first answer token before anything is evicted, so one-letter answers would not depend
on the press. Here the context (everything up to the last audio token) is prefilled alone, every layer's audio keys
are cut, and the question is read with the remaining keys. Kept keys keep their rotary positions, and new tokens
continue from the full length. `generate` cannot continue from such a cache, because it slices the prompt by the
cache's length; hence the decoding loop here.

The stages share no state but their arguments: one `Context` serves any number of presses, ratios and questions.
Contexts are read and cut one by one; batched_decoding.py decodes several answers together.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import LongTensor, Tensor
from transformers import Cache, DynamicCache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from marathon_eval.api.press import Decoder, EvictionPress, EvictionView
from marathon_eval.api.press_replies import checked_key_positions, press_reply
from marathon_eval.backends.hf.engine.eviction_context import (
    Context,
    Observed,
    heard_audio,
    positions_without_silence,
)
from marathon_eval.backends.hf.engine.kvpress_scoring import scoring
from marathon_eval.backends.hf.engine.prompt_pass import synced
from marathon_eval.backends.hf.engine.received_attention import received_attention
from marathon_eval.backends.hf.engine.token_map import KeptKeys

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Returns, for a layer's number of tokens, the index of those that a press sees.
SeenTokens = Callable[[int], Any]


def context_length(press: EvictionPress, input_ids: Tensor, audio: Tensor) -> int:
    """Return the length of the context: up to the last audio token; with `evict=prompt` or without audio, the whole prompt."""
    if press.evict != "context" or not len(audio):
        return int(input_ids.shape[1])
    return int(audio[-1]) + 1


@torch.inference_mode()
def prefill_context(
    decoder: Decoder,
    inputs: Mapping[str, Any],
    length: int,
    press: EvictionPress,
    silent: NDArray[np.bool_] | None = None,
) -> Context:
    """Prefill the first `length` prompt tokens (batch of 1), and observe in each layer what the press needs.

    `silent` says which of the prompt's audio tokens stand for no sound; None: all stand for some.
    """
    ids = inputs["input_ids"]
    audio, unheard = heard_audio(decoder, ids, length, silent)
    prefix = {**inputs, "input_ids": ids[:, :length], "attention_mask": inputs["attention_mask"][:, :length]}
    cache = DynamicCache(config=decoder.stack.config)
    shown = positions_without_silence(length, unheard)
    watching = scoring if press.needs_module else observing
    with watching(decoder, press, lambda tokens: slice(None) if shown is None else shown) as seen:
        logits = forward_last(decoder, prefix, 0, cache)
    observed = [seen.get(layer, Observed(None, None)) for layer in range(len(decoder.layers))]
    return Context(cache, length, audio, observed, unheard, logits)


@torch.inference_mode()
def keep_selected_keys(
    decoder: Decoder,
    context: Context,
    press: EvictionPress,
    seed: int,
    keep_all: bool = False,
    stays: KeptKeys | None = None,
) -> DynamicCache:
    """Return a new cache with each layer's audio keys cut to the press's budget; all other keys stay.

    Keys of silent audio tokens are dropped first; at ratio 0 nothing is dropped. `keep_all` selects every key by the same
    code, for tests: the answers must not change. `stays`, if given, accumulates per token the share of layers and heads
    that keep it.
    """
    shrunk = DynamicCache(config=decoder.stack.config)
    layers = len(decoder.layers)
    budgets = press.budgets(len(context.audio), layers) if len(context.audio) else [0] * layers
    for layer, count in enumerate(budgets):
        stored, tokens = context.cache.layers[layer], context.tokens(layer)
        audio = int(tokens.is_audio.sum())
        # a pruning press may have left fewer than this layer's share
        count = audio if keep_all else min(count, audio)
        silent_leaves = not tokens.shown.all() and audio > 0 and press.ratio > 0 and not keep_all
        if count == audio and not keep_all and not silent_leaves:
            keys, values = stored.keys, stored.values
            kept = None
        else:
            view = _view(decoder, context, press, layer, count, seed)
            shown = tokens.shown.to(stored.keys.device)
            rule = press.parts[-1]  # of a pair, the one that evicts
            chosen = checked_key_positions(rule, view, press_reply(rule, view, press.select))
            kept = _kept(view, chosen, shown, silent_leaves)
            keys, values = _gathered(stored.keys, stored.values, kept)
        if stays is not None:
            stays.add(layer, kept)
        shrunk.update(keys, values, layer)
    return shrunk


def _view(
    decoder: Decoder, context: Context, press: EvictionPress, layer: int, count: int, seed: int
) -> EvictionView:
    stored, observed = context.cache.layers[layer], context.observed[layer]
    tokens = context.tokens(layer)
    # layers may lie on several devices
    shown, audio = (part.to(stored.keys.device) for part in (tokens.shown, tokens.is_audio))
    keys, values = stored.keys[0], stored.values[0]
    if not shown.all():
        keys, values = keys[:, shown], values[:, shown]

    def rotation(positions: int) -> Tensor:
        return mean_rotation(decoder, context.length, positions, stored.keys)

    return EvictionView(
        layer=layer,
        layers=len(decoder.layers),
        keys=keys,
        values=values,
        queries=observed.queries,
        unrotated=observed.unrotated,
        rotation=rotation,
        audio=cast("LongTensor", audio.nonzero().squeeze(1)),
        keep=count,
        generator=torch.Generator().manual_seed(seed),
        scores=observed.scores,
        received=observed.received,
        left_out=cast("LongTensor", tokens.left_out) if len(tokens.left_out) else None,
    )


def _kept(view: EvictionView, chosen: Tensor, shown: Tensor, silent_leaves: bool) -> Tensor:
    """Return the places [key heads, n] of text and selected audio, ascending, and of silent tokens unless `silent_leaves`.

    `shown` [cached] is False for silent tokens.
    """
    heads, shown_length = view.keys.shape[:2]
    shown_stay = torch.ones(heads, shown_length, dtype=torch.bool, device=view.keys.device)
    shown_stay[:, view.audio] = False
    shown_stay.scatter_(1, chosen, True)
    stay = shown_stay.new_full((heads, len(shown)), not silent_leaves)
    stay[:, shown] = shown_stay
    kept: Tensor = stay.nonzero()[:, 1].unflatten(0, (heads, -1))
    return kept


def _gathered(keys: Tensor, values: Tensor, kept: Tensor) -> tuple[Tensor, Tensor]:
    """Gather keys and values [1, heads, T, d] to [1, heads, n, d]."""
    index = kept[None, :, :, None]
    return (
        keys.gather(2, index.expand(-1, -1, -1, keys.shape[-1])),
        values.gather(2, index.expand(-1, -1, -1, values.shape[-1])),
    )


def mean_rotation(decoder: Decoder, first: int, count: int, like: Tensor) -> Tensor:
    """Return the mean rotary matrix [d, d] of `count` positions from `first`; identity where nothing rotates."""
    positions = torch.arange(first, first + count, device=like.device)[None]
    rotary = decoder.stack.get_submodule("rotary_emb")
    try:
        cos, sin = rotary(like, positions)
    except (IndexError, RuntimeError):  # multimodal rotary: the same position on three axes
        cos, sin = rotary(like, positions.expand(3, 1, -1))
    cos, sin = (part.reshape(-1, *part.shape[-2:])[0].float().mean(0).to(like.device) for part in (cos, sin))
    size, rotated = like.shape[-1], cos.shape[-1]
    turn = torch.eye(size, device=like.device)
    turn[:rotated, :rotated] = torch.diag(cos)
    half = rotated // 2
    rows = torch.arange(half, device=like.device)
    turn[rows, rows + half] = -sin[:half]
    turn[rows + half, rows] = sin[half:]
    return turn


def _unrotated(queries: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Undo the rotation of [heads, T, d] queries by [..., T, rotated] tables: the transposed rotation."""
    cos, sin = (part.reshape(-1, *part.shape[-2:])[0].to(queries.device) for part in (cos, sin))
    turning, rest = queries[..., : cos.shape[-1]], queries[..., cos.shape[-1] :]
    first, second = turning.chunk(2, dim=-1)
    back = turning * cos - torch.cat([-second, first], dim=-1) * sin
    return torch.cat([back, rest], dim=-1)


@contextmanager
def observing(
    decoder: Decoder, press: EvictionPress, places: SeenTokens = lambda tokens: slice(None)
) -> Iterator[dict[int, Observed]]:
    """While open, store the queries that the press needs, at the places that it sees; no T x T matrix is made."""
    seen: dict[int, Observed] = {}
    if not press.window and not press.needs_queries and not press.needs_received:
        yield seen
        return
    tables: dict[str, Tensor] = {}

    def remember(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        tables["cos"], tables["sin"] = kwargs["position_embeddings"]

    def look(layer: int, query: Tensor, key: Tensor) -> None:
        started = synced(query)
        seen_places = places(query.shape[2])
        last = query[0, :, seen_places][:, -press.window :].clone() if press.window else None
        copied = synced(query)
        raw = _unrotated(query[0], **tables)[:, seen_places] if press.needs_queries else None
        unrotated_at = synced(query)
        received = None
        if press.needs_received:
            received, _ = received_attention(query[0][:, seen_places], key[0][:, seen_places])
        seen[layer] = Observed(
            last,
            raw,
            queries_s=copied - started,
            unrotated_s=unrotated_at - copied,
            received=received,
            received_s=synced(query) - unrotated_at,
        )

    # every layer's own: behind the cut of a pruning press there are fewer positions
    hooks = [layer.register_forward_pre_hook(remember, with_kwargs=True) for layer in decoder.layers]
    try:
        with tapped_attention(decoder, look):
            yield seen
    finally:
        for hook in hooks:
            hook.remove()


@contextmanager
def tapped_attention(decoder: Decoder, look: Callable[[int, Tensor, Tensor], None]) -> Iterator[None]:
    """While open, call `look(layer, queries, keys)` whenever a decoder layer attends. Not thread-safe.

    Queries are [1, heads, new, d], and keys [1, key heads, cached and new, d].
    """
    modules = {id(layer.get_submodule("self_attn")): number for number, layer in enumerate(decoder.layers)}
    functions, name = attention_functions(decoder)
    original = functions[name]

    def tap(module: Any, query: Tensor, key: Tensor, *args: Any, **kwargs: Any) -> Any:
        if id(module) in modules:
            look(modules[id(module)], query, key)
        return original(module, query, key, *args, **kwargs)

    functions[name] = tap
    try:
        yield
    finally:
        functions[name] = original


def attention_functions(decoder: Decoder) -> tuple[MutableMapping[str, Any], str]:
    """Return the mapping in which the decoder's layers look up their attention function, and its key there.

    "eager" is not in transformers' registry: each modeling file defines its own, and its encoders may have another one.
    """
    name = _kernel(decoder)
    if name != "eager":
        return ALL_ATTENTION_FUNCTIONS, name
    attention = decoder.layers[0].get_submodule("self_attn")
    return vars(sys.modules[type(attention).__module__]), "eager_attention_forward"


def _kernel(decoder: Decoder) -> str:
    config: Any = decoder.stack.config
    return str(config._attn_implementation)


@contextmanager
def own_masks(decoder: Decoder, cache: Cache, valid: Sequence[Tensor] | None = None) -> Iterator[None]:
    """While open, each layer gets a mask of its own cache length; transformers builds one for all from layer 0's.

    The mask has the form that the attention kernel takes: none at all for flash attention. `valid` holds for a batch
    each layer's [B, keys], new ones included, False for padding; it may change from step to step.
    """

    def masked(layer: int) -> Callable[..., Any]:
        def hook(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
            mask = create_causal_mask(
                config=decoder.stack.config,
                inputs_embeds=args[0] if args else kwargs["hidden_states"],
                attention_mask=None if valid is None else valid[layer],
                past_key_values=cache,
                layer_idx=layer,
            )
            # no position_ids: flash attention takes positions that do not start at 0 for several packed sequences
            return args, {**kwargs, "attention_mask": mask, "position_ids": None}

        return hook

    hooks = [
        layer.register_forward_pre_hook(masked(number), with_kwargs=True)
        for number, layer in enumerate(decoder.layers)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def forward_last(decoder: Decoder, inputs: Mapping[str, Any], first: int, cache: Cache) -> Tensor:
    """Run the model and return the last token's logits [vocabulary]; positions count from `first`."""
    ids = inputs["input_ids"]
    positions = torch.arange(first, first + ids.shape[1], device=ids.device)[None]
    output = decoder.root(**inputs, position_ids=positions, past_key_values=cache, use_cache=True)
    return cast("Tensor", output.logits[0, -1])


@torch.inference_mode()
def answer(
    decoder: Decoder,
    cache: DynamicCache,
    question: Tensor,
    first: int,
    choose: Callable[[Tensor], int | None],
    logits: Tensor | None = None,
) -> Generator[Tensor]:
    """Read `question` [1, q] at positions from `first`, then decode; yields each step's logits [vocabulary].

    `choose` returns the next token for the logits, or None to stop. With an empty question, decoding starts from
    `logits`, and ValueError is raised without them.
    """
    with own_masks(decoder, cache):
        if question.shape[1]:
            logits = forward_last(decoder, {"input_ids": question}, first, cache)
        if logits is None:
            raise ValueError("no question and no logits")
        position = first + question.shape[1]
        yield logits
        while (token := choose(logits)) is not None:
            step = torch.tensor([[token]], device=question.device)
            logits = forward_last(decoder, {"input_ids": step}, position, cache)
            position += 1
            yield logits
