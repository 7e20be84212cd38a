"""Tests on clips of 90 to 300 s that every press keeps what its written rule says.

The rules stand once more in tests/helpers/reference_rules.py, in double precision, and read states and keys of a plain
run of the demonstration model. Where the press computes in single precision, two almost equal scores may come in the
other order: one token of a choice may differ by that, if the rule itself takes the one and leaves the other on states
with noise as small as that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from itertools import pairwise
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from helpers import reference_rules
from helpers.long_prompts import LongPrompt, Machine, ModelStates, Nano
from helpers.reference_rules import EVICTION, PRUNING, Evicted, Pruned, noisy
from marathon_eval.api.press import EvictionPress, PruningPress, budget, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.eviction import context_length, keep_selected_keys, prefill_context
from marathon_eval.backends.hf.engine.masked_pass import chosen_by
from marathon_eval.backends.hf.engine.step_eviction import StepEviction

RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9, 0.99)
SEED = 11
LAST = 4
#: Seconds of the clips, and whether they stand before the question.
CLIPS: list[tuple[tuple[float, ...], bool]] = [
    ((90.0,), True),
    ((70.0, 50.0), True),
    ((150.0,), False),
    ((90.0, 110.0), False),
    ((240.0,), True),
    ((180.0, 120.0), False),
]
#: Seconds up to which sums of attention are compared, which grow with the square of the length.
SUMMED = 150
#: Seconds up to which divprune keeps more than a tenth, one token after another.
GREEDY = 100
#: Relative size of the noise that stands for rounding in single precision, and how many draws of it are tried. Noise of
#: single entries averages out: this much moves the cosine of two tokens alike by less than 1e-6, as rounding it does.
#: In bfloat16 attention itself is rounded to 8 bits.
NOISE, NOISES = {"float32": 1e-4, "bfloat16": 4e-3}, 16

nano = cache(Nano)


def made(name: str, ratio: float, **settings: Any) -> Any:
    size: dict[str, Any] = {"m": round(1 / (1 - ratio))} if name == "pool" else {"ratio": ratio}
    return press_from_args(Registry().press_class(name), {**size, **settings})


@dataclass
class Agreement:
    """Counts the choices that were compared, and those in which one token differs."""

    noise: float
    choices: int = 0
    by_rounding: list[str] = field(default_factory=list)

    def compare(self, label: str, kept: Tensor, expected: Tensor, again: Callable[[int], Tensor]) -> None:
        """Compare two sets of positions; `again` gives the expected one for states with noise of a seed."""
        ours, theirs = set(kept.tolist()), set(expected.tolist())
        assert len(ours) == len(theirs), label
        self.choices += 1
        if ours != theirs:
            assert len(ours - theirs) == 1, label
            draws = [set(again(seed).tolist()) for seed in range(NOISES)]
            assert any(ours - theirs <= draw for draw in draws), label
            assert any(draw.isdisjoint(theirs - ours) for draw in draws), label
            self.by_rounding.append(label)

    def compare_heads(
        self, label: str, kept: Tensor, wanted: Evicted, rule: Callable[[Evicted], Tensor]
    ) -> None:
        """Compare the positions that every head keeps [heads, K] with those of a rule."""
        for head, (ours, theirs) in enumerate(zip(kept, rule(wanted), strict=True)):
            again = partial(_of_head, rule, wanted, head, self.noise)
            self.compare(f"{label} head {head}", ours, theirs, again)

    def check(self) -> None:
        """Fail where single tokens differ too often."""
        assert self.choices
        assert len(self.by_rounding) <= max(2, self.choices / 10), self.by_rounding


def _of_head(
    rule: Callable[[Evicted], Tensor], wanted: Evicted, head: int, noise: float, seed: int
) -> Tensor:
    return rule(noisy(wanted, seed, noise))[head]


# -- pruning ------------------------------------------------------------------------------------------------------


def pruned(prompt: LongPrompt, states: ModelStates, layer: int) -> Pruned:
    """Return what a rule may read at the input of a layer, from the plain run."""
    hidden = states.hidden[layer]
    keys, attention = hidden[None].double(), torch.zeros(len(hidden))
    if layer:
        keys = states.keys[layer - 1].double()
        last = states.queries(layer - 1)[:, -1:].double()
        attention = reference_rules.attention(last, keys)[:, 0].mean(dim=0)
    with torch.inference_mode():
        normed = prompt.decoder.norm(hidden).double()
    return Pruned(prompt.audio, 0, hidden.double(), normed, keys, attention, prompt.loudness, SEED)


def compare_pruning(
    dtype: str, clips: tuple[tuple[float, ...], bool], layers: Sequence[int], ratios: Sequence[float]
) -> Agreement:
    """Compare every pruning press at these layers and ratios."""
    prompt, agreement = nano(dtype).prompt(*clips), Agreement(NOISE[dtype])
    states = prompt.read()
    machine = Machine.of(prompt, [made("fastv", 0.5, layer=layer) for layer in layers if layer])
    for layer in layers:
        seen = pruned(prompt, states, layer)
        for name, rule in PRUNING.items():
            press_class: Any = Registry().press_class(name)
            if press_class.needs_attention and not layer:
                continue
            for ratio in ratios:
                if name == "divprune" and sum(clips[0]) > GREEDY and ratio < 0.9:
                    continue
                press = made(name, ratio, layer=layer)
                if press.ratio == 0:  # pool joins whole tokens: the nearest to a small ratio is none
                    continue
                keep = budget(len(prompt.audio), press.ratio)
                wanted = replace(seen, keep=keep)
                label = f"{name} {layer} {ratio}"
                compare_cut(agreement, label, states, machine, press, wanted, rule)
    return agreement


def compare_cut(
    agreement: Agreement,
    label: str,
    states: ModelStates,
    machine: Machine,
    press: PruningPress,
    wanted: Pruned,
    rule: Callable[[Pruned], Tensor],
) -> None:
    """Compare one cut: which tokens are left, with which states, at which places."""
    seen, layer, prompt = machine.cut(press, SEED), press.cuts[0][0], states.prompt
    expected = prompt.audio[rule(wanted)]
    is_audio = torch.isin(seen.positions, prompt.audio)
    kept = seen.positions[is_audio]
    agreement.compare(
        label, kept, expected, lambda seed: prompt.audio[rule(noisy(wanted, seed, agreement.noise))]
    )
    assert int((~is_audio).sum()) == len(prompt.ids) - len(prompt.audio), label
    hidden = states.hidden[layer]
    if press.name() == "pool":
        edges = [n * len(prompt.audio) // len(expected) for n in range(len(expected) + 1)]
        pairs = pairwise(edges)
        means = [hidden[prompt.audio[first:last]].float().mean(dim=0) for first, last in pairs]
        hidden = hidden.index_copy(0, expected, torch.stack(means).to(hidden.dtype))
        torch.testing.assert_close(seen.states, hidden[seen.positions])
    else:
        assert torch.equal(seen.states, hidden[seen.positions]), label
    for ours, theirs in zip(seen.rotary, states.rotary(seen.positions), strict=True):
        # a cosine near the middle of two numbers of the dtype may be rounded to either
        step = torch.finfo(ours.dtype).eps / 2
        torch.testing.assert_close(ours, theirs.to(ours.dtype), atol=max(2e-3, step), rtol=0)


# -- eviction -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Watching(EvictionPress):
    """Asks for what any eviction rule may read, so that one context serves all."""

    window: int = 64
    needs_queries: ClassVar[bool] = True

    def score(self, view: Any) -> Tensor:
        raise NotImplementedError


class Summing(Watching):
    """Asks for the attention that keys received as well."""

    needs_received: ClassVar[bool] = True


def layer_cache(prompt: LongPrompt, states: ModelStates, layer: int, summed: bool) -> Evicted:
    """Return what a rule may read of one layer's cache, from a plain run on the context."""
    cos, sin = states.rotary(torch.arange(states.length, states.length + reference_rules.FUTURE))
    size, half = cos.shape[1], cos.shape[1] // 2
    turn, rows = torch.diag(cos.double().mean(dim=0)), torch.arange(half)
    turn[rows, rows + half] = -sin.double().mean(dim=0)[:half]
    turn[rows + half, rows] = sin.double().mean(dim=0)[:half]
    assert turn.shape == (size, size)
    keys, queries = states.keys[layer].double(), states.queries(layer).double()
    return Evicted(
        prompt.audio,
        0,
        keys,
        states.values[layer].double(),
        queries,
        states.queries(layer, rotated=False).double(),
        turn,
        reference_rules.received(queries, keys) if summed else None,
        SEED,
    )


def compare_eviction(
    dtype: str,
    clips: tuple[tuple[float, ...], bool],
    evict: str,
    layers: Sequence[int],
    ratios: Sequence[float],
) -> Agreement:
    """Compare every eviction press in these layers, at these ratios."""
    prompt, agreement, summed = nano(dtype).prompt(*clips), Agreement(NOISE[dtype]), sum(clips[0]) <= SUMMED
    watching = (Summing if summed else Watching)(ratio=0.5, evict=evict)
    length = context_length(watching, prompt.inputs.tensors["input_ids"], prompt.audio)
    context = prefill_context(prompt.decoder, prompt.inputs.tensors, length, watching)
    states = prompt.read(length)
    caches = {layer: layer_cache(prompt, states, layer, summed) for layer in layers}
    for name, rule in EVICTION.items():
        if name == "h2o" and not summed:
            continue
        for ratio in ratios:
            press = made(name, ratio, evict=evict)
            with chosen_by(press) as choices:
                cache_left = keep_selected_keys(prompt.decoder, context, press, SEED)
            selected = dict(zip(choices.layers, choices.selected, strict=True))
            counts = budgets_by_rule(name, press.ratio, len(prompt.audio), len(prompt.decoder.layers))
            for layer in layers:
                # where every key stays, the press is not asked
                kept = selected.get(layer, prompt.audio.expand(len(states.keys[layer]), -1))
                assert abs(kept.shape[1] - counts[layer]) < 1, f"{name} {layer} {ratio}"
                wanted = replace(caches[layer], keep=kept.shape[1])
                label = f"{name} {layer} {ratio}"
                agreement.compare_heads(label, kept, wanted, partial(_positions, prompt, rule))
                for head, ours in enumerate(kept):
                    stays = ~torch.isin(torch.arange(length), prompt.audio)
                    stays[ours] = True
                    assert torch.equal(
                        cache_left.layers[layer].keys[0, head], states.keys[layer][head, stays]
                    )
    return agreement


def _positions(prompt: LongPrompt, rule: Callable[[Evicted], Tensor], seen: Evicted) -> Tensor:
    return prompt.audio[rule(seen)]


def budgets_by_rule(name: str, ratio: float, length: int, layers: int) -> list[float]:
    mean = budget(length, ratio)
    return reference_rules.pyramid(mean, length, layers) if name == "pyramidkv" else [mean] * layers


def compare_first_step(
    dtype: str, clips: tuple[tuple[float, ...], bool], name: str, ratio: float
) -> Agreement:
    """Compare what `evict=decode` leaves of a prompt, in the first and the last layer."""
    prompt, agreement = nano(dtype).prompt(*clips), Agreement(NOISE[dtype])
    states, press = prompt.read(), made(name, ratio, evict="decode")
    running = StepEviction(prompt.decoder, press)
    next(running.steps(prompt.inputs.tensors, lambda logits: None))
    text = len(prompt.ids) - len(prompt.audio)
    rule = {"h2o": reference_rules.h2o_step, "tova": reference_rules.tova_step}[name]
    for layer in (0, LAST):
        seen = layer_cache(prompt, states, layer, name == "h2o")
        wanted = replace(seen, keep=text + budget(len(prompt.audio), ratio))
        label = f"{name} {layer} {ratio}"
        agreement.compare_heads(label, running._layers[layer].positions, wanted, rule)
    return agreement


def test_pruning_presses_follow_their_rules_on_a_minute_and_a_half() -> None:
    agreement = compare_pruning("float32", CLIPS[0], (0, 2), (0.9,))
    assert agreement.choices == 18
    agreement.check()


def test_layer_zero_is_the_output_of_the_audio_encoder() -> None:
    prompt = nano("float32").prompt((2.0, 1.0), True)
    tensors = prompt.inputs.tensors
    with torch.inference_mode():
        heard = prompt.loaded.model.get_audio_features(
            tensors["input_features"], feature_attention_mask=tensors["feature_attention_mask"]
        ).last_hidden_state
    assert torch.equal(prompt.read().hidden[0][prompt.audio], heard)


def test_eviction_presses_follow_their_rules_on_a_minute_and_a_half() -> None:
    agreement = compare_eviction("float32", CLIPS[0], "context", (LAST,), (0.9,))
    assert agreement.choices == 22
    agreement.check()


def thinned(clips: tuple[tuple[float, ...], bool], dtype: str) -> tuple[Sequence[int], Sequence[float]]:
    """Return the layers and ratios that are compared on these clips: a part of all, which changes from clip to clip.

    Over the clips each layer meets each ratio in both dtypes together; all on every clip would take half an hour.
    """
    at = CLIPS.index(clips) + (dtype == "bfloat16")
    return ((0, 2), (1, LAST))[at % 2], RATIOS[at % 3 :: 3]


def test_thinned_layers_meet_every_ratio() -> None:
    chosen = [thinned(clips, dtype) for clips in CLIPS for dtype in ("float32", "bfloat16")]
    met = {(layer, ratio) for layers, ratios in chosen for layer in layers for ratio in ratios}
    assert met == {(layer, ratio) for layer in (0, 1, 2, LAST) for ratio in RATIOS}


EVERY = pytest.mark.parametrize("clips", CLIPS, ids=lambda clips: "+".join(f"{s:g}" for s in clips[0]))
BOTH = pytest.mark.parametrize("dtype", ["float32", "bfloat16"])


@pytest.mark.slow
@pytest.mark.timeout(1200)
@EVERY
@BOTH
def test_pruning_presses_follow_their_rules(dtype: str, clips: tuple[tuple[float, ...], bool]) -> None:
    compare_pruning(dtype, clips, *thinned(clips, dtype)).check()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@EVERY
@BOTH
@pytest.mark.parametrize("evict", ["context", "prompt"])
def test_eviction_presses_follow_their_rules(
    dtype: str, clips: tuple[tuple[float, ...], bool], evict: str
) -> None:
    compare_eviction(dtype, clips, evict, (0, 1, 2, LAST), thinned(clips, dtype)[1]).check()


@pytest.mark.slow
@pytest.mark.timeout(1200)
@BOTH
@pytest.mark.parametrize("clips", CLIPS[:3], ids=lambda clips: "+".join(f"{s:g}" for s in clips[0]))
def test_evicting_at_every_step_begins_by_the_rules(
    dtype: str, clips: tuple[tuple[float, ...], bool]
) -> None:
    compare_first_step(dtype, clips, "h2o", 0.5).check()
    compare_first_step(dtype, clips, "tova", 0.9).check()
