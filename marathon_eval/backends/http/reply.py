"""Turns a server's reply into a response, and checks from its token counts that the server heard the whole clip.

A server that cuts audio still replies with HTTP 200; only the token counts in its `usage` show the cut.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marathon_eval.api.model import Request, Response, Usage


class NoAnswer(Exception):
    """Says that the server replied without an answer: an empty, truncated or interrupted reply."""


#: Counts of tokens from here on are no model's.
MOST_TOKENS = 10**9
#: A clip may have this many fewer tokens than expected, because of rounding and the encoder's padding.
SLACK_TOKENS = 4.0
#: A prompt that could hide the loss of more than this share of a clip, and of more than these seconds, verifies nothing.
MOST_HIDDEN_SHARE, MOST_HIDDEN_S = 0.1, 3.0


@dataclass(frozen=True)
class ServerReply:
    """Holds a finished call in a form common to all vendors; counts that the server does not report are None."""

    text: str
    finish_reason: str
    refusal: str | None = None
    input_tokens: int | None = None
    audio_tokens: int | None = None
    output_tokens: int | None = None
    thinking_tokens: int | None = None
    first_token_s: float | None = None
    total_s: float | None = None
    details: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Set invalid counts to None: a server may send negative numbers, fractions or texts."""
        for name in ("input_tokens", "audio_tokens", "output_tokens", "thinking_tokens"):
            count = getattr(self, name)
            if type(count) is not int or not 0 <= count < MOST_TOKENS:
                object.__setattr__(self, name, None)


@dataclass(frozen=True)
class AudioRate:
    """Holds a server's audio tokens per second.

    `doubt` is the largest error of the rate (tokens per second). `overhead` counts the prompt tokens that are neither
    audio nor words of the prompt: those of the chat template and its default system text.
    """

    per_second: float
    doubt: float
    overhead: float = 0.0

    def audio_tokens(self, reply: ServerReply, request: Request) -> float | None:
        """Return the audio tokens that the server reported, else an upper bound from its count of prompt tokens.

        The bound subtracts one token per word; a word has at least one token, so the bound is never too low.
        """
        if reply.audio_tokens:
            return float(reply.audio_tokens)
        if reply.input_tokens is None:
            return None
        words = sum(len(text.split()) for text in _texts(request))
        if request.system is not None:  # it replaces the default system text, which `overhead` includes
            return max(0.0, reply.input_tokens - words)
        return max(0.0, reply.input_tokens - words - self.overhead)

    def hidden_seconds(self, reply: ServerReply, request: Request, seconds: float) -> float:
        """Return how many of the clip's seconds may be missing although the count of prompt tokens looks whole.

        A text has more tokens than words, and nobody knows how many: as many tokens of audio may be missing.
        """
        bound = self.audio_tokens(reply, request)
        if reply.audio_tokens or bound is None:
            return 0.0
        uncertain = sum(_likely_most_tokens(text) - len(text.split()) for text in _texts(request))
        return max(0.0, seconds + (uncertain - bound) / self.per_second)

    def fewest(self, seconds: float) -> float:
        """Return the lowest token count that `seconds` of uncut audio can have."""
        return seconds * (self.per_second - self.doubt) - SLACK_TOKENS


def response_from_reply(
    reply: ServerReply, request: Request, seconds: float, rate: AudioRate | str
) -> Response:
    """Build the response to `request`, which had `seconds` of audio; `rate` is a text when no rate could be measured.

    Its status is "ok" when the server answered and its token counts show that it heard the whole clip, "refused" when it
    declined to answer, "unverified" when it answered but the counts do not show how much it heard, and "error" when it heard fewer
    tokens than the clip has or when the token limit cut it before the answer.
    """
    tokens = None if isinstance(rate, str) else rate.audio_tokens(reply, request)
    if reply.refusal is not None:
        usage = _usage(reply, None, {})
        return Response(reply.text, reply.finish_reason, "refused", reply.refusal, usage)
    if reply.finish_reason == "length" and _only_thinking(reply.text):
        return Response.failed(_cut_in_thinking(reply), _usage(reply, None, {}))
    if not seconds:
        return Response(reply.text, reply.finish_reason, usage=_usage(reply, 0.0, {}))
    if isinstance(rate, str) or tokens is None:
        why = rate if isinstance(rate, str) else "the server reported no prompt tokens"
        return Response(
            reply.text, reply.finish_reason, "unverified", usage=_usage(reply, None, {"unverified": why})
        )
    heard = min(seconds, tokens / rate.per_second)
    if tokens < rate.fewest(seconds):
        return Response.failed(
            f"the server heard at most {heard:.1f} s of {seconds:.1f} s: {tokens:.0f} audio tokens where "
            f"{rate.per_second:.4g} per second make {seconds * rate.per_second:.0f}",
            _usage(reply, heard, {}),
        )
    hidden = rate.hidden_seconds(reply, request, seconds)
    if hidden > max(MOST_HIDDEN_S, MOST_HIDDEN_SHARE * seconds):
        why = f"the server counts audio and text together, and behind this text {hidden:.0f} s of {seconds:.0f} s may be missing"
        return Response(
            reply.text, reply.finish_reason, "unverified", usage=_usage(reply, None, {"unverified": why})
        )
    return Response(reply.text, reply.finish_reason, usage=_usage(reply, seconds, {}))


def _texts(request: Request) -> list[str]:
    """Return the texts of a request that become prompt tokens."""
    return [*(turn.text for turn in request.earlier), request.prompt, request.system or ""]


def _likely_most_tokens(text: str) -> int:
    """Return a number of tokens that few tokenizers exceed: one for three ASCII letters, two for any other character."""
    return sum(
        math.ceil(sum(sign.isascii() for sign in word) / 3) + 2 * sum(not sign.isascii() for sign in word)
        for word in text.split()
    )


def _only_thinking(text: str) -> bool:
    """Return whether a text has no answer in it: it is empty, or thinking that does not end."""
    begun = text.strip()
    return not begun or (begun.startswith("<think>") and "</think>" not in begun)


def _cut_in_thinking(reply: ServerReply) -> str:
    spent = reply.thinking_tokens or (reply.output_tokens if reply.text.strip() else None)
    if spent:
        return (
            f"no answer: all {spent} tokens went into thinking; allow more (thinking_tokens=... in the model's arguments, or "
            "--gen_kwargs max_new_tokens=...) or turn thinking off"
        )
    return (
        "no answer: the reply was cut by its token limit before any text; allow more tokens (--gen_kwargs "
        "max_new_tokens=...), or thinking_tokens=... in the model's arguments for a model that thinks"
    )


def _usage(reply: ServerReply, heard: float | None, more: Mapping[str, Any]) -> Usage:
    decode = None
    if reply.first_token_s is not None and reply.total_s is not None:
        decode = reply.total_s - reply.first_token_s
    counts = {"thinking_tokens": reply.thinking_tokens, "total_s": reply.total_s}
    return Usage(
        heard_seconds=heard,
        audio_tokens=reply.audio_tokens or None,
        input_tokens=reply.input_tokens,
        output_tokens=reply.output_tokens,
        prefill_s=reply.first_token_s,
        decode_s=decode,
        details={k: v for k, v in {**counts, **reply.details, **more}.items() if v is not None},
    )
