"""Tests `kv_bits=`: which keys and values are rounded, to what, and that the answer is read from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor
from transformers import DynamicCache

from helpers.press_reference import inputs_of
from helpers.tiny_model_cases import Bench, Benches, answers
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import EvictionPress, Press, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.eviction import answer, keep_selected_keys, own_masks, prefill_context
from marathon_eval.backends.hf.engine.rounded_cache import RoundedLayer, rounded_cache, rounded_to_bits
from marathon_eval.backends.hf.flops import quantised_bytes
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError

BITS = pytest.mark.parametrize("bits", [2, 4, 8])


def press_of(name: str, **settings: Any) -> Press:
    return press_from_args(Registry().press_class(name), settings)


def group_rounded(numbers: list[float], bits: int) -> list[float]:
    """Round one group by the definition, number by number."""
    low, high = min(numbers), max(numbers)
    spacing = (high - low) / (2**bits - 1)
    return [low + round((number - low) / spacing) * spacing for number in numbers]


def groups_of_keys(length: int, channels: int) -> Iterator[tuple[slice, slice]]:
    """Yield tokens and channels of every group of keys: whole blocks of 128 tokens, by 32 of one channel."""
    for first in range(0, length - length % 128, 32):
        for channel in range(channels):
            yield slice(first, first + 32), slice(channel, channel + 1)


def groups_of_values(length: int, channels: int) -> Iterator[tuple[slice, slice]]:
    """Yield those of values: all but the last 128 tokens, by 32 channels of one token, or by all channels."""
    size = 32 if channels % 32 == 0 else channels
    for token in range(max(0, length - 128)):
        for first in range(0, channels, size):
            yield slice(token, token + 1), slice(first, first + size)


def by_definition(states: Tensor, groups: Iterator[tuple[slice, slice]], bits: int) -> Tensor:
    """Round states [heads, T, d] group by group."""
    found = states.clone()
    for tokens, channels in groups:
        for head in range(len(states)):
            part = states[head, tokens, channels]
            found[head, tokens, channels] = torch.tensor(
                group_rounded(part.flatten().tolist(), bits)
            ).view_as(part)
    return found


@BITS
@pytest.mark.parametrize(("length", "channels"), [(300, 64), (256, 16), (127, 32), (129, 48)])
def test_stored_keys_and_values_are_rounded_by_the_rule(bits: int, length: int, channels: int) -> None:
    random = torch.Generator().manual_seed(bits)
    keys, values, new = (torch.randn(1, 2, n, channels, generator=random) for n in (length, length, 3))
    layer = RoundedLayer(bits, keys, values)
    before = keys.clone(), values.clone()
    seen_keys, seen_values = layer.update(new, new)
    expected = by_definition(keys[0], groups_of_keys(length, channels), bits)
    torch.testing.assert_close(seen_keys[0, :, :length], expected, atol=1e-5, rtol=0)
    expected = by_definition(values[0], groups_of_values(length, channels), bits)
    torch.testing.assert_close(seen_values[0, :, :length], expected, atol=1e-5, rtol=0)
    assert torch.equal(seen_keys[:, :, length:], new)
    # what other presses of a sweep read is as it was
    assert torch.equal(keys, before[0])
    assert torch.equal(values, before[1])


def test_a_group_is_rounded_once_it_is_full() -> None:
    random = torch.Generator().manual_seed(0)
    keys = torch.randn(1, 1, 130, 32, generator=random)
    layer = RoundedLayer(2, keys[:, :, :127], keys[:, :, :127])
    layer.update(keys[:, :, 127:128], keys[:, :, 127:128])
    assert torch.equal(layer.keys, keys[:, :, :128])
    layer.update(keys[:, :, 128:129], keys[:, :, 128:129])
    assert not torch.isclose(layer.keys[:, :, :128], keys[:, :, :128]).all(dim=2).any()
    assert torch.equal(layer.values, keys[:, :, :129])
    first = layer.keys[:, :, :128].clone()
    layer.update(keys[:, :, 129:], keys[:, :, 129:])
    assert torch.equal(layer.keys[:, :, :128], first), "nothing is rounded twice"
    assert torch.equal(layer.values[:, :, 1:], keys[:, :, 1:])
    assert not torch.equal(layer.values[:, :, 0], keys[:, :, 0])


@BITS
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_at_most_as_many_numbers_as_bits_can_tell_apart(bits: int, dtype: torch.dtype) -> None:
    numbers = torch.randn(5, 64, generator=torch.Generator().manual_seed(1)).to(dtype)
    found = rounded_to_bits(numbers, bits)
    assert found.dtype == dtype
    for group, exact in zip(found.unflatten(1, (2, 32)).flatten(0, 1), numbers.view(10, 32), strict=True):
        assert len(group.unique()) <= 2**bits
        assert group.min() == exact.min()
    equal = torch.full((1, 32), 0.3)
    assert torch.equal(rounded_to_bits(equal, bits), equal)


def test_the_bytes_are_those_of_packed_numbers() -> None:
    # 384 keys and 300 values are packed; each group has a scale and an offset
    packed = (384 + 300) * 4 * 64 * 2 // 8
    scales = (384 // 32 * 4 * 64 + 300 * 4 * 64 // 32) * 2 * 2
    exact = (44 + 128) * 4 * 64 * 2
    assert quantised_bytes(428, 4, 64, 2, 2) == packed + scales + exact
    assert quantised_bytes(100, 4, 64, 2, 2) == 2 * 100 * 4 * 64 * 2


def test_the_question_reads_the_rounded_cache(bench: Benches) -> None:
    """The definition: the context's keys and values, rounded group by group, in a plain cache."""
    there = bench("qwen_omni")
    inputs, decoder = inputs_of(there, 8.0), there.decoder
    ids = inputs.tensors["input_ids"]
    length = int(torch.isin(ids[0], torch.tensor(decoder.audio_token_ids)).nonzero().max()) + 1
    press = press_of("knorm", ratio=0.2)
    assert isinstance(press, EvictionPress)
    context = prefill_context(decoder, inputs.tensors, length, press)
    left = keep_selected_keys(decoder, context, press, 1)
    plain = DynamicCache(config=decoder.stack.config)
    for number, layer in enumerate(left.layers):
        heads, tokens, size = layer.keys[0].shape
        keys = by_definition(layer.keys[0], groups_of_keys(tokens, size), 2)
        values = by_definition(layer.values[0], groups_of_values(tokens, size), 2)
        plain.update(keys[None], values[None], number)
        assert tokens > 128
        assert heads > 1
    rounded = rounded_cache(left, 2)
    (logits,) = answer(decoder, rounded, ids[:, length:], length, lambda logits: None)
    places = torch.arange(length, ids.shape[1])[None]
    with torch.inference_mode(), own_masks(decoder, plain):
        expected = decoder.root(
            input_ids=ids[:, length:], position_ids=places, past_key_values=plain, use_cache=True
        ).logits[0, -1]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    exact = keep_selected_keys(decoder, context, press, 1)
    (whole,) = answer(decoder, exact, ids[:, length:], length, lambda logits: None)
    assert (whole - logits).abs().max() > 1e-2, "two bits changed nothing"


def request(folder: Any) -> Request:
    file = folder / "clip.wav"
    soundfile.write(file, noise(12.0), RATE)
    return Request("What is heard?", (Audio(str(file)),), Generation(max_new_tokens=3))


def usage(there: Bench, asked: Request, press: Press | None = None, **arguments: Any) -> Any:
    (response,) = answers(there.adapter(press, **arguments), [asked])
    assert response.status == "ok"
    return response.usage


def test_a_model_answers_from_a_rounded_cache(bench: Benches, tmp_path: Any) -> None:
    there, asked = bench("qwen_omni"), request(tmp_path)
    exact, alone = usage(there, asked), usage(there, asked, kv_bits=2, batch_size=4)
    assert alone.kept_tokens == exact.kept_tokens == alone.audio_tokens
    assert alone.kv_bytes < 0.7 * exact.kv_bytes
    assert alone.details["batch"] == 1
    assert "theoretical_speedup" not in alone.details
    half = usage(there, asked, press_of("snapkv", ratio=0.5), kv_bits=4)
    assert half.kept_tokens == 150
    assert half.kv_bytes < usage(there, asked, press_of("snapkv", ratio=0.5)).kv_bytes
    usage(there, asked, press_of("dart+knorm", ratio="0.3+0.5", layer=1), kv_bits=8)


def test_it_is_in_the_key_where_it_is_given(bench: Benches) -> None:
    there = bench("qwen_omni")
    keys = [there.adapter(**arguments).fingerprint for arguments in ({}, {"kv_bits": 2}, {"kv_bits": 4})]
    assert [key.get("kv_bits") for key in keys] == [None, 2, 4]
    assert "kv_bits" not in keys[0]


@pytest.mark.parametrize(
    ("model", "press", "message"),
    [
        (
            "qwen_omni",
            {"name": "dart", "ratio": 0.5},
            "kv_bits=4: press=dart .* or a pair such as dart\\+knorm",
        ),
        ("qwen_omni", {"name": "h2o", "ratio": 0.5, "evict": "decode"}, "kv_bits=4: evict=decode"),
        ("gemma4", None, "kv_bits=4: gemma4 attends in windows"),
    ],
)
def test_where_nothing_can_be_rounded_it_is_refused(
    model: str, press: dict[str, Any] | None, message: str
) -> None:
    settings = dict(press or {})
    asked = press_of(settings.pop("name"), **settings) if press else None
    with pytest.raises(MarathonError, match=message):
        Registry().model_class(model).from_args({"pretrained": "no/such", "kv_bits": 4}, asked)


@pytest.mark.parametrize("bits", [0, 3, 16, "four"])
def test_other_numbers_of_bits_are_refused(bits: Any) -> None:
    with pytest.raises(MarathonError, match="kv_bits"):
        Registry().model_class("qwen_omni").from_args({"pretrained": "no/such", "kv_bits": bits})
