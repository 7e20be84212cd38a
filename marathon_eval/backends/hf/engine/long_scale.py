"""Keeps all positions of an answer in one scale, for models that turn short and long contexts by different angles.

LongRoPE (https://arxiv.org/abs/2402.13753, in Phi-3 and Phi-4) has a table of angles for contexts up to some length, and
another for longer ones. Where an answer grows past that length, transformers 5.23 drops the cache and passes on the last
token alone, so that the rest of the answer is computed without prompt and audio. Here such an answer is computed again,
with the table for long contexts from its prompt on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from marathon_eval.errors import RowError

if TYPE_CHECKING:
    from marathon_eval.api.model import Response
    from marathon_eval.backends.hf.engine.loaded import Loaded
    from marathon_eval.backends.hf.inputs import Inputs

Found = TypeVar("Found")
#: The setting that names the longest short context, in a config and in its `rope_parameters`.
SWITCH = "original_max_position_embeddings"
#: The longest short context while everything counts as long; the logarithm of 1 would divide by zero.
NEARLY_NONE = 2


def switch_length(model: Any) -> int | None:
    """Return the tokens of the longest context that counts as short; None for a model of one table."""
    length = getattr(model.config.get_text_config(), SWITCH, None)
    return length if isinstance(length, int) else None


def generated_in_one_scale(
    model: Any, prompt: int, run: Callable[[], Found], count: Callable[[Found], int]
) -> Found:
    """Return what `run` generates; run it again in the long scale where prompt and answer pass the switch.

    `prompt` is the number of the prompt's tokens; `count` returns that of the generated ones.
    """
    switch, found = switch_length(model), run()
    # the last token of an answer is not read
    if switch is None or prompt > switch or prompt + count(found) - 1 <= switch:
        return found
    with long_scale(model):
        return run()


def answered_in_one_scale(
    loaded: Loaded, inputs: Inputs, new_tokens: int, run: Callable[[Loaded], list[Response]]
) -> list[Response]:
    """Return the responses of a batch, each of them computed in one scale.

    A context that was prefilled for several questions is short where a question makes the prompt long, so it is not
    reused there. Raises RowError for a batch whose requests may need different scales; they are then answered alone.
    """
    switch, mask = switch_length(loaded.model), inputs.tensors["attention_mask"]
    if switch is None or mask.shape[1] + new_tokens - 1 <= switch or min(inputs.audio_tokens) > switch:
        return run(loaded)
    if len(mask) > 1:
        raise RowError(
            f"one of {len(mask)} requests passes {switch} tokens, where this model changes its angles"
        )
    prompt, alone = int(mask.sum()), replace(loaded, shared=None)
    if prompt > switch:
        with long_scale(loaded.model):
            return run(alone)
    found = run(loaded)
    if prompt + (found[0].usage.output_tokens or 0) - 1 <= switch:
        return found
    with long_scale(loaded.model):
        return run(alone)


@contextmanager
def long_scale(model: Any) -> Iterator[None]:
    """While open, contexts of more than two tokens count as long."""
    config = model.config.get_text_config()
    rope = getattr(config, "rope_parameters", None) or {}
    before, of_rope = getattr(config, SWITCH), rope.get(SWITCH)
    setattr(config, SWITCH, NEARLY_NONE)
    if of_rope is not None:
        rope[SWITCH] = NEARLY_NONE
    try:
        yield
    finally:
        setattr(config, SWITCH, before)
        if of_rope is not None:
            rope[SWITCH] = of_rope
