"""Turns a worker's answer into a response, and checks that the clip was heard whole."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from marathon_eval.api.model import Response, Usage
from marathon_eval.backends.env.clips import Written

#: Seconds of each clip that a worker may report as not heard: a last frame or token that is incomplete.
WORKER_SLACK_SECONDS = 0.2
#: Counts that a worker may report, all of them tokens.
_COUNTS = ("input_tokens", "output_tokens", "audio_tokens")
UNKNOWN_HEARING = "the worker does not say how many seconds it heard (heard_seconds)"


def response_of(answer: Mapping[str, Any], sent: Written, details: Mapping[str, Any]) -> Response:
    """Build the response from a worker's answer to a request with the clips `sent`.

    `text` is the answer; `heard_seconds`, `finish_reason` (`stop` or `length`), the token counts and `details` are
    optional. Without `heard_seconds` a response about audio is `unverified`; with fewer than were sent it is an error.
    """
    counts = {name: answer[name] for name in _COUNTS if _is_count(answer.get(name))}
    own = answer.get("details")
    more = {**(own if isinstance(own, dict) else {}), **details}
    reason = "length" if answer.get("finish_reason") == "length" else "stop"
    text, seconds = str(answer["text"]), sent.seconds
    if not seconds:
        return Response(text, reason, usage=Usage(heard_seconds=0.0, **counts, details=more))
    heard = answer.get("heard_seconds")
    if isinstance(heard, bool) or not isinstance(heard, int | float) or not math.isfinite(heard):
        usage = Usage(**counts, details={**more, "unverified": UNKNOWN_HEARING})
        return Response(text, reason, "unverified", usage=usage)
    usage = Usage(heard_seconds=round(min(seconds, heard), 3), **counts, details=more)
    if heard < seconds - WORKER_SLACK_SECONDS * len(sent.paths):
        return Response.failed(
            f"audio was cut: {seconds:.2f} s were sent, the worker heard {heard:.2f} s", usage
        )
    if reason == "length" and not text.strip():
        return Response.failed("no answer: the reply was cut by its token limit before any text", usage)
    return Response(text, reason, usage=usage)


def _is_count(value: Any) -> bool:
    return type(value) is int and 0 <= value < 10**9
