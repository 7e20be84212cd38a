"""Tests the measured audio tokens per second, and the verdict on a clip: heard whole, cut, or unverified."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from helpers.api_server import TEMPLATE_TOKENS
from marathon_eval.api.model import Request
from marathon_eval.backends.http.calibration import FLAT, NO_TOKEN_COUNTS, calibrated
from marathon_eval.backends.http.reply import AudioRate, ServerReply, response_from_reply


def server_of(
    count: Callable[[float], float], template: int = TEMPLATE_TOKENS, split: bool = False
) -> object:
    """Calibrate against a server whose audio tokens are `count(seconds)`."""

    async def ask(seconds: float) -> ServerReply:
        audio = round(count(seconds))
        return ServerReply(
            "A", "stop", input_tokens=audio + template + 1, audio_tokens=audio if split else None
        )

    return asyncio.run(calibrated(ask))


@pytest.mark.parametrize(
    ("count", "rate"),
    [
        (lambda s: 25 * s, 25),
        (lambda s: 25 * min(s, 30), 25),  # Qwen2-Audio: deaf after 30 s, found out by every longer clip
        (lambda s: 12.5 * 30 * -(-s // 30), 12.5),  # Voxtral: whole windows
        (lambda s: 13 * s - 1, 13),
        (lambda s: 32 * s, 32),
    ],
)
@pytest.mark.parametrize("split", [False, True])
def test_rate_from_calls_of_different_length(
    count: Callable[[float], float], rate: float, split: bool
) -> None:
    found = server_of(count, split=split)
    assert isinstance(found, AudioRate)
    assert found.per_second == pytest.approx(rate, rel=0.01)
    assert found.overhead == pytest.approx(TEMPLATE_TOKENS, abs=3)


def test_no_rate_without_counts_or_where_they_are_flat() -> None:
    assert server_of(lambda s: 188) == FLAT

    async def silent(seconds: float) -> ServerReply:
        return ServerReply("A", "stop")

    assert asyncio.run(calibrated(silent)) == NO_TOKEN_COUNTS


RATE = AudioRate(25.0, doubt=0.1, overhead=12.0)
ASK = Request("which of these four is it")


def verdict(tokens: int | None, seconds: float, rate: AudioRate | str = RATE) -> tuple[str, float | None]:
    response = response_from_reply(ServerReply("A", "stop", input_tokens=tokens), ASK, seconds, rate)
    return response.status, response.usage.heard_seconds


def test_a_clip_that_was_cut_is_an_error_that_names_both_numbers() -> None:
    words = len(ASK.prompt.split())
    for seconds in (95.0, 300.0, 330.0):
        assert verdict(round(25 * seconds) + 12 + words, seconds) == ("ok", seconds)
    assert verdict(750 + 12 + words, 95.0) == ("error", pytest.approx(30.0))
    assert verdict(7500 + 12 + 40, 330.0)[0] == "error"  # cut at 300 s, behind a longer prompt
    reply = ServerReply("A", "stop", input_tokens=750 + 12 + words)
    response = response_from_reply(reply, ASK, 95.0, RATE)
    assert response.text == ""
    assert response.error == (
        "the server heard at most 30.0 s of 95.0 s: 750 audio tokens where 25 per second make 2375"
    )
    assert response.usage.input_tokens == reply.input_tokens


def test_reported_audio_tokens_go_before_prompt_tokens() -> None:
    long_prompt = ServerReply("A", "stop", input_tokens=9000, audio_tokens=750)
    assert response_from_reply(long_prompt, ASK, 95.0, RATE).status == "error"


def test_a_system_text_of_ones_own_stands_in_the_place_of_the_default_one() -> None:
    """Its prompt may be shorter than the one that the rate was measured with: nothing is taken off for that."""
    own = Request("which", system="Listen")
    reply = ServerReply("A", "stop", input_tokens=2375 + 2 + 4)
    assert response_from_reply(reply, own, 95.0, AudioRate(25.0, 0.0, overhead=80.0)).status == "ok"


@pytest.mark.parametrize(
    ("prompt", "tokens"),
    [("\u97f3" * 800, 800), (" ".join(["counterintuitively"] * 300), 1200)],
    ids=["without-spaces", "long-words"],
)
def test_half_a_clip_does_not_hide_behind_a_long_prompt(prompt: str, tokens: int) -> None:
    """A server that counts audio and text together: 30 s of 60 s heard, and a prompt of more tokens than words."""
    request = Request(prompt)
    response = response_from_reply(
        ServerReply("A", "stop", input_tokens=750 + 12 + tokens), request, 60.0, RATE
    )
    assert (response.status, response.usage.heard_seconds) == ("unverified", None)
    assert "s of 60 s may be missing" in response.usage.details["unverified"]
    told = ServerReply("A", "stop", input_tokens=1500 + 12 + tokens, audio_tokens=1500)
    assert response_from_reply(told, request, 60.0, RATE).status == "ok"


def test_an_ordinary_question_verifies_a_clip() -> None:
    """A question with four options, of about 1.3 tokens a word, about clips of 10 s to 5 minutes."""
    options = "A. a violin B. a grand piano C. an acoustic guitar D. a trumpet"
    request = Request(
        f"Which instrument plays the melody after the applause? {options} Answer with the letter."
    )
    words = len(request.prompt.split())
    for seconds in (10.0, 30.0, 90.0, 300.0):
        reply = ServerReply("A", "stop", input_tokens=round(25 * seconds) + 12 + round(1.3 * words))
        assert response_from_reply(reply, request, seconds, RATE).status == "ok", seconds


def test_what_nobody_can_know_is_unverified_and_without_heard_seconds() -> None:
    assert verdict(None, 95.0) == ("unverified", None)
    response = response_from_reply(ServerReply("A", "stop", input_tokens=100), ASK, 95.0, FLAT)
    assert (response.status, response.usage.heard_seconds) == ("unverified", None)
    assert response.usage.details["unverified"] == FLAT
    assert verdict(20, 0.0, "no audio was sent") == ("ok", 0.0)
