"""Audio as it is sent: decoded, mixed down, resampled and encoded outside the event loop."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.audio import Audio

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["wav", "mp3"]
_SOUNDFILE: dict[Format, dict[str, Any]] = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}
#: Questions on one clip come side by side; a few clips are kept so that each is encoded once. 300 s is 9.6 MB.
KEPT_CLIPS = 4


@dataclass(frozen=True)
class EncodedClip:
    """One encoded clip and the seconds that went into it."""

    data: bytes
    format: Format
    seconds: float


def encode(samples: NDArray[np.float32], rate: int, kind: Format) -> EncodedClip:
    """Mono samples [n] at `rate` Hz as a 16-bit WAV or an MP3."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, **_SOUNDFILE[kind]) as file:
        # libsndfile's lossy encoders overflow their stack when given minutes at once
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return EncodedClip(buffer.getvalue(), kind, len(samples) / rate)


class EncodedClips:
    """Encoded clips on demand; one that several requests ask for at the same time is encoded once."""

    def __init__(self, rate: int, kind: Format) -> None:
        self._rate, self._kind = rate, kind
        self._tasks: OrderedDict[Audio, asyncio.Task[EncodedClip]] = OrderedDict()

    async def get(self, audio: Audio) -> EncodedClip:
        """The clip, ready to be sent. Raises AudioError."""
        task = self._tasks.get(audio)
        if task is None:
            task = self._tasks[audio] = asyncio.create_task(asyncio.to_thread(self._encoded, audio))
            while len(self._tasks) > KEPT_CLIPS:
                self._tasks.popitem(last=False)
        return await task

    def _encoded(self, audio: Audio) -> EncodedClip:
        return encode(audio.samples(self._rate), self._rate, self._kind)
