"""Tests `press=dart+knorm`: tokens are pruned, and of what is left keys are evicted, as a pass that masks both says."""

from __future__ import annotations

from typing import Any

import pytest
import soundfile
import torch

from helpers.press_reference import after_eviction, generated, inputs_of
from helpers.tiny_model_cases import Bench, Benches, answers
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import Press, PruningPress, budget, press_from_args
from marathon_eval.api.press_pair import PressPair
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.eviction import answer, keep_selected_keys
from marathon_eval.backends.hf.engine.eviction_context import Context
from marathon_eval.backends.hf.engine.masked_pass import PressChoices, chosen_by, masked_logits
from marathon_eval.backends.hf.engine.pruned_context import prefill_pruned
from marathon_eval.backends.hf.flops import Shape, pair_speedup, prefill
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.errors import MarathonError

CLOSE: Any = {"atol": 1e-4, "rtol": 0.0}
STEPS = 4


def press_of(name: str, **settings: Any) -> Press:
    return press_from_args(Registry().press_class(name), settings)


def pair_of(name: str, **settings: Any) -> PressPair:
    press = press_of(name, **settings)
    assert isinstance(press, PressPair)
    return press


class Run:
    """A greedy answer under a pair, its cached keys and what the presses chose."""

    def __init__(self, there: Bench, inputs: Inputs, press: PressPair, seed: int = 11) -> None:
        ids = inputs.tensors["input_ids"]
        audio = torch.isin(ids[0], torch.tensor(there.decoder.audio_token_ids)).nonzero().squeeze(1)
        self.length = ids.shape[1] if press.evict == "prompt" else int(audio[-1]) + 1
        self.choices: PressChoices
        with chosen_by(press) as self.choices:
            self.context: Context = prefill_pruned(
                there.decoder, inputs.tensors, self.length, press, seed, inputs.silent(0), inputs.loudness
            )
            cache = keep_selected_keys(there.decoder, self.context, press, seed)
        self.cached = [layer.keys.shape[2] for layer in cache.layers]
        self.tokens: list[int] = []
        audio_ids = torch.tensor(there.decoder.audio_token_ids)

        def choose(logits: torch.Tensor) -> int | None:
            self.tokens.append(int(logits.index_fill(0, audio_ids, -torch.inf).argmax()))
            return None if len(self.tokens) == STEPS else self.tokens[-1]

        steps = answer(there.decoder, cache, ids[:, self.length :], self.length, choose, self.context.logits)
        self.logits = torch.stack(list(steps))


@pytest.mark.parametrize(
    ("model", "name", "settings"),
    [
        ("qwen_omni", "dart+knorm", {"ratio": "0.5+0.8", "layer": 1}),
        ("qwen_omni", "fastv+snapkv", {"ratio": "0.3+0.6", "layer": 2, "window": 8}),
        ("qwen_omni", "fastv+snapkv", {"ratio": "0.3+0.6", "layer": 1, "window": 8, "evict": "prompt"}),
        ("qwen_omni", "energy+expected_attention", {"ratio": 0.7, "layer": 0}),
        ("qwen_omni", "pool+tova", {"m": 2, "ratio": 0.8, "layer": 1}),
        # silent tokens stay in the layers below the cut and are gone above it
        ("voxtral", "dart+keydiff", {"ratio": "0.5+0.8", "layer": 1}),
        ("voxtral", "jitter+pyramidkv", {"ratio": "0.2+0.5", "layer": 1, "window": 8}),
    ],
)
def test_a_pair_is_a_pass_with_both_masked(
    model: str, name: str, settings: dict[str, Any], bench: Benches
) -> None:
    there, press = bench(model), pair_of(name, **settings)
    inputs = inputs_of(there, 4.0)
    run = Run(there, inputs, press)
    expected = masked_logits(there.decoder, inputs.tensors, run.tokens, press, run.choices, run.length)
    torch.testing.assert_close(run.logits.float(), expected, **CLOSE)
    # both presses removed something
    assert run.choices.pruned is not None
    assert len(run.choices.pruned.selected[0]) < len(run.choices.pruned.candidates[0])
    assert any(
        len(kept[0]) < len(of) for kept, of in zip(run.choices.selected, run.choices.candidates, strict=True)
    )


def test_every_layer_keeps_the_share_that_its_ratio_says(bench: Benches) -> None:
    there = bench("qwen_omni")
    inputs = inputs_of(there, 4.0)
    (audio,), text = inputs.audio_tokens, inputs.tensors["input_ids"].shape[1] - inputs.audio_tokens[0]
    run = Run(there, inputs, pair_of("dart+knorm", ratio="0.5+0.8", layer=1))
    question = inputs.tensors["input_ids"].shape[1] - run.length
    read = [layer.keys.shape[2] - (text - question) for layer in run.context.cache.layers]
    assert read == [audio] + [budget(audio, 0.5)] * (len(read) - 1)
    assert [cached - (text - question) for cached in run.cached] == [budget(audio, 0.8)] * len(read)


def test_of_one_ratio_the_pruning_press_removes_half(bench: Benches) -> None:
    press = pair_of("frame+knorm", ratio=0.8)
    assert (press.pruning.ratio, press.evicting.ratio, press.ratio) == (0.4, 0.8, 0.8)


def test_where_one_of_the_two_removes_nothing_the_other_is_alone(bench: Benches) -> None:
    there = bench("qwen_omni")
    inputs = inputs_of(there, 4.0)
    alone = press_of("knorm", ratio=0.6)
    run = Run(there, inputs, pair_of("dart+knorm", ratio="0+0.6", layer=1))
    torch.testing.assert_close(run.logits[None], after_eviction(there, inputs, alone).logits, **CLOSE)  # type: ignore[arg-type]
    # at equal ratios the layers from the cut on are those of the pruning press alone
    pruning = press_of("dart", ratio=0.6, layer=1)
    assert isinstance(pruning, PruningPress)
    with chosen_by(pruning) as choices:
        generated(there, inputs, pruning)
    run = Run(there, inputs, pair_of("dart+knorm", ratio="0.6+0.6", layer=1))
    assert run.choices.pruned is not None
    assert torch.equal(run.choices.pruned.selected[0], choices.selected[0])
    assert run.choices.layers == [0]


def test_the_figure_of_the_flop_model_counts_the_question_twice() -> None:
    shape = Shape(layers=2, hidden=8, heads=2, key_heads=1, head_size=4, feed_forward=16, vocabulary=32)
    per_token = 2 * 8 * (2 * 8 + 2 * 4 + 3 * 16)
    read, kept, question = [100, 60], [30, 30], 10
    work = sum(per_token * n + 2 * 8 * n * n for n in read) + 2 * 8 * 32
    work += sum(per_token * question + 2 * 8 * question * (2 * n + question) for n in kept) + 2 * 8 * 32
    assert pair_speedup(shape, 100, read, kept, question) == prefill(shape, [100, 100]) / work


def test_an_adapter_answers_under_a_pair(bench: Benches, tmp_path: Any) -> None:
    file = tmp_path / "clip.wav"
    soundfile.write(file, noise(4.0), RATE)
    request = Request("What is heard?", (Audio(str(file)),), Generation(max_new_tokens=3))
    there = bench("qwen_omni")
    press = pair_of("energy+random_kv", ratio="0.5+0.75", layer=1)
    adapter = there.adapter(press, batch_size=4)
    (response,) = answers(adapter, [request])
    assert response.status == "ok"
    assert (response.usage.audio_tokens, response.usage.kept_tokens) == (100, 25)
    details = response.usage.details
    assert details["theoretical_speedup"] > 1
    assert details["select_s"] > 0
    assert adapter.fingerprint["press"] == {
        "press": "energy+random_kv",
        "version": 1,
        "ratio": 0.75,
        "pruning": {**press.pruning.fingerprint, "version": press.pruning.rule_version},
        "eviction": press.evicting.fingerprint,
    }


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("knorm+dart", {"ratio": 0.5}, "a pair is a pruning press and an eviction press, in this order"),
        ("dart+dart", {"ratio": 0.5}, "a pair is a pruning press and an eviction press"),
        ("dart+knorm", {"ratio": "0.8+0.5"}, "ratio=0.5: must be at least 0.8, which dart has removed"),
        ("dart+knorm", {"ratio": "0.8+x"}, "ratio=0.8\\+x: must be a number, or two joined"),
        ("dart+knorm", {"ratio": 0.5, "compat": "audiomarathon"}, "compat=audiomarathon: not in a pair"),
        ("dart+knorm", {"ratio": 0.5, "windo": 3}, "press dart\\+knorm takes no 'windo'"),
        ("dart+knorm", {}, "needs ratio="),
        ("dart+nosuch", {"ratio": 0.5}, "press=: unknown press 'nosuch'|press= *nosuch|nosuch"),
    ],
)
def test_what_is_no_pair_is_refused(name: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=message):
        press_of(name, **settings)
