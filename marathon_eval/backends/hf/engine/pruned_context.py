"""Prefills a context under a pruning press, for an eviction press that then cuts what is left of it.

The whole prompt is read once, so that the pruning press sees what it sees alone, the question included. No token sees
a later one, so the keys of the context are what they would be without the question; those of the question are dropped,
and it is read again with the evicted cache.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import LongTensor, Tensor
from transformers import DynamicCache

from marathon_eval.api.press import Decoder
from marathon_eval.backends.hf.engine.eviction import forward_last, observing
from marathon_eval.backends.hf.engine.eviction_context import Context, Observed, heard_audio
from marathon_eval.backends.hf.engine.pruning import Pruning

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.press_pair import PressPair
    from marathon_eval.backends.hf.inputs import PromptFacts


@torch.inference_mode()
def prefill_pruned(
    decoder: Decoder,
    inputs: Mapping[str, Any],
    length: int,
    pair: PressPair,
    seed: int,
    silent: NDArray[np.bool_] | None = None,
    loudness: Sequence[Tensor] | None = None,
    facts: Sequence[PromptFacts] | None = None,
) -> Context:
    """Prefill the prompt (batch of 1) under the pair's pruning press; return its first `length` tokens as a context."""
    ids = inputs["input_ids"]
    prompt = ids.shape[1]
    question = prompt - length
    audio, unheard = heard_audio(decoder, ids, length, silent)
    context = Context(DynamicCache(config=decoder.stack.config), length, audio, [], unheard, torch.empty(0))

    def places(tokens: int) -> Any:
        """Return which of a layer's tokens the eviction press sees; silent tokens are left in uncut layers alone."""
        shown = context.shown
        return shown if shown is not None and tokens == prompt else slice(0, tokens - question)

    with (
        Pruning(decoder, pair.pruning, [seed], loudness=loudness, silent=[silent], facts=facts) as pruning,
        observing(decoder, pair, places) as seen,
    ):
        logits = forward_last(decoder, inputs, 0, context.cache)
        left = {layer: cast("LongTensor", at[0][at[0] < length]) for layer, at in pruning.left().items()}
        select_s = 0.0 if pruning.kept is None else pruning.kept.select_s
    for layer in context.cache.layers:
        tokens = layer.keys.shape[2] - question
        layer.keys, layer.values = layer.keys[:, :, :tokens], layer.values[:, :, :tokens]
    observed = [seen.get(layer, Observed(None, None)) for layer in range(len(decoder.layers))]
    return Context(context.cache, length, audio, observed, unheard, logits, left, select_s)
