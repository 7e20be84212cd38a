"""Tests that no press needs a tokens x tokens matrix, by the size of every tensor made during a prefill."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from helpers import tiny_checkpoints
from helpers.tiny_press_run import Tiny
from marathon_eval.api.press import EvictionPress, Press, PruningPress
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.eviction import context_length, keep_selected_keys, prefill_context
from marathon_eval.backends.hf.engine.pruning import Pruning

#: Beyond 100 s the square of the tokens outgrows the log-mel features, which are not small either.
SECONDS = 120.0


class Sizes(TorchDispatchMode):
    """The largest tensor that any operation gave, in numbers, and what it was."""

    def __init__(self) -> None:
        super().__init__()
        self.largest, self.where = 0, ""

    def __torch_dispatch__(
        self, func: Any, types: Sequence[Any], args: Sequence[Any] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        for made in tree_leaves(out):
            # a view of few numbers (a broadcast mask) takes no memory of its own
            if isinstance(made, torch.Tensor) and made.untyped_storage().nbytes() > self.largest:
                self.largest, self.where = made.untyped_storage().nbytes(), f"{func} {tuple(made.shape)}"
        return out


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="module")
def sdpa(checkpoint: Path) -> Tiny:
    return Tiny.load(checkpoint)


def watched(model: Tiny, press: Press) -> tuple[Sizes, int]:
    """The largest tensor of one prefill with the press, and the prompt's length."""
    inputs, sizes = model.inputs(SECONDS), Sizes()
    ids = inputs.tensors["input_ids"]
    with torch.inference_mode(), sizes:
        if isinstance(press, PruningPress):
            with Pruning(model.decoder, press, (1,), loudness=inputs.loudness, facts=inputs.facts):
                model.loaded.model(**inputs.tensors, use_cache=True, logits_to_keep=1)
        else:
            assert isinstance(press, EvictionPress)
            audio = torch.isin(ids[0], torch.tensor(model.decoder.audio_token_ids)).nonzero().squeeze(1)
            length = context_length(press, ids, audio)
            context = prefill_context(model.decoder, inputs.tensors, length, press)
            keep_selected_keys(model.decoder, context, press, 1)
    return sizes, int(ids.shape[1])


@pytest.mark.parametrize("name", Registry().names("press"))
def test_nothing_of_tokens_by_tokens_is_made(sdpa: Tiny, name: str) -> None:
    press = Registry().press_class(name)
    settings = {"window": 16} if getattr(press, "window", 0) > 16 else {}
    sizes, tokens = watched(sdpa, press(ratio=0.5, **settings))
    assert tokens > 3000
    square = tokens * tokens  # of single bytes: a boolean mask would be as much
    assert sizes.largest < square, sizes.where


def test_the_watch_sees_an_attention_matrix(checkpoint: Path) -> None:
    """Eager attention makes one for every head: the bound above can be broken."""
    sizes, tokens = watched(Tiny.load(checkpoint, "eager"), Registry().press_class("frame")(ratio=0.5))
    assert sizes.largest >= 4 * 4 * tokens * tokens
