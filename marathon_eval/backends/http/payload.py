"""Decodes, mixes down, resamples and encodes audio for sending, in threads outside the event loop."""

from __future__ import annotations

import asyncio
import io
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from marathon_eval.api.audio import Audio
from marathon_eval.api.model import Request
from marathon_eval.errors import RowError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Format = Literal["wav", "mp3"]
_SOUNDFILE: dict[Format, dict[str, Any]] = {
    "wav": {"format": "WAV", "subtype": "PCM_16"},
    "mp3": {"format": "MP3", "subtype": "MPEG_LAYER_III"},
}
#: Encoded clips kept in memory (300 s: 9.6 MB). Questions on one clip follow each other, so it is encoded once.
KEPT_CLIPS = 4


@dataclass(frozen=True)
class EncodedClip:
    """Holds one encoded clip and its length in seconds."""

    data: bytes
    format: Format
    seconds: float


def encode(samples: NDArray[np.float32], rate: int, kind: Format) -> EncodedClip:
    """Encode mono samples [n] at `rate` Hz as a 16-bit WAV or an MP3."""
    import soundfile

    buffer = io.BytesIO()
    with soundfile.SoundFile(buffer, "w", rate, 1, **_SOUNDFILE[kind]) as file:
        # written in pieces, because libsndfile's lossy encoders overflow their stack on minutes of audio at once
        for start in range(0, len(samples), rate):
            file.write(samples[start : start + rate])
    return EncodedClip(buffer.getvalue(), kind, len(samples) / rate)


class EncodedClips:
    """Encodes clips on demand; a clip that several requests need at the same time is encoded once."""

    def __init__(self, rate: int, kind: Format) -> None:
        self._rate, self._kind = rate, kind
        self._tasks: OrderedDict[Audio, asyncio.Task[EncodedClip]] = OrderedDict()

    async def get(self, audio: Audio) -> EncodedClip:
        """Return the encoded clip. Raises AudioError."""
        task = self._tasks.get(audio)
        if task is None:
            task = self._tasks[audio] = asyncio.create_task(asyncio.to_thread(self._encoded, audio))
            while len(self._tasks) > KEPT_CLIPS:
                self._tasks.popitem(last=False)
        return await task

    def _encoded(self, audio: Audio) -> EncodedClip:
        return encode(audio.samples(self._rate), self._rate, self._kind)


def interleaved(request: Request, audio: Sequence[Any]) -> list[Any]:
    """Return the prompt's texts with each clip's part where the prompt places it.

    Raises RowError if it has places for more or fewer clips.
    """
    texts = request.parts()
    if len(texts) != len(audio) + 1:
        raise RowError(f"the prompt has places for {len(texts) - 1} clips, and there are {len(audio)}")
    content = [texts[0]]
    for part, text in zip(audio, texts[1:], strict=True):
        content += [part, text]
    return [part for part in content if not isinstance(part, str) or part.strip()]
