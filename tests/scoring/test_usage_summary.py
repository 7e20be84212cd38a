"""Tests the summary of a task's usage, medians with intervals without warm-ups, and the usage of one response."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from helpers import tiny_checkpoints
from helpers.tiny_press_run import RATE, noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request, Response, Usage
from marathon_eval.api.press import press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.flops import Shape, evicted_speedup, pruned_speedup
from marathon_eval.models.qwen_omni import QwenOmni
from marathon_eval.scoring.stats import median_interval
from marathon_eval.scoring.usage import UsageColumns, mean_usage

SHAPE = Shape(
    tiny_checkpoints.HIDDEN, tiny_checkpoints.LAYERS, 4, 2, 16, 96, 256 + len(tiny_checkpoints.QWEN_TOKENS)
)
COSTS = ("theoretical_speedup", "select_s", "tokens_per_s", "kv_tokens")


def merged_usage(usages: list[dict[str, Any]]) -> dict[str, Any]:
    columns = UsageColumns()
    for usage in usages:
        columns.add(usage)
    return columns.merged()


def test_medians_leave_the_warm_up_out_and_count_it() -> None:
    usages: list[dict[str, Any]] = [
        {"prefill_s": 99.0, "audio_tokens": 100, "details": {"warm_up": True, "select_s": 9.0}}
    ]
    usages += [
        {"prefill_s": float(i), "audio_tokens": 100, "details": {"select_s": 0.5, "kv_tokens": {"0-3": 9}}}
        for i in range(1, 8)
    ]
    merged = merged_usage(usages)
    assert merged["warm_up"] == 1
    assert merged["prefill_s"] == {"median": 4.0, "ci95": (1.0, 7.0), "n": 7}
    assert merged["select_s"]["median"] == 0.5
    assert merged["audio_tokens"] == {"median": 100.0, "ci95": (100.0, 100.0), "n": 8}
    assert "kv_tokens" not in merged
    assert merged_usage([]) == {}


@pytest.mark.parametrize(
    ("n", "low", "high"),
    [(5, None, None), (6, 1, 6), (9, 2, 8), (20, 6, 15), (100, 40, 61), (1000, 469, 532)],
)
def test_ranks_are_those_of_the_tables(n: int, low: int | None, high: int | None) -> None:
    found = median_interval([float(i) for i in range(1, n + 1)])
    assert (found.low, found.high) == (low, high) if found else low is None


@given(st.integers(1, 1000))
def test_an_interval_covers_by_the_binomial(n: int) -> None:
    found = median_interval(range(1, n + 1))
    if found is None:
        assert n < 6
        return
    below = sum(math.comb(n, k) for k in range(int(found.low)))
    assert found.low + found.high == n + 1
    assert below / 2**n <= 0.025 < (below + math.comb(n, int(found.low))) / 2**n


def test_large_samples_go_on_where_small_ones_stop() -> None:
    small, large = (median_interval(range(1, n + 1)) for n in (1000, 1002))
    assert small is not None
    assert large is not None
    assert abs(small.low - large.low) <= 2


def test_an_interval_holds_the_median_as_often_as_it_says() -> None:
    draw = random.Random(0)
    held = 0
    for _ in range(600):
        found = median_interval(sorted(draw.expovariate(1.0) for _ in range(40)))
        assert found is not None
        held += found.low <= math.log(2) <= found.high
    assert held / 600 > 0.93


@pytest.fixture(scope="module")
def usages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Usage]:
    """The second answer's usage under each press: the first is a warm-up."""
    folder = tmp_path_factory.mktemp("usage")
    soundfile.write(folder / "clip.wav", noise(8.0), RATE)
    clip = Audio(str(folder / "clip.wav"))
    requests = [Request(text, (clip,), Generation(max_new_tokens=6)) for text in ("One?", "Two?")]
    checkpoint, found = tiny_checkpoints.make_qwen_omni(folder / "tiny"), {}
    for press, args in (
        ("dart", {"ratio": 0.5}),
        ("frame", {"layer": "1+3", "ratio": "0.5+0.9"}),
        ("snapkv", {"ratio": 0.9}),
    ):
        chosen = press_from_args(Registry().press_class(press), args)
        model = QwenOmni.from_args({"pretrained": str(checkpoint), "device": "cpu"}, chosen)
        found[press] = list(model.generate(requests))[1][1].usage
        model.close()
    return found


def test_every_cost_is_there(usages: dict[str, Usage]) -> None:
    for usage in usages.values():
        assert (usage.audio_tokens, usage.output_tokens) == (200, 6)
        for cost in (usage.prefill_s, usage.decode_s, usage.encode_s, usage.kv_bytes):
            assert cost
        assert usage.decode_s
        assert set(COSTS) <= set(usage.details)
        assert usage.details["tokens_per_s"] == pytest.approx(5 / usage.decode_s, rel=1e-2)
        assert 0 < usage.details["select_s"] < (usage.prefill_s or 0)
        assert "warm_up" not in usage.details


def test_the_speedup_is_that_of_the_tokens_that_each_layer_saw(usages: dict[str, Usage]) -> None:
    prompt = usages["dart"].input_tokens
    assert prompt is not None
    dart = [prompt] * 2 + [prompt - 100] * 2
    assert usages["dart"].details["kv_tokens"] == {"0-1": prompt, "2-3": prompt - 100}
    assert usages["dart"].details["theoretical_speedup"] == pytest.approx(
        pruned_speedup(SHAPE, prompt, dart), abs=1e-4
    )
    frame = usages["frame"]
    assert (frame.kept_tokens, frame.details["kv_tokens"]) == (
        20,
        {"0-0": prompt, "1-2": prompt - 100, "3-3": prompt - 180},
    )
    snap = usages["snapkv"]
    (kept,) = set(snap.details["kv_tokens"].values())
    gains = {
        round(evicted_speedup(SHAPE, context, [kept + context - prompt] * 4, prompt - context), 4)
        for context in range(200, prompt)
    }
    assert snap.details["theoretical_speedup"] in gains
    assert 1 < snap.details["theoretical_speedup"] < 1.2


@pytest.mark.parametrize("invented", [10**400, math.inf, math.nan])
def test_a_count_that_json_and_a_float_cannot_hold_is_left_out(invented: int) -> None:
    odd, sound = Usage(input_tokens=invented), Usage(input_tokens=3)
    assert merged_usage([{"input_tokens": invented}, {"input_tokens": 3}])["input_tokens"]["n"] == 1
    assert "input_tokens" not in mean_usage([Response("a", usage=odd)])
    assert mean_usage([Response("a", usage=odd), Response("b", usage=sound)])["input_tokens"] == 3
