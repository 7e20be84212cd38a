"""Compares every eviction press on a tiny real model with a recomputation that shares no code with the engine."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from helpers import tiny_checkpoints
from helpers.tiny_press_run import Tiny
from marathon_eval.api.press import EvictionPress, EvictionView, budget
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.eviction import (
    answer,
    context_length,
    keep_selected_keys,
    prefill_context,
)
from marathon_eval.backends.hf.inputs import Inputs
from marathon_eval.errors import MarathonError

ROOT = Path(__file__).resolve().parents[3]
NAMES = [
    path.stem
    for path in sorted((ROOT / "presses").glob("*.py"))
    if path.stem != "__init__" and issubclass(Registry().press_class(path.stem), EvictionPress)
]
STEPS = 5


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Tiny:
    return Tiny.load(tiny_checkpoints.make_qwen_omni(tmp_path_factory.mktemp("tiny")))


def eviction_press(name: str, **settings: Any) -> EvictionPress:
    press = Registry().press_class(name)(**settings)
    assert isinstance(press, EvictionPress)
    return press


@dataclass
class Run:
    """Logits [step, vocabulary] of a greedy answer, its tokens, key counts after eviction, and what each layer kept."""

    logits: Tensor
    tokens: list[int]
    cached: list[int]
    kept: list[Tensor]
    length: int


def run(model: Tiny, inputs: Inputs, press: EvictionPress, seed: int = 1, keep_all: bool = False) -> Run:
    ids = inputs.tensors["input_ids"]
    decoder = model.decoder
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids)).nonzero().squeeze(1)
    length = context_length(press, ids, audio)
    with recorded(press) as chosen:
        context = prefill_context(decoder, inputs.tensors, length, press)
        cache = keep_selected_keys(decoder, context, press, seed, keep_all)
    cached = [layer.keys.shape[2] for layer in cache.layers]
    tokens: list[int] = []

    def choose(logits: Tensor) -> int | None:
        if len(tokens) == STEPS:
            return None
        tokens.append(int(logits.argmax()))
        return tokens[-1]

    logits = torch.stack(list(answer(decoder, cache, ids[:, length:], length, choose, context.logits)))
    text = [place for place in range(length) if place not in set(audio.tolist())]
    kept = [torch.tensor([text + sorted(head) for head in layer.tolist()]) for layer in chosen]
    return Run(logits, tokens, cached, kept, length)


@contextmanager
def recorded(press: EvictionPress) -> Iterator[list[Tensor]]:
    """What the press selects, layer by layer."""
    chosen: list[Tensor] = []
    original = type(press).select

    def select(self: EvictionPress, view: EvictionView) -> Any:
        chosen.append(original(self, view))
        return chosen[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(press), "select", select)
        yield chosen


def masked(model: Tiny, inputs: Inputs, done: Run) -> Tensor:
    """Logits [step, vocabulary] by definition: one pass without cache over prompt and answer, attention written out.

    Queries up to the cut see every key before them; later ones do not see what their layer and head evicted.
    """
    decoder = model.decoder
    modules = {id(layer.self_attn): number for number, layer in enumerate(decoder.layers)}
    original = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def by_hand(module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any) -> Any:
        if id(module) not in modules:
            return original(module, query, key, value, *args, **kwargs)
        heads, length, size = query.shape[1:]
        groups = heads // key.shape[1]
        seen = torch.ones(heads, length, length, dtype=torch.bool).tril()
        for head in range(heads):
            stays = torch.arange(length) >= done.length
            stays[done.kept[modules[id(module)]][head // groups]] = True
            seen[head, done.length :] &= stays
        keys, values = (part[0].repeat_interleave(groups, 0) for part in (key, value))
        weights = (query[0] @ keys.transpose(1, 2) / size**0.5).masked_fill(~seen, -torch.inf).softmax(-1)
        return (weights @ values).transpose(0, 1)[None], None

    ids = torch.cat([inputs.tensors["input_ids"], torch.tensor([done.tokens])], dim=1)
    whole = {**inputs.tensors, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    with pytest.MonkeyPatch.context() as patch, torch.inference_mode():
        patch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", by_hand)
        logits: Tensor = decoder.root(**whole, use_cache=False).logits[0]
    return logits[inputs.tensors["input_ids"].shape[1] - 1 :]


def test_the_family_is_there() -> None:
    assert {
        "knorm",
        "keydiff",
        "streaming_llm",
        "tova",
        "snapkv",
        "pyramidkv",
        "expected_attention",
        "chunkkv",
        "random_kv",
        "frame_kv",
    } <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("keep_all", [False, True], ids=["early exit", "all machinery"])
def test_ratio_zero_is_generate(model: Tiny, name: str, keep_all: bool) -> None:
    inputs = model.inputs(6.0)
    base = model.plain(6.0)
    for evict in ("context", "prompt"):
        done = run(model, inputs, eviction_press(name, ratio=0, evict=evict), keep_all=keep_all)
        torch.testing.assert_close(done.logits, base.logits[0, : STEPS + 1], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("evict", ["context", "prompt"])
def test_answers_equal_a_recompute_that_masks_evicted_keys(model: Tiny, name: str, evict: str) -> None:
    inputs = model.inputs(7.0)
    done = run(model, inputs, eviction_press(name, ratio=0.7, evict=evict))
    torch.testing.assert_close(done.logits, masked(model, inputs, done), atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NAMES)
def test_the_first_token_moves_with_context_and_cannot_with_prompt(model: Tiny, name: str) -> None:
    inputs = model.inputs(8.0)
    base = model.plain(8.0).logits[0, 0]
    context, prompt = (
        run(model, inputs, eviction_press(name, ratio=0.9, evict=way)) for way in ("context", "prompt")
    )
    assert (context.logits[0] - base).abs().max() > 1e-2
    torch.testing.assert_close(prompt.logits[0], base, atol=1e-5, rtol=0)
    assert (prompt.logits[1] - model.plain(8.0).logits[0, 1]).abs().max() > 1e-2


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("seconds", [0.2, 3.33, 9.0])
def test_the_budget_is_exact(model: Tiny, name: str, ratio: float, seconds: float) -> None:
    inputs = model.inputs(seconds)
    audio, press = inputs.audio_tokens[0], eviction_press(name, ratio=ratio)
    done = run(model, inputs, press)
    counts = [cached - (done.length - audio) for cached in done.cached]
    assert sum(counts) == budget(audio, ratio) * len(counts)
    assert counts == press.budgets(audio, len(counts))
    assert min(counts) >= 1
    for layer in done.kept:
        assert all(len(set(head)) == len(head) for head in layer.tolist())


@pytest.mark.parametrize("name", NAMES)
def test_the_choice_depends_on_nothing_but_the_view(model: Tiny, name: str) -> None:
    inputs, other = model.inputs(6.0), model.inputs(4.0)
    press = eviction_press(name, ratio=0.5)
    first = run(model, inputs, press, seed=1)
    run(model, other, press, seed=2)
    torch.manual_seed(99)
    again, reseeded = run(model, inputs, press, seed=1), run(model, inputs, press, seed=2)
    assert torch.equal(first.logits, again.logits)
    assert torch.equal(first.logits, reseeded.logits) == (name != "random_kv")


@pytest.mark.parametrize("name", NAMES)
def test_nothing_stays_behind_after_an_exception(
    model: Tiny, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = model.inputs(3.0)
    hooks, kernels = model.hooks(), dict(ALL_ATTENTION_FUNCTIONS)
    with monkeypatch.context() as patch:
        patch.setattr(model.decoder.layers[-1], "forward", lambda *a, **k: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            run(model, inputs, eviction_press(name, ratio=0.5))
    assert model.hooks() == hooks
    assert dict(ALL_ATTENTION_FUNCTIONS) == kernels


@pytest.mark.parametrize("name", ["snapkv", "expected_attention"])
def test_eager_attention_shows_the_same_queries(model: Tiny, tmp_path: Path, name: str) -> None:
    eager = Tiny.load(tiny_checkpoints.make_qwen_omni(tmp_path), "eager")
    kernels = dict(ALL_ATTENTION_FUNCTIONS)
    inputs, press = model.inputs(5.0), eviction_press(name, ratio=0.6)
    one, other = run(model, inputs, press), run(eager, inputs, press)
    torch.testing.assert_close(one.logits, other.logits, atol=1e-4, rtol=0)
    assert all(torch.equal(a, b) for a, b in zip(one.kept, other.kept, strict=True))
    assert dict(ALL_ATTENTION_FUNCTIONS) == kernels


def test_one_context_serves_many_cells(model: Tiny) -> None:
    """A context is not changed by what is evicted from it, nor by what is answered on the copy."""
    inputs = model.inputs(5.0)
    ids, decoder, press = inputs.tensors["input_ids"], model.decoder, eviction_press("snapkv", ratio=0.5)
    audio = torch.isin(ids[0], torch.tensor(decoder.audio_token_ids)).nonzero().squeeze(1)
    length = context_length(press, ids, audio)
    context = prefill_context(decoder, inputs.tensors, length, press)
    before = [layer.keys.clone() for layer in context.cache.layers]
    for ratio in (0.0, 0.5, 0.9):
        cache = keep_selected_keys(decoder, context, eviction_press("snapkv", ratio=ratio), 1)
        list(answer(decoder, cache, ids[:, length:], length, lambda logits: None))
    for layer, keys in zip(context.cache.layers, before, strict=True):
        assert torch.equal(layer.keys, keys)


def test_smoothing_keeps_the_budget_and_changes_the_choice(model: Tiny) -> None:
    inputs = model.inputs(8.0)
    plain, smooth = (run(model, inputs, eviction_press("snapkv", ratio=0.5, smooth=s)) for s in (0.0, 0.9))
    assert plain.cached == smooth.cached
    assert any(not torch.equal(one, two) for one, two in zip(plain.kept, smooth.kept, strict=True))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"evict": "maybe"}, "must be context or prompt"),
        ({"smooth": 1.0}, "smooth=1.0: must be at least 0 and below 1"),
        ({"window": -1}, "window=-1"),
    ],
)
def test_wrong_settings_are_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        eviction_press("snapkv", ratio=0.5, **settings)
