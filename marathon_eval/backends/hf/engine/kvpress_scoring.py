"""Scores keys with kvpress's presses while the context is prefilled.

kvpress expects the attention modules of an older transformers: a rotary embedding on each of them, tables with one
position per token (multimodal rotary has three, equal for audio and text), and a head size in the config.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from marathon_eval.api.press import Decoder, EvictionPress
from marathon_eval.backends.hf.engine.eviction_context import Observed
from marathon_eval.backends.hf.engine.prompt_pass import synced


class _Rotary:
    """Calls the decoder's rotary embedding with kvpress's signature: positions [1, n] to two tables [1, n, d]."""

    def __init__(self, rotary: Any) -> None:
        self.rotary = rotary

    def __call__(self, like: Tensor, position_ids: Tensor) -> tuple[Tensor, Tensor]:
        try:
            cos, sin = self.rotary(like, position_ids)
        except (IndexError, RuntimeError):  # multimodal rotary: the same position on three axes
            cos, sin = self.rotary(like, position_ids.expand(3, *position_ids.shape[-2:]))
        return _one_axis(cos), _one_axis(sin)


@contextmanager
def scoring(
    decoder: Decoder, press: EvictionPress, places: Callable[[int], Any] = lambda tokens: slice(None)
) -> Iterator[dict[int, Observed]]:
    """While open, store the scores [key heads, T] of each layer's keys that the press sees, after its attention."""
    seen: dict[int, Observed] = {}
    scorer = press.made()
    config: Any = decoder.stack.config
    if hasattr(scorer, "post_init_from_model"):
        parameter = next(decoder.stack.parameters())
        scorer.post_init_from_model(
            SimpleNamespace(
                config=config, model=decoder.stack, device=parameter.device, dtype=parameter.dtype
            )
        )
    rotary = _Rotary(decoder.stack.get_submodule("rotary_emb"))
    with ExitStack() as undo:
        for number, layer in enumerate(decoder.layers):
            attention: Any = layer.get_submodule("self_attn")
            # set in __dict__, so that torch does not register it as a submodule
            attention.__dict__["rotary_emb"] = rotary
            undo.callback(attention.__dict__.pop, "rotary_emb")
            handle = attention.register_forward_hook(
                partial(_score, scorer, seen, number, places), with_kwargs=True
            )
            undo.callback(handle.remove)
        yield seen


def _score(
    scorer: Any,
    seen: dict[int, Observed],
    number: int,
    places: Callable[[int], Any],
    module: Any,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    output: tuple[Any, ...],
) -> None:
    hidden = args[0] if args else kwargs["hidden_states"]
    started = synced(hidden)
    stored = kwargs["past_key_values"].layers[number]
    tables = tuple(_one_axis(part) for part in kwargs["position_embeddings"])
    positions = torch.arange(hidden.shape[1], device=hidden.device)
    arguments = {**kwargs, "position_embeddings": tables, "cache_position": positions}
    scores = scorer.score(module, hidden, stored.keys, stored.values, output[1], arguments)
    seen[number] = Observed(
        None, None, scores[0][:, places(hidden.shape[1])], scores_s=synced(hidden) - started
    )


def _one_axis(table: Tensor) -> Tensor:
    return table[0] if table.dim() == 4 else table
