"""Tests how a decoding step outside `generate` chooses its token, and how often it waits for the device."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch.overrides import TorchFunctionMode

from marathon_eval.api.model import Generation
from marathon_eval.backends.hf.engine.token_chooser import Chooser
from marathon_eval.errors import RowError

VOCABULARY, STEPS = 50, 6
#: What copies a tensor's numbers to the host, for which it waits until the device has computed them.
READS = {
    *(torch.Tensor.tolist, torch.Tensor.item, torch.Tensor.numpy, torch.Tensor.cpu),
    *(torch.Tensor.__bool__, torch.Tensor.__int__, torch.Tensor.__float__, torch.Tensor.__index__),
}


class CountedReads(TorchFunctionMode):  # type: ignore[misc]  # torch does not type it
    """Counts how often numbers are copied to the host while it is open."""

    count = 0

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += function in READS
        return function(*args, **(kwargs or {}))


def chooser(**generation: Any) -> Chooser:
    ends = SimpleNamespace(eos_token_id=[VOCABULARY + 1])
    loaded: Any = SimpleNamespace(
        device=torch.device("cpu"), model=SimpleNamespace(generation_config=ends), tokenizer=None
    )
    return Chooser(loaded, Generation(max_new_tokens=STEPS, **generation), [])


def logits(dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Return logits [steps, vocabulary], in bfloat16 with equal ones among the largest."""
    return torch.randn(STEPS, VOCABULARY, generator=torch.Generator().manual_seed(3)).to(dtype)


@pytest.mark.parametrize(
    "generation",
    [{}, {"temperature": 0.8, "seed": 5}, {"temperature": 0.8, "top_p": 0.5, "seed": 5}],
    ids=["greedy", "sampled", "top_p"],
)
def test_a_step_waits_for_the_device_once(generation: dict[str, Any]) -> None:
    choose, rows = chooser(**generation), logits()
    with CountedReads() as reads:
        for row in rows:
            choose(row)
    assert len(choose.tokens) == STEPS
    assert reads.count == STEPS


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_the_tokens_are_those_of_a_plain_choice(dtype: torch.dtype) -> None:
    choose, rows = chooser(), logits(dtype)
    for row in rows:
        choose(row)
    assert choose.tokens == rows.argmax(dim=-1).tolist()
    sampled = chooser(temperature=0.8, seed=5)
    for row in rows:
        sampled(row)
    generator = torch.Generator().manual_seed(5)
    expected = [
        int(torch.multinomial((row[None].float() / 0.8).softmax(-1), 1, generator=generator)) for row in rows
    ]
    assert sampled.tokens == expected


@pytest.mark.parametrize("generation", [{}, {"temperature": 0.8, "top_p": 0.5, "seed": 5}])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_the_first_token_that_means_nothing_is_named(value: float, generation: dict[str, Any]) -> None:
    choose, rows = chooser(**generation), logits()
    rows[2, 7] = value
    choose(rows[0])
    choose(rows[1])
    with pytest.raises(RowError, match=r"logits at token 3 are not finite numbers"):
        choose(rows[2])
    assert len(choose.tokens) == 2
