"""What a server answered, and whether it heard the whole clip: its own token counts held against the seconds sent.

A server that shortens audio still answers with HTTP 200; the counts in `usage` are the only witness.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marathon_eval.api.model import Request, Response, Usage


class NoAnswer(Exception):
    """The server replied, but with no answer: empty, cut short, broken off."""


#: Tokens that rounding and an encoder's padding may take from a clip.
SLACK_TOKENS = 4.0


@dataclass(frozen=True)
class ServerReply:
    """One finished call in no vendor's words; counts are None where the server does not report them."""

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


@dataclass(frozen=True)
class AudioRate:
    """Audio tokens per second of a server.

    `doubt` is how far the rate may be off (tokens per second), `overhead` the prompt tokens that are neither
    audio nor words of the prompt: what the chat template and its default system text cost.
    """

    per_second: float
    doubt: float
    overhead: float = 0.0

    def audio_tokens(self, reply: ServerReply, request: Request) -> float | None:
        """The audio tokens that were reported, else the most that the prompt tokens leave room for.

        A word is at least one token, so that counting words takes off too little and never too much.
        """
        if reply.audio_tokens:
            return float(reply.audio_tokens)
        if reply.input_tokens is None:
            return None
        words = len(request.prompt.split())
        if request.system is not None:  # stands in the place of the default system text
            return max(0.0, reply.input_tokens - words - len(request.system.split()))
        return max(0.0, reply.input_tokens - words - self.overhead)

    def fewest(self, seconds: float) -> float:
        """The fewest tokens that `seconds` of audio can have become."""
        return seconds * (self.per_second - self.doubt) - SLACK_TOKENS


def judged(reply: ServerReply, request: Request, seconds: float, rate: AudioRate | str) -> Response:
    """The response to `request` with `seconds` of audio; `rate` is a text where none could be found, and says why.

    ok: answered, and the whole clip was heard. refused: the server would not answer. unverified: answered, and
    nobody knows what was heard. error: fewer tokens than the clip has, or no answer at all.
    """
    tokens = None if isinstance(rate, str) else rate.audio_tokens(reply, request)
    if reply.refusal is not None:
        refused = _usage(reply, None, {})
        return Response(reply.text, reply.finish_reason, "refused", reply.refusal, refused)
    if not reply.text.strip() and reply.finish_reason == "length" and reply.thinking_tokens:
        return Response.failed(
            f"no answer: all {reply.thinking_tokens} tokens went into thinking; allow more "
            "(--gen_kwargs max_new_tokens=...) or turn thinking off",
            _usage(reply, None, {}),
        )
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
    return Response(reply.text, reply.finish_reason, usage=_usage(reply, seconds, {}))


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
