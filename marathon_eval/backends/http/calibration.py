"""A server's audio tokens per second, from calls of different length with a sound made here."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from marathon_eval.api.model import Generation, Request
from marathon_eval.backends.http.reply import AudioRate, ServerReply

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Both below 30 s, the shortest window at which any known model cuts: one that cuts shows its true rate here.
SHORT_CLIP_S, LONG_CLIP_S = 10.0, 30.0
#: Models that pad every clip to whole windows of 30 s count the same for both; this one has two windows.
LONGER = 60.0
#: One word: what it costs beyond one token is far below a second of audio.
REQUEST = Request("Go", generation=Generation(max_new_tokens=1))
FLAT = "the server's token counts do not grow with the audio"
NO_TOKEN_COUNTS = "the server reports no token counts"


async def calibrated(ask: Callable[[float], Awaitable[ServerReply]]) -> AudioRate | str:
    """The rate from `ask(seconds)`, two calls or three; a text where there is none, and why."""
    short, long = await ask(SHORT_CLIP_S), await ask(LONG_CLIP_S)
    rate = _between(short, SHORT_CLIP_S, long, LONG_CLIP_S)
    if rate == FLAT:
        return _between(long, LONG_CLIP_S, await ask(LONGER), LONGER)
    return rate


def _between(first: ServerReply, first_s: float, second: ServerReply, second_s: float) -> AudioRate | str:
    span = second_s - first_s
    if first.audio_tokens and second.audio_tokens:
        grown = second.audio_tokens - first.audio_tokens
    elif first.input_tokens is not None and second.input_tokens is not None:
        grown = second.input_tokens - first.input_tokens
    else:
        return NO_TOKEN_COUNTS
    doubt = 2.0 / span  # each count is rounded to a whole token
    if grown <= 2.0:
        return FLAT
    rate = grown / span
    overhead = (second.input_tokens or 0.0) - rate * second_s - len(REQUEST.prompt.split())
    return AudioRate(rate, doubt, max(0.0, overhead))


def sound(seconds: float, rate: int) -> NDArray[np.float32]:
    """Noise that swells three times a second [n]: nothing that a silence remover would cut."""
    import numpy as np

    count = round(seconds * rate)
    swell = 0.55 + 0.45 * np.sin(2 * np.pi * 3.0 * np.arange(count) / rate)
    noise = np.random.default_rng(0).standard_normal(count)
    return (0.05 * swell * noise).astype(np.float32)
