"""Tests that a server's token counts are whole numbers from 0, or none."""

from __future__ import annotations

from typing import Any

import pytest

from marathon_eval.api.model import Request
from marathon_eval.backends.http.reply import AudioRate, ServerReply, response_from_reply


@pytest.mark.parametrize("count", [-1, -(10**30), 10**30, 2.5, float("nan"), "7", True, [], {}])
def test_a_count_that_is_none_is_dropped(count: Any) -> None:
    reply = ServerReply("A", "stop", None, count, count, count, count)
    counts = (reply.input_tokens, reply.audio_tokens, reply.output_tokens, reply.thinking_tokens)
    assert counts == (None, None, None, None)
    response = response_from_reply(reply, Request("Which?"), 10.0, AudioRate(25.0, 0.1))
    assert response.status == "unverified"
    assert (response.usage.input_tokens, response.usage.output_tokens) == (None, None)


def test_counts_stay() -> None:
    reply = ServerReply("A", "stop", None, 300, 250, 0, 12)
    assert (reply.input_tokens, reply.audio_tokens, reply.output_tokens, reply.thinking_tokens) == (
        300,
        250,
        0,
        12,
    )
