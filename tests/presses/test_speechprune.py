"""Tests SpeechPrune against its rule in a few lines of double precision, and what the engine shows it beside states."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from helpers.press_reference import generated, inputs_of
from helpers.tiny_model_cases import Bench, Benches, Clips, answers, asked
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.api.press import PruningView, budget, press_from_args
from marathon_eval.api.registry import Registry
from marathon_eval.api.request import Turn
from marathon_eval.backends.hf.engine.first_projections import first_projections
from marathon_eval.backends.hf.engine.prompt_facts import question_places, with_facts
from marathon_eval.errors import MarathonError
from marathon_eval.presses.speechprune import SpeechPrune

#: Audio tokens per second.
RATES = {"qwen_omni": 25.0, "qwen2_audio": 25.0, "phi4_mm": 12.5}


def best(scores: Sequence[float], among: Sequence[int], count: int) -> list[int]:
    return sorted(among, key=lambda place: (-round(scores[place], 6), place))[:count]


def phase_1(speech: Tensor, question: Tensor, seconds: Sequence[int], count: int) -> list[int]:
    table = torch.nn.functional.cosine_similarity(speech[:, None], question[None], dim=-1)
    scores = table.mean(dim=1).tolist()
    frames = [[place for place, at in enumerate(seconds) if at == second] for second in sorted(set(seconds))]
    shares = torch.tensor([sum(scores[place] for place in frame) for frame in frames]).double().softmax(0)
    kept: list[int] = []
    for frame, share in zip(frames, shares.tolist(), strict=True):
        kept += best(scores, frame, math.floor(count * share))
    left = [place for place in range(len(speech)) if place not in kept]
    return sorted(kept + best(scores, left, count - len(kept)))


def phase_2(speech: Tensor, queries: Tensor, keys: Tensor, logarithms: bool) -> list[float]:
    """Score by the attention received, mean over heads and queries; `logarithms` of it, where most is too small."""
    found = []
    for head, weights in enumerate(queries):
        query = speech.sign() @ weights.sign().T
        key = speech.sign() @ keys[head * len(keys) // len(queries)].sign().T
        found.append((query @ key.T / query.shape[1] ** 0.5).log_softmax(dim=1))
    table = torch.cat(found)
    received = table.logsumexp(dim=0) - math.log(len(table)) if logarithms else table.exp().mean(dim=0)
    scores: list[float] = received.tolist()
    return scores


def by_rule(
    speech: Tensor,
    question: Tensor,
    weights: tuple[Tensor, Tensor],
    seconds: Sequence[int],
    keep: int,
    first: float,
    logarithms: bool = True,
) -> set[int]:
    kept = phase_1(speech, question, seconds, len(speech) - math.floor(first * (len(speech) - keep) + 1e-6))
    scores = phase_2(speech[kept], *weights, logarithms)
    return {kept[place] for place in best(scores, range(len(kept)), keep)}


def first_weights(model: Any) -> tuple[Tensor, Tensor]:
    """Read the first layer's weights by their names."""
    layer = model.get_decoder().layers[0].self_attn
    size, heads = layer.head_dim, model.get_decoder().config.num_attention_heads
    named = {name: value.double() for name, value in layer.state_dict().items()}
    if "q_proj.weight" in named:
        rows = torch.cat([named["q_proj.weight"], named["k_proj.weight"]])
    else:
        (base,) = (
            value for name, value in named.items() if name.startswith("qkv_proj") and "lora" not in name
        )
        ups = [value for name, value in named.items() if name.startswith("qkv_proj.lora_B")]
        downs = [value for name, value in named.items() if name.startswith("qkv_proj.lora_A")]
        for up, down in zip(ups, downs, strict=True):
            base = base + up @ down * next(iter(layer.qkv_proj.scaling.values()))
        rows = base[: size * (heads + (len(base) // size - heads) // 2)]
    blocks = rows.unflatten(0, (-1, size))
    return blocks[:heads], blocks[heads:]


def embeddings(there: Bench, tensors: dict[str, Tensor]) -> Tensor:
    """Return the states [T, h] that enter the first layer of a plain run."""
    seen: list[Tensor] = []

    def look(module: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        seen.append((args[0] if args else kwargs["hidden_states"])[0])

    handle = there.decoder.layers[0].register_forward_pre_hook(look, with_kwargs=True)
    with torch.inference_mode():
        there.loaded.model(**tensors)
    handle.remove()
    return seen[0].double()


@pytest.mark.parametrize("model", list(RATES))
@pytest.mark.parametrize(("ratio", "first"), [(0.3, 0.5), (0.9, 0.5), (0.6, 0.0), (0.6, 1.0), (0.6, 0.25)])
def test_it_keeps_what_its_rule_keeps(model: str, ratio: float, first: float, bench: Benches) -> None:
    there = bench(model)
    inputs = inputs_of(there, 6.3)
    done = generated(there, inputs, SpeechPrune(ratio=ratio, first=first))
    ids, states = inputs.tensors["input_ids"][0], embeddings(there, inputs.tensors)
    audio = torch.isin(ids, torch.tensor(there.decoder.audio_token_ids)).nonzero().squeeze(1)
    words = there.loaded.tokenizer("What is heard?", add_special_tokens=False)["input_ids"]
    (start,) = (n for n in range(len(ids)) if ids[n : n + len(words)].tolist() == words)
    expected = by_rule(
        states[audio],
        states[start : start + len(words)],
        first_weights(there.loaded.model),
        [int(number / RATES[model]) for number in range(len(audio))],
        budget(len(audio), ratio),
        first,
    )
    assert set(done.chosen[0].tolist()) == {int(audio[place]) for place in expected}


def view(
    states: Tensor, audio: int, keep: int, weights: tuple[Tensor, Tensor], seconds: Tensor | None
) -> PruningView:
    return PruningView(
        states,
        lambda x: x,
        states[None],
        None,
        torch.arange(audio),  # type: ignore[arg-type]  # torch's stubs: a Tensor
        keep,
        torch.Generator(),
        question=torch.arange(audio, len(states)),  # type: ignore[arg-type]  # as above
        seconds=seconds,
        projections=weights,
    )


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("told", [True, False])
def test_where_no_attention_is_lost_it_is_the_mean_itself(seed: int, told: bool) -> None:
    """Small sizes, so that no softmax comes out as 0; seconds of unlike numbers of tokens, or none told: 25 tokens each."""
    random = torch.Generator().manual_seed(seed)
    states = torch.randn(90, 5, generator=random)
    weights = torch.randn(4, 2, 5, generator=random), torch.randn(2, 2, 5, generator=random)
    seconds = torch.rand(80, generator=random).mul(6).sort().values if told else None
    frames = seconds.long().tolist() if seconds is not None else [number // 25 for number in range(80)]
    for keep in (1, 7, 40, 79, 80):
        chosen = SpeechPrune(ratio=0.5).select(view(states, 80, keep, weights, seconds)).tolist()
        doubles = states.double()
        exact = (weights[0].double(), weights[1].double())
        expected = by_rule(doubles[:80], doubles[80:], exact, frames, keep, 0.5, logarithms=False)
        assert set(chosen) == expected
        assert len(chosen) == keep


def test_a_second_that_is_like_the_question_keeps_more_and_no_place_stays_free() -> None:
    """One second of three is the question itself: it may keep all its tokens, and the others take what it can't."""
    states = torch.randn(80, 64, generator=torch.Generator().manual_seed(1))
    states[25:50] = states[75]
    weights = torch.randn(2, 4, 64), torch.randn(1, 4, 64)
    chosen = SpeechPrune(ratio=0.5, first=1.0).select(view(states[:76], 75, 40, weights, None)).tolist()
    assert set(range(25, 50)) < set(chosen)
    assert len(chosen) == 40


# -- the question ------------------------------------------------------------------------------------------------


def question_of(there: Bench, request: Request, *seconds: float, **args: Any) -> str:
    """The text of the tokens that the engine takes for the question."""
    adapter, waves = there.adapter(**args), [noise(length, 1) for length in seconds]
    ids = adapter.prepare(there.loaded, [request], [waves]).tensors["input_ids"][0]
    places = question_places(ids, request, there.loaded.tokenizer, there.decoder.audio_token_ids)
    return str(there.loaded.tokenizer.decode(ids[places])).strip()


ONE, TWO = (Audio("unread.wav"),), (Audio("unread.wav"), Audio("other.wav"))


@pytest.mark.parametrize(
    "model", ["qwen_omni", "qwen2_audio", "phi4_mm", "voxtral", "gemma4", "granite_speech"]
)
@pytest.mark.parametrize("first", [True, False])
def test_the_question_is_the_user_s_text_alone(model: str, first: bool, bench: Benches) -> None:
    # voxtral's tokenizer refuses a system prompt beside audio
    request = Request("  What is heard?\nSay it. ", ONE, system="" if model == "voxtral" else "Say it.")
    assert question_of(bench(model), request, 1.0, audio_first=first) == "What is heard?\nSay it."


def test_texts_around_clips_are_the_question_and_earlier_turns_are_not(bench: Benches) -> None:
    there = bench("qwen_omni")
    placed = Request("Compare <audio> with <audio> now", TWO, placed=True)
    assert question_of(there, placed, 1.0, 0.5).replace(" ", "") == "Comparewithnow"
    turns = (Turn("user", "<audio> Who?"), Turn("assistant", "Who? Me."))
    assert question_of(there, Request("Who?", ONE, placed=True, earlier=turns), 1.0) == "Who?"
    adapter = there.adapter()
    request = Request("Who?", ONE, placed=True, earlier=turns)
    ids = adapter.prepare(there.loaded, [request], [[noise(1.0)]]).tensors["input_ids"][0]
    places = question_places(ids, request, there.loaded.tokenizer, there.decoder.audio_token_ids)
    audio = torch.isin(ids, torch.tensor(there.decoder.audio_token_ids)).nonzero()
    assert int(places[0]) > int(audio[-1]) + 8, "the last turn's, behind the answer"


def test_special_tokens_in_the_text_are_no_question(bench: Benches) -> None:
    there = bench("qwen_omni")
    special = there.loaded.tokenizer.eos_token
    assert special not in question_of(there, Request(f"What {special} is it?", ONE), 1.0)


def test_facts_follow_a_prompt_through_batch_and_stages(bench: Benches) -> None:
    """A press that cuts twice, of which the second cut sees the same question at its new places."""

    class Twice(Registry().press_class("truncate")):  # type: ignore[misc]  # a class made while running
        needs_question = True

        def select(self, view: PruningView) -> Any:
            assert view.question is not None
            assert view.seconds is not None
            seen.append((view.hidden[view.question], view.seconds, len(view.audio)))
            return super().select(view)

    seen: list[tuple[Tensor, Tensor, int]] = []
    there = bench("qwen_omni")
    inputs = inputs_of(there, 4.0, 2.0)
    states = embeddings(there, {name: part for name, part in inputs_of(there, 4.0).tensors.items()})
    generated(there, inputs, press_from_args(Twice, {"layer": "0+1", "ratio": "0.5+0.8"}))
    assert len(seen) == 4
    for question, seconds, length in seen:
        assert len(seconds) == length
        assert torch.equal(seconds, torch.arange(length).double() / 25)
        assert len(question)
    assert inputs.facts is not None
    torch.testing.assert_close(seen[0][0].double(), states[inputs.facts[0].question])
    assert len(seen[0][0]) == len(seen[2][0])


# -- whole answers and refusals ----------------------------------------------------------------------------------


def test_a_run_finds_the_question_by_itself_alone_in_batches_and_in_pairs(
    bench: Benches, clip: Clips
) -> None:
    there, press = bench("qwen_omni"), SpeechPrune(ratio=0.5)
    requests = [asked(clip(3.0)), asked(clip(2.0), "Who speaks, and of what?")]
    alone = answers(there.adapter(press), requests)
    both = answers(there.adapter(press, batch_size=2), requests)
    assert [one.text for one in alone] == [one.text for one in both]
    assert [one.usage.kept_tokens for one in alone] == [37, 25]
    pair = press_from_args(Registry().press_class("speechprune+knorm"), {"ratio": "0.4+0.8"})
    paired = answers(there.adapter(pair), requests)
    assert [one.error for one in paired] == [None, None]
    assert [one.usage.kept_tokens for one in paired] == [15, 10]
    batched = answers(there.adapter(pair, batch_size=2), requests)
    assert [one.text for one in paired] == [one.text for one in batched]


def test_a_prompt_without_a_question_fails_alone_and_one_without_audio_does_not(
    bench: Benches, clip: Clips
) -> None:
    there, press = bench("qwen_omni"), SpeechPrune(ratio=0.5)
    mute, fine = asked(clip(3.0), " "), asked(clip(3.0))
    failed, answered = answers(there.adapter(press, batch_size=2), [mute, fine])
    assert failed.error == "the press compares the audio with the question, and none stands in the prompt"
    assert answered.error is None
    (silent,) = answers(there.adapter(press), [replace(fine, audios=())])
    assert silent.error is None


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"layer": 2, "ratio": 0.5}, "layer=2: must be 0, the one layer at which the rule works"),
        ({"layer": "0+2", "ratio": "0.3+0.5"}, "layer=0\\+2: must be 0, the one"),
        ({"ratio": 0.5, "first": 1.5}, "first=1.5: must be 0 to 1"),
        ({"ratio": 0.5, "first": -0.1}, "first=-0.1: must be 0 to 1"),
    ],
)
def test_wrong_settings_are_told_in_one_line(args: dict[str, Any], message: str) -> None:
    with pytest.raises(MarathonError, match=f"press=speechprune: {message}") as told:
        press_from_args(SpeechPrune, args)
    assert "\n" not in str(told.value)


def test_a_model_without_such_weights_is_refused_in_one_line() -> None:
    other: Any = SimpleNamespace(layers=[SimpleNamespace(self_attn=torch.nn.Linear(2, 2))])
    with pytest.raises(MarathonError, match="Linear has neither q_proj and k_proj nor qkv_proj") as told:
        first_projections(other, SpeechPrune(ratio=0.5))
    assert "\n" not in str(told.value)


def test_requests_that_are_read_alone_have_facts_each(bench: Benches) -> None:
    there = bench("qwen_omni")
    requests = [Request("What is heard?", ONE), Request("Who?", ONE)]
    rows = [there.adapter().prepare(there.loaded, [each], [[noise(1.0)]]) for each in requests]
    inputs = replace(rows[0], alone=rows)
    found = with_facts(inputs, requests, there.loaded.tokenizer, there.decoder.audio_token_ids)
    assert found.alone is not None
    assert found.facts is not None
    for facts, row in zip(found.facts, found.alone, strict=True):
        assert row.facts == [facts]
