"""Refers to a section of an audio file, which is decoded when it is needed and not kept in memory."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from marathon_eval.api.file_identity import FileIdentity, file_identity
from marathon_eval.errors import AudioError, MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_SAMPLES = 1 << 18
#: Longer files are refused: a header may claim any length, and no dataset of the field has longer recordings.
MAX_SECONDS = 4 * 3600.0
#: Limit for frames times channels: four hours of stereo at 48 kHz. One megabyte of FLAC can hold four hours of
#: silence at 655,350 Hz.
MAX_SAMPLES = 4 * 3600 * 48_000 * 2
_WITH_NAN = ("FLOAT", "DOUBLE")


class AudioFacts(NamedTuple):
    """Holds the content hash and the length in seconds of a decoded section."""

    sha256: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Audio:
    """Names a section of an audio file; `start` and `stop` in seconds, `stop=None` for the end of the file.

    `transform` changes the decoded sound, not the file: see transforms.py.
    """

    path: str
    start: float = 0.0
    stop: float | None = None
    transform: str = ""

    @property
    def stretch(self) -> str:
        """Section and transform as text, e.g. `0.0:None`; with the path, size and time of the file it is unique."""
        text = f"{self.start}:{self.stop}"
        if not self.transform:
            return text
        from marathon_eval.api.transforms import VERSION, canonical_steps

        return f"{text}|{VERSION}|{canonical_steps(self.transform)}"

    @property
    def seconds(self) -> float:
        """Length in seconds, read from the header without decoding. Raises AudioError."""
        with _opened(self) as file:
            first, last = _frames(self, file)
            return self._seconds_after((last - first) / float(file.samplerate))

    def facts(self) -> AudioFacts:
        """Decode the section at its native rate, block by block, and return its hash and length. Raises AudioError.

        The hash covers rate, channel count and float32 samples, not the container: the same sound as WAV and as
        FLAC has one hash, and edited tags in a header do not change it. With a transform, the hash covers the
        original sound and the text of the transform.
        """
        with _opened(self) as file:
            digest = hashlib.sha256(f"{file.samplerate}:{file.channels}:".encode())
            frames = 0
            for block in _blocks(self, file):
                digest.update(block.tobytes())
                frames += len(block)
            seconds = self._seconds_after(frames / float(file.samplerate))
        if self.transform:
            digest.update(self.stretch.partition("|")[2].encode())
        return AudioFacts(digest.hexdigest(), seconds)

    def samples(self, rate: int) -> NDArray[np.float32]:
        """Return mono float32 samples [n] at `rate` Hz: channels averaged, resampled by soxr. Raises AudioError."""
        import numpy as np

        with _opened(self) as file:
            mono = np.concatenate([block.mean(axis=1) for block in _blocks(self, file)])
            native = int(file.samplerate)
        if self.transform:
            mono = self._changed(mono, native)
        if native != rate:
            import soxr

            mono = soxr.resample(mono, native, rate)
        return np.ascontiguousarray(mono, dtype=np.float32)

    def _seconds_after(self, seconds: float) -> float:
        if not self.transform:
            return seconds
        from marathon_eval.api.transforms import seconds_after

        return seconds_after(self.transform, seconds)

    def _changed(self, mono: NDArray[np.float32], rate: int) -> NDArray[np.float32]:
        from marathon_eval.api.transforms import transformed

        try:
            return transformed(self.transform, mono, rate)
        except MarathonError as error:
            raise AudioError(f"{self.path}: {error}") from None


class MemoKey(NamedTuple):
    """Holds the key of a section's facts in the cache, its key in earlier versions, and the file's identity."""

    key: str
    earlier: str
    identity: FileIdentity


#: `audio/PATH|SIZE|TIMES, INODE AND BLOCKS|SECTION`; a path may contain a bar itself, and so may a section.
_MEMO_KEY = re.compile(r"audio/(?P<path>.*)\|\d+\|-?\d+(\.\d+\.-?\d+\.\w+)?\|[-\d.einfa]+:.*", re.DOTALL)


def memo_keys(audios: Iterable[Audio]) -> tuple[dict[Audio, MemoKey], dict[Audio, str]]:
    """Return the cache keys of each section's facts, and an error for each section whose file does not exist."""
    keys: dict[Audio, MemoKey] = {}
    errors: dict[Audio, str] = {}
    for audio in dict.fromkeys(audios):
        try:
            identity = file_identity(audio.path)
        except (OSError, ValueError):
            errors[audio] = f"{audio.path}: no such audio file"
            continue
        place = "audio/" + os.path.abspath(audio.path).encode(errors="backslashreplace").decode()
        keys[audio] = MemoKey(
            f"{place}|{identity.text}|{audio.stretch}",
            f"{place}|{identity.by_time}|{audio.stretch}",
            identity,
        )
    return keys, errors


def path_of_memo_key(key: str) -> str:
    """Return the audio file that a key of the memo stands for; the key itself, without its prefix, if it is none."""
    match = _MEMO_KEY.fullmatch(key)
    return match["path"] if match else key.removeprefix("audio/")


def _opened(audio: Audio) -> Any:
    import soundfile

    if not Path(audio.path).is_file():
        raise AudioError(f"{audio.path}: no such audio file")
    try:
        file = soundfile.SoundFile(audio.path)
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{audio.path}: not readable as audio ({error.error_string})") from None
    if file.frames <= 0:
        file.close()
        raise AudioError(f"{audio.path}: holds no audio")
    return file


def _frames(audio: Audio, file: Any) -> tuple[int, int]:
    """Return the first frame of the section and the frame after its last."""
    rate, total = int(file.samplerate), int(file.frames)
    # a row may contain second 1e308 or NaN, which can't be rounded to a frame number
    if not all(math.isfinite(edge * rate) for edge in (audio.start, audio.stop or 0.0)):
        raise AudioError(f"{audio.path}: stretch {audio.start}-{audio.stop} s is not inside it")
    if total / rate > MAX_SECONDS:
        raise AudioError(f"{audio.path}: {total / rate:.0f} s is over the limit of {MAX_SECONDS:.0f} s")
    if total * int(file.channels) > MAX_SAMPLES:
        raise AudioError(
            f"{audio.path}: {total} frames of {file.channels} channels are over the limit of {MAX_SAMPLES} samples"
        )
    first = round(audio.start * rate)
    last = total if audio.stop is None else round(audio.stop * rate)
    if not 0 <= first < last <= total:
        raise AudioError(
            f"{audio.path}: stretch {audio.start}-{audio.stop} s is not inside its {total / rate:.3f} s"
        )
    return first, last


def _blocks(audio: Audio, file: Any) -> Iterator[NDArray[np.float32]]:
    """Yield float32 blocks [frames, channels] of the section.

    Raises AudioError for fewer frames than the header says.
    """
    import numpy as np
    import soundfile

    first, last = _frames(audio, file)
    left = last - first
    # soundfile allocates a block before it reads it, and a header may claim a thousand channels
    most = max(1, BLOCK_SAMPLES // int(file.channels))
    try:
        file.seek(first)
        while left > 0:
            block = file.read(min(left, most), dtype="float32", always_2d=True)
            if not len(block):
                raise AudioError(f"{audio.path}: ends {left} frames before its header says")
            left -= len(block)
            if file.subtype in _WITH_NAN and not np.isfinite(block).all():
                raise AudioError(f"{audio.path}: damaged (it holds samples that are not numbers)")
            yield block
    except soundfile.LibsndfileError as error:
        raise AudioError(f"{audio.path}: damaged ({error.error_string})") from None
