"""Decodes several answers together from caches of unequal length, as eviction leaves them.

Every head keeps other keys, but each row's keys are all of the past that a new token of this row may see. So the caches
are padded on the left to one length per layer, and the mask hides the padding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache

from marathon_eval.api.press import Decoder
from marathon_eval.backends.hf.engine.eviction import own_masks


@torch.inference_mode()
def decode_together(
    decoder: Decoder,
    caches: Sequence[DynamicCache],
    positions: Sequence[int],
    choosers: Sequence[Callable[[Tensor], int | None]],
    logits: Sequence[Tensor],
) -> None:
    """Decode until every row's chooser returns None; `logits` [vocabulary] give each row's first token.

    `positions` are those of the rows' next tokens. A row that has ended still runs, and what it says is ignored.
    """
    tokens = [choose(first) for choose, first in zip(choosers, logits, strict=True)]
    fed = [0 if token is None else token for token in tokens]
    cache, valid = merged(decoder, caches)
    place = torch.tensor(positions, device=logits[0].device)[:, None]
    with own_masks(decoder, cache, valid):
        while any(token is not None for token in tokens):
            fed = [old if token is None else token for token, old in zip(tokens, fed, strict=True)]
            for layer, mask in enumerate(valid):
                valid[layer] = pad(mask, (0, 1), value=True)
            step = torch.tensor(fed, device=place.device)[:, None]
            output = decoder.root(input_ids=step, position_ids=place, past_key_values=cache, use_cache=True)
            tokens = [
                None if token is None else choosers[row](output.logits[row, -1])
                for row, token in enumerate(tokens)
            ]
            place = place + 1


def merged(decoder: Decoder, caches: Sequence[DynamicCache]) -> tuple[DynamicCache, list[Tensor]]:
    """Join caches of one sample each to a batch; also returns each layer's mask [B, keys], False where keys are padding."""
    joined, valid = DynamicCache(config=decoder.stack.config), []
    for number in range(len(decoder.layers)):
        layers = [cache.layers[number] for cache in caches]
        longest = max(layer.keys.shape[2] for layer in layers)
        short = [longest - layer.keys.shape[2] for layer in layers]
        keys, values = (
            torch.cat([pad(part, (0, 0, missing, 0)) for part, missing in zip(parts, short, strict=True)])
            for parts in ([layer.keys for layer in layers], [layer.values for layer in layers])
        )
        joined.update(keys, values, number)
        missing = torch.tensor(short, device=keys.device)[:, None]
        valid.append(torch.arange(longest, device=keys.device)[None] >= missing)
    return joined, valid
