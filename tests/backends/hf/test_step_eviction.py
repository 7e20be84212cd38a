"""Tests `evict=decode`: H2O and TOVA evict at every decoding step as their papers and released code do."""

from __future__ import annotations

from typing import Any

import pytest
import soundfile
import torch
from torch import Tensor

from helpers.press_reference import inputs_of
from helpers.tiny_model_cases import Bench, Benches, answers
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import EvictionPress, EvictionView, budget, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.backends.hf.engine.received_attention import received_attention
from marathon_eval.backends.hf.engine.step_eviction import StepEviction
from marathon_eval.backends.hf.inputs import RATE, Inputs
from marathon_eval.errors import MarathonError

CLOSE: Any = {"atol": 1e-4, "rtol": 0.0}
STEPS = 6


def press_of(name: str, **settings: Any) -> EvictionPress:
    press = press_from_args(Registry().press_class(name), settings)
    assert isinstance(press, EvictionPress)
    return press


def run(there: Bench, inputs: Inputs, press: EvictionPress) -> tuple[Tensor, list[int], StepEviction]:
    """The logits and tokens of a greedy answer that names no audio token."""
    tokens: list[int] = []
    forbidden = torch.tensor(there.decoder.audio_token_ids)

    def choose(logits: Tensor) -> int | None:
        tokens.append(int(logits.index_fill(0, forbidden, -torch.inf).argmax()))
        return tokens[-1] if len(tokens) < STEPS else None

    by_steps = StepEviction(there.decoder, press)
    logits = torch.stack(list(by_steps.steps(inputs.tensors, choose, inputs.silent(0))))
    return logits, tokens, by_steps


class Reference:
    """The published loop over one model: no cache is cut, keys that were evicted are masked, head by head.

    Attention is computed explicitly in each layer, and summed as H2O's code does, or looked at last as TOVA's does.
    """

    def __init__(self, there: Bench, name: str, size: int, silent: list[int]) -> None:
        self.there, self.name, self.size, self.silent = there, name, size, silent
        self.gone: dict[int, Tensor] = {}
        self.sums: dict[int, Tensor] = {}
        self.last: dict[int, Tensor] = {}
        self.done = 0

    def attend(
        self, module: Any, query: Tensor, key: Tensor, value: Tensor, *args: Any, **kwargs: Any
    ) -> Any:
        layer = self.numbers.get(id(module))
        if layer is None:
            return self.original(module, query, key, value, *args, **kwargs)
        (_, heads, length, size), key_heads = query.shape, key.shape[1]
        k, v = (part[0].repeat_interleave(heads // key_heads, 0) for part in (key, value))
        seen = torch.ones(heads, length, length, dtype=torch.bool).tril()
        gone = self.gone.get(layer, torch.zeros(key_heads, length, self.done, dtype=torch.bool))
        # row by row what was evicted when the row's query was asked
        rows = torch.zeros(key_heads, length, length, dtype=torch.bool)
        rows[:, : gone.shape[1], : gone.shape[2]] = gone
        seen &= ~rows.repeat_interleave(heads // key_heads, 0)
        weights = (query[0] @ k.transpose(1, 2) / size**0.5).masked_fill(~seen, -torch.inf).softmax(-1)
        self.last[layer] = weights[:, -1]
        self.sums[layer] = weights.sum(1).unflatten(0, (key_heads, -1)).mean(1)
        return (weights @ v).transpose(0, 1)[None], None

    def logits(self, inputs: Inputs, tokens: list[int], monkeypatch: pytest.MonkeyPatch) -> Tensor:
        from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

        self.numbers = {id(each.self_attn): n for n, each in enumerate(self.there.decoder.layers)}
        self.original = ALL_ATTENTION_FUNCTIONS["sdpa"]
        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS, "sdpa", self.attend)
        prompt, found = inputs.tensors["input_ids"], []
        for step in range(len(tokens)):
            ids = torch.cat([prompt, torch.tensor([tokens[:step]], dtype=prompt.dtype)], dim=1)
            whole = {**inputs.tensors, "input_ids": ids, "attention_mask": torch.ones_like(ids)}
            with torch.inference_mode():
                found.append(self.there.loaded.model(**whole, use_cache=False).logits[0, -1])
            for layer in self.numbers.values():
                self.evict(layer, ids.shape[1])
        return torch.stack(found)

    def evict(self, layer: int, length: int) -> None:
        """Choose what the next query sees; the queries before keep what they saw."""
        key_heads = len(self.sums[layer])
        before = self.gone.get(layer)
        gone = torch.zeros(key_heads, length + 1, length + 1, dtype=torch.bool)
        if before is not None:
            gone[:, : before.shape[1], : before.shape[2]] = before
        dead = gone[:, length - 1].clone() if before is not None else gone[:, 0].clone()
        if before is None:
            dead[:, self.silent] = True
        for head in range(key_heads):
            alive = [place for place in range(length) if not dead[head, place]]
            if self.name == "tova":
                score = self.last[layer].mean(0)
                kept = sorted(alive, key=lambda place: (-float(score[place]), place))[: self.size]
            else:
                recent = self.size // 2
                early = alive[: len(alive) - recent]
                score = self.sums[layer][head]
                kept = sorted(early, key=lambda place: (-float(score[place]), place))[: self.size - recent]
                kept += alive[len(alive) - recent :]
            for place in alive:
                dead[head, place] = place not in kept
        gone[:, length] = dead
        self.gone[layer] = gone


@pytest.mark.parametrize("name", ["h2o", "tova"])
@pytest.mark.parametrize(("model", "seconds"), [("qwen_omni", 2.0), ("voxtral", 2.0)])
def test_every_step_evicts_as_published(
    name: str, model: str, seconds: float, bench: Benches, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench(model)
    inputs = inputs_of(there, seconds)
    logits, tokens, by_steps = run(there, inputs, press_of(name, ratio=0.7, evict="decode"))
    ids = inputs.tensors["input_ids"][0]
    audio = torch.isin(ids, torch.tensor(there.decoder.audio_token_ids)).nonzero().squeeze(1)
    marks = inputs.silent(0)
    silent = [] if marks is None else audio[torch.from_numpy(marks)].tolist()
    sounding = len(audio) - len(silent)
    size = len(ids) - len(audio) + budget(sounding, 0.7)
    assert {layer.keys.shape[2] for layer in by_steps.cache.layers} == {size}
    reference = Reference(there, name, size, silent)
    torch.testing.assert_close(logits, reference.logits(inputs, tokens, monkeypatch), **CLOSE)


def test_ratio_zero_evicts_nothing(bench: Benches) -> None:
    there = bench("qwen_omni")
    inputs = inputs_of(there, 2.0)
    whole, tokens, by_steps = run(there, inputs, press_of("h2o", ratio=0.0, evict="decode"))
    assert by_steps.cache.layers[0].keys.shape[2] == inputs.tensors["input_ids"].shape[1] + STEPS - 1
    less, others, _ = run(there, inputs, press_of("h2o", ratio=0.9, evict="decode"))
    # the first token comes from the whole prompt
    torch.testing.assert_close(whole[0], less[0], **CLOSE)
    assert not torch.allclose(whole[1], less[1], **CLOSE)
    assert tokens[0] == others[0]


def test_received_attention_is_the_sum_of_columns() -> None:
    random = torch.Generator().manual_seed(1)
    queries, keys = torch.randn(4, 300, 8, generator=random), torch.randn(2, 310, 8, generator=random)
    scores = queries @ keys.repeat_interleave(2, 0).transpose(1, 2) / 8**0.5
    late = torch.ones(300, 310, dtype=torch.bool).triu(11)
    whole = scores.masked_fill(late, -torch.inf).softmax(-1)
    received, last = received_attention(queries, keys)
    torch.testing.assert_close(received, whole.sum(1).unflatten(0, (2, 2)).mean(1))
    torch.testing.assert_close(last, whole[:, -1])


def test_h2o_after_the_context_keeps_recent_and_heavy_audio() -> None:
    received = torch.tensor([[9.0, 1, 5, 2, 8, 3, 1, 0], [9.0, 7, 1, 6, 1, 5, 0, 0]])
    keys = torch.zeros(2, 8, 4)
    audio: Any = torch.arange(1, 8)
    view = EvictionView(0, 1, keys, keys, None, None, None, audio, 4, torch.Generator(), received=received)
    kept = press_of("h2o", ratio=0.5).select(view)
    assert [sorted(head) for head in kept.tolist()] == [[2, 4, 6, 7], [1, 3, 6, 7]]


def test_an_adapter_answers_and_warns_once(
    bench: Benches, tmp_path: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "clip.wav"
    soundfile.write(file, noise(4.0), RATE)
    there, press = bench("qwen_omni"), press_of("tova", ratio=0.8, evict="decode")
    adapter = there.adapter(press, batch_size=4)
    assert adapter.requests_at_once() == 1
    request = Request("What is heard?", (Audio(str(file)),), Generation(max_new_tokens=5))
    (response,) = answers(adapter, [request])
    assert response.status == "ok"
    # keys of text may leave as well, so that more audio than its share may stay
    assert 20 <= (response.usage.kept_tokens or 0) < 100
    assert response.usage.details["select_s"] > 0
    assert response.usage.details["theoretical_speedup"] == 1
    one = Request("What is heard?", (Audio(str(file)),), Generation(max_new_tokens=1))
    answers(there.adapter(press), [one])
    assert "evict=decode: answers of one token can't depend on the press" in capsys.readouterr().err


def test_presses_that_evict_once_refuse_it() -> None:
    with pytest.raises(MarathonError, match="press=knorm: evict=decode: must be context or prompt"):
        press_of("knorm", ratio=0.5, evict="decode")
    with pytest.raises(MarathonError, match="press=h2o: evict=x: must be context or prompt or decode"):
        press_of("h2o", ratio=0.5, evict="x")
    with pytest.raises(MarathonError, match="evict=decode: not in a pair"):
        press_of("dart+tova", ratio=0.5, evict="decode")
