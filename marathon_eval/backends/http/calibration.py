"""Measures a server's audio tokens per second with calls whose synthetic audio clips differ in length."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from marathon_eval.api.model import Generation, Request
from marathon_eval.backends.http.reply import AudioRate, ServerReply

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Neither is above 30 s, the shortest length at which any known model cuts audio, so a model that cuts longer clips
#: still shows its true rate.
SHORT_CLIP_S, LONG_CLIP_S = 10.0, 30.0
#: Models that pad clips to whole windows of 30 s count the same for both; a clip of this length fills two windows.
LONGER = 60.0
#: The request of a calibration call. Its one word costs far fewer tokens than a second of audio, and 16 tokens are the
#: fewest that some servers take as a limit.
REQUEST = Request("Go", generation=Generation(max_new_tokens=16))
FLAT = "the server's token counts do not grow with the audio"
NO_TOKEN_COUNTS = "the server reports no token counts"


async def calibrated(ask: Callable[[float], Awaitable[ServerReply]]) -> AudioRate | str:
    """Return the rate measured by two or three calls of `ask(seconds)`, or a text that says why there is none."""
    short, long = await ask(SHORT_CLIP_S), await ask(LONG_CLIP_S)
    rate = _between(short, SHORT_CLIP_S, long, LONG_CLIP_S)
    if rate == FLAT:
        return _between(long, LONG_CLIP_S, await ask(LONGER), LONGER)
    return rate


def _between(first: ServerReply, first_s: float, second: ServerReply, second_s: float) -> AudioRate | str:
    span = second_s - first_s
    if first.audio_tokens and second.audio_tokens:
        added_tokens = second.audio_tokens - first.audio_tokens
    elif first.input_tokens is not None and second.input_tokens is not None:
        added_tokens = second.input_tokens - first.input_tokens
    else:
        return NO_TOKEN_COUNTS
    doubt = 2.0 / span  # each of the two counts is rounded to a whole token
    if added_tokens <= 2.0:
        return FLAT
    rate = added_tokens / span
    overhead = (second.input_tokens or 0.0) - rate * second_s - len(REQUEST.prompt.split())
    return AudioRate(rate, doubt, max(0.0, overhead))


def sound(seconds: float, rate: int) -> NDArray[np.float32]:
    """Make noise [n] whose volume rises and falls three times a second, so that silence removal does not cut it."""
    import numpy as np

    count = round(seconds * rate)
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 3.0 * np.arange(count) / rate)
    noise = np.random.default_rng(0).standard_normal(count)
    return (0.05 * swell * noise).astype(np.float32)
