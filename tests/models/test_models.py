"""Tests every chat model in models/ on a tiny checkpoint: all audio is heard, in batches too, with every press."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import pytest
import torch

from helpers.tiny_model_cases import (
    EVICTION,
    FEW,
    MODELS,
    PRUNING,
    Bench,
    Benches,
    Clips,
    answers,
    asked,
    built,
    first_logits,
    press_of,
    slow_if_related,
)
from helpers.tiny_press_run import noise
from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request, Turn
from marathon_eval.api.press import budget
from marathon_eval.backends.hf.chat import ChatModel
from marathon_eval.backends.hf.engine.loaded import Loaded
from marathon_eval.backends.hf.inputs import RATE
from marathon_eval.errors import MarathonError
from marathon_eval.scoring.usage import sounding_tokens

ALL = pytest.mark.parametrize("name", MODELS)
LONG = [95.0, 300.0]


# -- inputs -----------------------------------------------------------------------------------------------------------


@ALL
def test_a_clip_longer_than_five_minutes_is_heard_whole(name: str, bench: Benches) -> None:
    there = bench(name)
    adapter, wave = there.adapter(), noise(330.0)
    inputs = adapter.prepare(there.loaded, [asked(Audio("unread.wav"))], [[wave]])
    assert inputs.audio_tokens == [there.case.tokens(330.0)]
    assert inputs.heard_seconds[0] == pytest.approx(330.0, abs=0.1)
    ids = torch.tensor(adapter.decoder(there.loaded.model).audio_token_ids)
    assert int(torch.isin(inputs.tensors["input_ids"], ids).sum()) == inputs.audio_tokens[0]
    rate = there.case.tokens(3000.0) / 3000.0
    assert adapter.token_rate == pytest.approx(rate, rel=0.01)
    assert inputs.details == ({"segment_seconds": 30.0} if adapter.segment_seconds else {})


@ALL
def test_placed_clips_stand_between_the_texts(name: str, bench: Benches) -> None:
    """The order of texts and sounds in the ids is that of the prompt, also for clips that are heard in pieces."""
    there = bench(name)
    adapter = there.adapter()
    count = 1 if adapter.clips_per_question == 1 else 2
    clips = (Audio("unread.wav"), Audio("other.wav"))[:count]
    request = Request(
        "before <audio> after"[: None if count == 1 else 14] + ("<audio> last" * (count - 1)),
        clips,
        FEW,
        placed=True,
    )
    waves = [noise(31.0), noise(2.0)][:count]
    inputs = adapter.prepare(there.loaded, [request], [waves])
    tokens = adapter.decoder(there.loaded.model).audio_token_ids
    ids = inputs.tensors["input_ids"][0]
    heard = torch.isin(ids, torch.tensor(tokens))
    assert int(heard.sum()) == inputs.audio_tokens[0]
    text = there.loaded.tokenizer.decode(ids[: int(heard.nonzero()[0])])
    if there.case.transcribes:
        assert "before" not in there.loaded.tokenizer.decode(ids).replace(" ", ""), "no question is sent"
        return
    assert "before" in text.replace(" ", "")
    rest = there.loaded.tokenizer.decode(ids[int(heard.nonzero()[-1]) + 1 :])
    assert ("last" if count == 2 else "after") in rest.replace(" ", "")


@ALL
def test_the_turns_of_a_dialogue_stand_in_order(name: str, bench: Benches) -> None:
    """The first clip, the model's own answer and the second clip stand in the ids in this order."""
    there = bench(name)
    adapter = there.adapter()
    if there.case.transcribes:
        assert not adapter.takes_turns
        return
    clips = (Audio("unread.wav"), Audio("other.wav"))[: 1 if adapter.clips_per_question == 1 else 2]
    earlier = (Turn("user", "<audio> which?"), Turn("assistant", "cats <audio>"))
    request = Request(
        "sure? <audio>" if len(clips) == 2 else "sure?", clips, FEW, placed=True, earlier=earlier
    )
    inputs = adapter.prepare(there.loaded, [request], [[noise(31.0), noise(2.0)][: len(clips)]])
    tokens = torch.tensor(adapter.decoder(there.loaded.model).audio_token_ids)
    ids = inputs.tensors["input_ids"][0]
    heard = torch.isin(ids, tokens)
    assert int(heard.sum()) == inputs.audio_tokens[0]
    text = there.loaded.tokenizer.decode(ids[~heard]).replace(" ", "")
    assert text.index("which?") < text.index("cats<audio>") < text.index("sure?")
    before = there.loaded.tokenizer.decode(ids[: int(heard.nonzero()[-1])]).replace(" ", "")
    assert ("cats" in before) == (len(clips) == 2), "the second clip stands in the second turn"


@ALL
def test_a_clip_beyond_the_positions_is_told_by_the_config_alone(
    name: str, bench: Benches, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench(name)
    adapter = built(there.case, there.folder)
    limit = there.loaded.model.config.get_text_config().max_position_embeddings
    assert adapter.positions == limit
    if adapter.token_rate is None:
        assert adapter.misfit(asked(clip(20.0)), 1e6) is None, (
            "this model's rate is measured once it is loaded"
        )
        return
    room = (limit - FEW.max_new_tokens) / adapter.token_rate
    assert adapter.misfit(asked(clip(20.0)), room - 1) is None
    assert f"exceed the model's context length of {limit}: at most" in str(
        adapter.misfit(asked(clip(20.0)), room + 1)
    )
    monkeypatch.setattr(adapter, "_positions", 100)
    (response,) = answers(adapter, [asked(clip(20.0))])
    assert str(response.error).startswith("not asked: 20 s of audio are about")
    assert adapter._runner is None, "no weights were loaded for it"


@ALL
def test_a_clip_that_the_features_cut_is_an_error_row(
    name: str, bench: Benches, clip: Clips, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = bench(name)
    limit = 25 if there.adapter().segment_seconds else 300
    original = type(there.adapter()).hear

    def deaf(self: ChatModel, loaded: Loaded, clips: Sequence[Any]) -> Any:
        return original(self, loaded, [wave[: limit * RATE] for wave in clips])

    monkeypatch.setattr(type(there.adapter()), "hear", deaf)
    (response,) = answers(there.adapter(), [asked(clip(330.0))])
    assert response.status == "error"
    assert "audio was cut: 330.00 s were sent" in str(response.error)


@ALL
def test_a_prompt_with_the_placeholder_in_it_is_an_error_row(name: str, bench: Benches, clip: Clips) -> None:
    there = bench(name)
    adapter = there.adapter()
    (response,) = answers(adapter, [asked(clip(2.0), f"Is {adapter.placeholder(there.loaded)} heard?")])
    if there.case.placeholder_is_text or there.case.transcribes:
        assert response.error is None
        return
    assert response.status == "error"
    assert "the prompt must not contain it" in str(response.error)


# -- answers ----------------------------------------------------------------------------------------------------------


@ALL
def test_a_batch_of_two_is_two_batches_of_one(name: str, bench: Benches, clip: Clips) -> None:
    there = bench(name)
    requests = [asked(clip(95.0)), asked(clip(41.0), "Which sound comes first?")]
    alone = answers(there.adapter(), requests)
    assert [response.error for response in alone] == [None, None]
    for response, seconds in zip(alone, (95.0, 41.0), strict=True):
        assert response.usage.audio_tokens == there.case.tokens(seconds)
        assert response.usage.heard_seconds == pytest.approx(seconds, abs=0.1)
    together = answers(there.adapter(batch_size=2), requests)
    assert [response.text for response in together] == [response.text for response in alone]
    assert [response.usage.details["batch"] for response in together] == [2 if there.case.batches else 1] * 2
    if there.case.batches:
        adapter = there.adapter()
        waves = [[noise(seconds)] for seconds in (33.0, 7.0)]
        both = first_logits(there, adapter.prepare(there.loaded, requests, waves))
        for row in range(2):
            one = adapter.prepare(there.loaded, requests[row : row + 1], waves[row : row + 1])
            torch.testing.assert_close(both[row], first_logits(there, one)[0], atol=1e-4, rtol=0)


@ALL
def test_a_question_without_audio_is_answered(name: str, bench: Benches) -> None:
    (response,) = answers(bench(name).adapter(), [Request("What is two and two?", (), FEW)])
    if bench(name).case.transcribes:
        assert response.error == f"{name} needs audio: this request has none"
        return
    assert response.error is None
    assert response.usage.audio_tokens == 0


def held_or_refused(there: Bench, name: str, requests: Sequence[Request]) -> None:
    """The press leaves exactly its budget, or the model says in the case's words that it can't carry it."""
    press = press_of(name, there.case)
    refusal = there.case.refuses(type(press))
    if refusal is not None:
        with pytest.raises(MarathonError, match=refusal):
            there.adapter(press)
        return
    plain = [there.plain(request) for request in requests]
    for before, response in zip(plain, answers(there.adapter(press), requests), strict=True):
        assert response.error is None
        assert response.usage.audio_tokens == before.usage.audio_tokens is not None
        heard, _ = sounding_tokens(asdict(before.usage))
        assert heard is not None
        assert response.usage.kept_tokens == pytest.approx(budget(heard, press.ratio), abs=1)
        assert response.usage.kv_bytes < before.usage.kv_bytes  # type: ignore[operator]  # both were measured


@pytest.mark.parametrize("name", slow_if_related(MODELS))
@pytest.mark.parametrize("press", ["random", "fastv", "dart", *EVICTION])
def test_presses_keep_their_budget(name: str, press: str, bench: Benches, clip: Clips) -> None:
    held_or_refused(bench(name), press, [asked(clip(33.0))])


@pytest.mark.slow
@ALL
@pytest.mark.parametrize("press", [*PRUNING, *EVICTION])
@pytest.mark.parametrize("seconds", LONG)
def test_every_press_on_long_clips(
    name: str, press: str, seconds: float, bench: Benches, clip: Clips
) -> None:
    held_or_refused(bench(name), press, [asked(clip(seconds))])


@pytest.mark.slow
@ALL
def test_five_minutes_beside_a_minute_and_a_half(name: str, bench: Benches, clip: Clips) -> None:
    there = bench(name)
    requests = [asked(clip(seconds)) for seconds in (300.0, 95.0, 330.0)]
    alone = answers(there.adapter(), requests)
    assert [response.error for response in alone] == [None] * 3
    assert [r.usage.audio_tokens for r in alone] == [there.case.tokens(s) for s in (300.0, 95.0, 330.0)]
    together = answers(there.adapter(batch_size=2), requests)
    assert [response.text for response in together] == [response.text for response in alone]
