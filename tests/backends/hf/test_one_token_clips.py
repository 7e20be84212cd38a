"""Tests clips of one audio token, the shortest that a model hears."""

from __future__ import annotations

from dataclasses import replace

import pytest

from helpers.tiny_model_cases import CASES, FEW, PRESSES, Bench, Benches, Clips, answers, asked, press_of
from marathon_eval.api.model import Generation, Request
from marathon_eval.api.press import EvictionPress

ONE_TOKEN = 0.04
EVICTING = [name for name, press in PRESSES.items() if issubclass(press, EvictionPress)]


def several(clip: Clips) -> list[Request]:
    """A clip of one token, among longer ones."""
    shortest = asked(clip(ONE_TOKEN))
    return [shortest, asked(clip(2.0), "Is it loud?"), asked(clip(3.0), "What is heard? Say it.")]


@pytest.mark.parametrize("model", ["qwen2_audio", "hf"])
@pytest.mark.parametrize("name", [None, "random", "knorm"])
def test_alone_as_in_a_batch(model: str, name: str | None, bench: Benches, clip: Clips) -> None:
    there: Bench = bench(model)
    press = None if name is None else press_of(name, CASES[model])
    together = answers(there.adapter(press, batch_size=3, sharing=False), several(clip))
    alone = answers(there.adapter(press, sharing=False), several(clip))
    assert [(one.status, one.error) for one in (*together, *alone)] == [("ok", None)] * 6
    assert [one.text for one in together] == [one.text for one in alone]
    assert alone[0].usage.audio_tokens == alone[0].usage.kept_tokens == 1


def test_two_clips_of_one_token_in_one_prompt(bench: Benches, clip: Clips) -> None:
    there = bench("qwen2_audio")
    both = Request("Which is louder?", (clip(ONE_TOKEN), clip(0.05)), FEW)
    (answer,) = answers(there.adapter(sharing=False), [both])
    assert (answer.status, answer.error) == ("ok", None)
    assert answer.usage.audio_tokens == 2


@pytest.mark.parametrize("name", EVICTING)
def test_every_eviction_press_takes_a_context_of_few_tokens(name: str, bench: Benches, clip: Clips) -> None:
    """Its padding leaves, so the rule is asked although it may remove nothing."""
    there = bench("voxtral")
    request = replace(asked(clip(0.06)), generation=Generation(2))
    (answer,) = answers(there.adapter(press_of(name, CASES["voxtral"])), [request])
    assert (answer.status, answer.error) == ("ok", None)
    assert answer.usage.audio_tokens is not None
    padding = answer.usage.details["padding_tokens"]
    assert answer.usage.kept_tokens == answer.usage.audio_tokens - padding
