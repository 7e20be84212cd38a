"""Compares the operation counts with figures worked out by hand for the two sizes of Qwen2.5-Omni."""

from __future__ import annotations

import sys
from subprocess import run
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from marathon_eval.backends.hf.flops import (
    EncoderShape,
    Shape,
    attention,
    encoder,
    evicted_speedup,
    prefill,
    projections,
    pruned_speedup,
    two_stage_prefill,
)

SEVEN = Shape(3584, 28, 28, 4, 128, 18944, 152064)
THREE = Shape(2048, 36, 16, 2, 128, 11008, 151936)
TEXT, CUT = 100, 2


def cut(shape: Shape, audio: int, ratio: float, layer: int = CUT) -> list[int]:
    short = TEXT + int(audio * (1 - ratio) + 1e-6)
    return [TEXT + audio] * layer + [short] * (shape.layers - layer)


# audio seconds, TFLOP of encoder and of the whole prefill, share of attention
WHOLE = [
    (SEVEN, 90, 5.8, 31.8, 0.035),
    (SEVEN, 150, 9.7, 53.2, 0.056),
    (SEVEN, 300, 19.4, 110.8, 0.105),
    (THREE, 90, 5.8, 13.9, 0.059),
    (THREE, 150, 9.7, 23.6, 0.093),
    (THREE, 300, 19.3, 50.7, 0.168),
]


@pytest.mark.parametrize(("shape", "seconds", "heard", "read", "share"), WHOLE)
def test_whole_prefills(shape: Shape, seconds: int, heard: float, read: float, share: float) -> None:
    tokens = TEXT + 25 * seconds
    work = prefill(shape, [tokens] * shape.layers)
    assert work / 1e12 == pytest.approx(read, abs=0.06)
    assert encoder(EncoderShape(), seconds, shape.hidden) / 1e12 == pytest.approx(heard, abs=0.06)
    assert shape.layers * attention(shape, tokens) / work == pytest.approx(share, abs=6e-4)


# audio seconds, ratio, TFLOP after the cut, speed-up of prefill, of encoder and prefill
PRUNED = [
    (SEVEN, 90, 0.3, 23.1, 1.38, 1.30),
    (SEVEN, 90, 0.5, 17.4, 1.83, 1.62),
    (SEVEN, 90, 0.7, 11.8, 2.70, 2.14),
    (SEVEN, 90, 0.9, 6.2, 5.10, 3.13),
    (SEVEN, 150, 0.5, 28.5, 1.87, 1.65),
    (SEVEN, 300, 0.3, 78.1, 1.42, 1.34),
    (SEVEN, 300, 0.5, 57.3, 1.93, 1.70),
    (SEVEN, 300, 0.7, 37.4, 2.96, 2.29),
    (SEVEN, 300, 0.9, 18.3, 6.04, 3.45),
    (THREE, 90, 0.5, 7.4, 1.87, 1.49),
    (THREE, 150, 0.5, 12.2, 1.93, 1.52),
    (THREE, 300, 0.3, 34.8, 1.45, 1.29),
    (THREE, 300, 0.5, 25.1, 2.02, 1.58),
    (THREE, 300, 0.7, 15.9, 3.19, 1.99),
    (THREE, 300, 0.9, 7.4, 6.88, 2.62),
]


@pytest.mark.parametrize(("shape", "seconds", "ratio", "read", "speedup", "all_in"), PRUNED)
def test_pruned_prefills(
    shape: Shape, seconds: int, ratio: float, read: float, speedup: float, all_in: float
) -> None:
    audio = 25 * seconds
    tokens = cut(shape, audio, ratio)
    heard = encoder(EncoderShape(), seconds, shape.hidden)
    whole, less = prefill(shape, [TEXT + audio] * shape.layers), prefill(shape, tokens)
    assert less / 1e12 == pytest.approx(read, abs=0.06)
    assert pruned_speedup(shape, TEXT + audio, tokens) == pytest.approx(speedup, abs=0.006)
    assert (heard + whole) / (heard + less) == pytest.approx(all_in, abs=0.011)


@pytest.mark.parametrize(("layer", "speedup"), [(1, 2.00), (2, 1.93), (4, 1.80), (8, 1.59), (14, 1.35)])
def test_the_later_the_cut_the_less_it_helps(layer: int, speedup: float) -> None:
    assert pruned_speedup(SEVEN, 7600, cut(SEVEN, 7500, 0.5, layer)) == pytest.approx(speedup, abs=0.006)


def test_eviction_hardly_helps_a_prefill() -> None:
    gain = evicted_speedup(SEVEN, 7560, [7560 - 6750] * 28, 40)
    assert 1 < gain < 1.002


@given(st.integers(1, 9000), st.integers(0, 500))
def test_a_prefill_in_two_parts_is_the_same_work(context: int, question: int) -> None:
    whole = prefill(SEVEN, [context + question] * SEVEN.layers)
    assert two_stage_prefill(SEVEN, context, [context] * SEVEN.layers, question) == whole


@given(st.integers(0, 9000), st.integers(0, 9000))
def test_nothing_dropped_is_no_speedup_and_more_dropped_is_more(one: int, other: int) -> None:
    fewer, more = sorted((one, other))
    assert pruned_speedup(THREE, more, [more] * 36) == 1.0
    assert pruned_speedup(THREE, 9000, [fewer] * 36) >= pruned_speedup(THREE, 9000, [more] * 36)


def test_a_shape_is_read_from_a_config() -> None:
    config = SimpleNamespace(
        hidden_size=3584,
        num_hidden_layers=28,
        num_attention_heads=28,
        num_key_value_heads=4,
        intermediate_size=18944,
        vocab_size=152064,
    )
    assert Shape.of(config) == SEVEN
    assert projections(SEVEN) * 28 / 1e9 == pytest.approx(13.05, abs=0.01)
    assert Shape.of(SimpleNamespace(hidden_size=8)) is None
    for name in ("num_experts", "num_local_experts", "n_routed_experts"):
        assert Shape.of(SimpleNamespace(**vars(config), **{name: 8})) is None
    attending, mixed = ["full_attention"] * 28, ["linear_attention", "full_attention", "moe", "mlp"] * 7
    assert Shape.of(SimpleNamespace(**vars(config), layer_types=attending)) == SEVEN
    assert Shape.of(SimpleNamespace(**vars(config), layer_types=mixed)) is None


def test_no_torch_is_needed() -> None:
    code = "import sys, marathon_eval.backends.hf.flops; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert run([sys.executable, "-c", code], check=False).returncode == 0
