"""Tests every press on every chat model: right by its definition, or refused with the reason.

qwen_omni stands in tests/presses/test_presses.py and tests/backends/hf/test_eviction.py, under more kernels, layers and schedules. Here a few
pairs run always, the rest with `scripts/test --full`.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers.press_reference import (
    STEPS,
    Answered,
    after_eviction,
    by_definition,
    generated,
    inputs_of,
)
from helpers.tiny_model_cases import (
    CASES,
    PRESSES,
    PRUNING,
    TORCHVISION,
    Bench,
    Benches,
    Clips,
    answers,
    asked,
)
from marathon_eval.api.press import EvictionPress, Press, PruningPress, budget, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.inputs import Inputs
from marathon_eval.errors import MarathonError, RowError

#: One of a kind each, so that the ordinary tests see every way of attaching a press.
ALWAYS = {
    ("qwen3_omni", "pool"),
    ("voxtral", "pyramidkv"),
    ("gemma4", "divprune"),
    ("phi4_mm", "expected_attention"),
    ("granite_speech", "fastv"),
    ("phi4_mm", "speechprune"),
    ("nemotron_h_omni", "pool"),
}
PAIRS = [
    pytest.param(
        model, press, id=f"{model}-{press}", marks=() if (model, press) in ALWAYS else pytest.mark.slow
    )
    for model, case in CASES.items()
    for press, press_class in PRESSES.items()
    if case.refuses(press_class) is None
]
EVERY = pytest.mark.parametrize(("model", "name"), PAIRS)
#: Every press on a third of the models and every model with a third of the presses, for what depends on one of both alone.
A_THIRD = pytest.mark.parametrize(
    ("model", "name"),
    [
        pair
        for pair in PAIRS
        if pair.values in ALWAYS
        or (list(CASES).index(pair.values[0]) + list(PRESSES).index(pair.values[1])) % 3 == 0
    ],
)
REFUSED = [(m, p) for m, case in CASES.items() for p, cls in PRESSES.items() if case.refuses(cls) is not None]
SECONDS = 6.0
#: Of logits, whose own size is 1 to 10: what dropping nine tenths moves at least, and what rounding may.
MOVED = 1e-3
CLOSE: Any = {"atol": 1e-4, "rtol": 0.0}
#: How far logits without a press and at ratio 0 may be apart, where it is not nothing: of this model, the steps after the
#: first differ in the seventh digit (8e-7 at most on these inputs).
ROUNDED = {"gemma4_unified": 1e-5}


class Matrix:
    """Runs that several tests look at, made once."""

    def __init__(self, bench: Benches) -> None:
        self.bench = bench
        self.inputs = cache(self._inputs)
        self.base = cache(self._base)
        self.pressed = cache(self._pressed)

    def _inputs(self, model: str, *seconds: float) -> Inputs:
        return inputs_of(self.bench(model), *(seconds or (SECONDS,)))

    def _base(self, model: str, *seconds: float) -> Answered:
        return generated(self.bench(model), self.inputs(model, *seconds))

    def _pressed(self, model: str, press: Press) -> Answered:
        return answered(self.bench(model), self.inputs(model), press)


@pytest.fixture(scope="module")
def matrix(bench: Benches) -> Matrix:
    return Matrix(bench)


def answered(there: Bench, inputs: Inputs, press: Press, seed: int = 1, whole: bool = False) -> Answered:
    """By the machinery that the press asks for; `whole` sends through it what it could leave out."""
    if isinstance(press, PruningPress):
        return generated(there, inputs, press, early_exit=not whole, seeds=(seed, seed + 1))
    assert isinstance(press, EvictionPress)
    return after_eviction(there, inputs, press, seed, keep_all=whole)


def press_at(model: str, name: str, ratio: float, **settings: Any) -> Press:
    """At the first layer with a layer before it, or at the input where the model is cut there only."""
    if issubclass(PRESSES[name], PruningPress):
        settings["layer"] = 0 if CASES[model].at_input and not PRESSES[name].needs_attention else 1
        if PRESSES[name].only_layer is not None:
            settings["layer"] = PRESSES[name].only_layer
    return PRESSES[name](ratio=ratio, **settings)


def ways(model: str, name: str, ratio: float) -> list[Press]:
    """The press, and an eviction also after the question."""
    if issubclass(PRESSES[name], EvictionPress):
        return [press_at(model, name, ratio, evict=evict) for evict in ("context", "prompt")]
    return [press_at(model, name, ratio)]


@EVERY
@pytest.mark.parametrize("whole", [False, True], ids=["early exit", "all machinery"])
def test_ratio_zero_is_no_press(model: str, name: str, whole: bool, matrix: Matrix) -> None:
    base = matrix.base(model)
    for press in ways(model, name, 0.0):
        done = answered(matrix.bench(model), matrix.inputs(model), press, whole=whole)
        if isinstance(press, PruningPress):
            torch.testing.assert_close(done.logits, base.logits, atol=ROUNDED.get(model, 0.0), rtol=0.0)
            assert done.cached == base.cached
        torch.testing.assert_close(done.logits, base.logits, **CLOSE)


@EVERY
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.97])
def test_the_budget_is_exact(model: str, name: str, ratio: float, matrix: Matrix) -> None:
    press, inputs = press_at(model, name, ratio), matrix.inputs(model)
    done, base = matrix.pressed(model, press), matrix.base(model)
    (audio,), prompt = inputs.audio_tokens, inputs.tensors["input_ids"].shape[1]
    less = audio - budget(audio, ratio)
    if isinstance(press, PruningPress):
        assert done.kept is not None
        assert (done.kept.audio, done.kept.kept, done.kept.prompt) == (
            [audio],
            [audio - less],
            [prompt - less],
        )
        window = held_at_most(matrix.bench(model))
        expected = [min(prompt - less * (i >= press.layer), window[i]) for i in range(len(base.cached))]
        assert done.cached == expected
        return
    assert isinstance(press, EvictionPress)
    counts = [cached - (done.length - audio) for cached in done.cached]
    assert counts == press.budgets(audio, len(counts))
    assert sum(counts) == (audio - less) * len(counts)
    assert all(len(set(head)) == len(head) for layer in done.chosen for head in layer.tolist())


def held_at_most(there: Bench) -> list[int]:
    """How many prompt tokens a layer's cache can hold, after the answer's tokens pushed others out of its window."""
    config: Any = there.decoder.stack.config
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    keyed = [kind for kind in kinds if kind.endswith("attention") and kind != "linear_attention"]
    return [10**9 if kind == "full_attention" else config.sliding_window - STEPS for kind in keyed]


@EVERY
def test_a_batch_of_two_is_two_of_one_or_is_not_made(model: str, name: str, matrix: Matrix) -> None:
    there, press = matrix.bench(model), press_at(model, name, 0.6)
    if not there.case.batches:
        assert there.adapter(press, batch_size=2).requests_at_once() == 1
        return
    assert there.adapter(press, batch_size=2).requests_at_once() == 2
    if isinstance(press, EvictionPress):
        return  # tests/backends/hf/test_batched_eviction.py holds its batches against single answers
    both = inputs_of(there, SECONDS, 4.0)
    together = answered(there, both, press, seed=5)
    for row, seconds in enumerate((SECONDS, 4.0)):
        one = alone(there, row, seconds)
        done = answered(there, one, press, seed=5 + row)
        torch.testing.assert_close(together.logits[row], done.logits[0], **CLOSE)
        assert together.kept is not None
        assert done.kept is not None
        assert (together.kept.kept[row], together.kept.prompt[row]) == (
            done.kept.kept[0],
            done.kept.prompt[0],
        )


def alone(there: Bench, row: int, seconds: float) -> Inputs:
    """The batch's sample as a batch of its own."""
    return inputs_of(there, seconds, first=row)


@A_THIRD
def test_nothing_stays_behind_after_an_exception(
    model: str, name: str, matrix: Matrix, monkeypatch: pytest.MonkeyPatch
) -> None:
    there, press, base = matrix.bench(model), press_at(model, name, 0.5), matrix.base(model)
    hooks, kernels = hanging(there), dict(ALL_ATTENTION_FUNCTIONS)
    layers = there.decoder.layers
    for where, what, raised in (
        (type(press), "select", RowError),
        (layers[-1], "forward", ZeroDivisionError),
    ):
        with monkeypatch.context() as patch:
            patch.setattr(where, what, lambda *args, **kwargs: 1 / 0)
            with pytest.raises(raised, match="division by zero"):
                answered(there, matrix.inputs(model), press)
        assert hanging(there) == hooks
        assert dict(ALL_ATTENTION_FUNCTIONS) == kernels
    assert torch.equal(generated(there, matrix.inputs(model)).logits, base.logits)


def hanging(there: Bench) -> int:
    """Every hook on any module."""
    modules = there.loaded.model.modules()
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in modules)


@A_THIRD
def test_the_choice_follows_seed_and_document_alone(
    model: str, name: str, matrix: Matrix, clip: Clips
) -> None:
    there, press = matrix.bench(model), press_at(model, name, 0.5)
    first = matrix.pressed(model, press)
    torch.manual_seed(99)
    again, other = (answered(there, matrix.inputs(model), press, seed) for seed in (1, 3))
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.logits, other.logits) == (name not in ("random", "jitter", "random_kv"))
    adapter, documents = there.adapter(press), [asked(clip(2.0)), asked(clip(3.0)), asked(clip(2.0), "Why?")]
    assert len({adapter.seed_of(document) for document in documents}) == 3
    forwards, backwards = answers(adapter, documents), answers(there.adapter(press), documents[::-1])
    assert [one.text for one in forwards] == [one.text for one in backwards[::-1]]


@EVERY
def test_nine_tenths_less_is_another_answer(model: str, name: str, matrix: Matrix) -> None:
    base = matrix.base(model).logits[0]
    for press in ways(model, name, 0.9):
        moved = (matrix.pressed(model, press).logits[0] - base).abs().amax(-1)
        if isinstance(press, EvictionPress) and press.evict == "prompt":
            torch.testing.assert_close(matrix.pressed(model, press).logits[0, 0], base[0], **CLOSE)
            assert moved[1] > MOVED
        else:
            assert moved[0] > MOVED


@EVERY
@pytest.mark.parametrize("ratio", [0.5, 0.9])
def test_decoding_is_the_definition_s(model: str, name: str, ratio: float, matrix: Matrix) -> None:
    there, inputs = matrix.bench(model), matrix.inputs(model)
    for press in ways(model, name, ratio):
        done = matrix.pressed(model, press)
        question = inputs.tensors["input_ids"].shape[1] - done.length
        if isinstance(press, EvictionPress):
            assert question > 1 if press.evict == "context" else question == 0
            assert (len(set(done.cached)) > 1) == (name == "pyramidkv"), "layers of unequal length"
        torch.testing.assert_close(done.logits[0], by_definition(there, inputs, done, press), **CLOSE)


@pytest.mark.parametrize(("model", "name"), REFUSED)
def test_what_a_model_cannot_carry_is_refused_before_its_weights_load(model: str, name: str) -> None:
    case = CASES[model]
    with pytest.raises(MarathonError, match=str(case.refuses(PRESSES[name]))) as told:
        Registry().model_class(case.model).from_args({"pretrained": "no/such"}, press_at(model, name, 0.5))
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("name", [name for name in PRUNING if not PRESSES[name].needs_attention])  # type: ignore[attr-defined]  # pruning
def test_a_model_that_is_cut_at_its_input_says_so(name: str) -> None:
    if PRESSES[name].only_layer is not None:
        return  # at other layers it can't be built
    for layer, ratio in ((2, 0.5), ("0+2", "0.3+0.5")):
        if name == "pool" and layer != 2:
            continue
        args = {"m": 2, "layer": 2} if name == "pool" else {"layer": layer, "ratio": ratio}
        press = press_from_args(PRESSES[name], args)
        with pytest.raises(MarathonError, match=f"gemma4 takes press={name} only with layer=0"):
            Registry().model_class("gemma4").from_args({"pretrained": "no/such"}, press)


@pytest.mark.slow
def test_gemma3n_passes_beside_torchvision() -> None:
    if TORCHVISION:
        return  # it was all collected here
    script = Path(__file__).resolve().parents[1] / "helpers" / "with_torchvision.py"
    command = [sys.executable, str(script), __file__, "-q", "-p", "no:xdist", "-k", "gemma3n and not beside"]
    out = subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=script.parent.parent, env=dict(os.environ)
    )
    assert out.returncode == 0, out.stdout[-4000:]
    assert re.search(r"\d{2} passed", out.stdout)
