"""Refers to a section of an audio file, which is decoded when it is needed and not kept in memory."""

from __future__ import annotations

import hashlib
import math
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from marathon_eval.api.file_identity import FileIdentity, file_identity
from marathon_eval.errors import AudioError, MarathonError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.decoding.sound_file import SoundFile

#: Most seconds of one stretch. A header may claim any length, and a decompression bomb would decode to as much.
MAX_SECONDS = 4 * 3600.0
#: Limit for frames times channels: four hours of stereo at 48 kHz. One megabyte of FLAC can hold four hours of
#: silence at 655,350 Hz.
MAX_SAMPLES = 4 * 3600 * 48_000 * 2


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

    def __hash__(self) -> int:
        # looked up more often than requests are: the path, whose hash is remembered, and the start tell clips apart
        return hash((self.path, self.start)) if self.start else hash(self.path)

    @property
    def stretch(self) -> str:
        """Return section and transform as text, e.g. `0.0:None`; unique with the file's path, size and time."""
        text = f"{self.start}:{self.stop}"
        if not self.transform:
            return text
        from marathon_eval.api.transforms import VERSION, canonical_steps

        return f"{text}|{VERSION}|{canonical_steps(self.transform)}"

    @property
    def seconds(self) -> float:
        """Return the length in seconds, from the header where it is reliable, else by decoding. Raises AudioError."""
        with _opened(self) as sound:
            first, last = _stretch(self, sound)
            frames = sum(map(len, _blocks(self, sound))) if last is None else last - first
            return self._seconds_after(frames / sound.rate)

    def facts(self) -> AudioFacts:
        """Decode the section at its native rate, block by block, and return its hash and length. Raises AudioError.

        The hash covers rate, channel count and float32 samples, not the container: the same sound as WAV and as
        FLAC has one hash, and edited tags in a header do not change it. With a transform, the hash covers the
        original sound and the text of the transform.
        """
        with _opened(self) as sound:
            if sound.note is not None:
                print(f"marathon-eval: {self.path}: {sound.note}", file=sys.stderr)
            digest = hashlib.sha256(f"{sound.rate}:{sound.channels}:".encode())
            frames = 0
            for block in _blocks(self, sound):
                digest.update(block.tobytes())
                frames += len(block)
            seconds = self._seconds_after(frames / float(sound.rate))
        if self.transform:
            digest.update(self.stretch.partition("|")[2].encode())
        return AudioFacts(digest.hexdigest(), seconds)

    def samples(self, rate: int) -> NDArray[np.float32]:
        """Return mono float32 samples [n] at `rate` Hz: channels averaged, resampled by soxr. Raises AudioError."""
        import numpy as np

        with _opened(self) as sound:
            mono = np.concatenate([block.mean(axis=1) for block in _blocks(self, sound)])
            native = sound.rate
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
    """Holds the key of a section's facts in the cache, the section, and the file's identity."""

    key: str
    audio: Audio
    identity: FileIdentity

    @property
    def earlier(self) -> str:
        """Return the section's key in earlier versions, which knew a file by size and time only."""
        stretch = self.audio.stretch
        return f"{self.key.removesuffix(f'{self.identity.text}|{stretch}')}{self.identity.by_time}|{stretch}"


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
        keys[audio] = MemoKey(f"{place}|{identity.text}|{audio.stretch}", audio, identity)
    return keys, errors


def path_of_memo_key(key: str) -> str:
    """Return the audio file that a key of the memo stands for; the key itself, without its prefix, if it is none."""
    match = _MEMO_KEY.fullmatch(key)
    return match["path"] if match else key.removeprefix("audio/")


@contextmanager
def _opened(audio: Audio) -> Iterator[SoundFile]:
    """Open the file; every AudioError inside gets the path in front."""
    from marathon_eval.api.decoding.sound_file import opened_sound

    try:
        with opened_sound(audio.path) as sound:
            yield sound
    except AudioError as error:
        raise AudioError(f"{audio.path}: {error}") from None


def _stretch(audio: Audio, sound: SoundFile) -> tuple[int, int | None]:
    """Return first and one-past-last frame of the stretch; None: to the end of a file whose length only decoding tells."""
    if sound.fault is not None and sound.frames is None:
        raise AudioError(sound.fault)
    rate, total = sound.rate, sound.frames
    # a row may ask for second 1e308, or NaN: neither is a frame's number
    if not all(math.isfinite(edge * rate) for edge in (audio.start, audio.stop or 0.0)):
        raise AudioError(f"stretch {audio.start}-{audio.stop} s is not inside it")
    first = round(audio.start * rate)
    last = total if audio.stop is None else round(audio.stop * rate)
    if first < 0 or (last is not None and not first < last <= (last if total is None else total)):
        raise _outside(audio, total, rate)
    if last is not None:
        _hold_limits(last - first, sound)
    if sound.fault is not None:
        raise AudioError(sound.fault)
    return first, last


def _outside(audio: Audio, total: int | None, rate: int) -> AudioError:
    length = "" if total is None else f" its {total / rate:.3f} s"
    return AudioError(f"stretch {audio.start}-{audio.stop} s is not inside{length or ' it'}")


def _hold_limits(frames: int, sound: SoundFile) -> None:
    """Refuse a stretch that is too long. What is around it in the file does not count."""
    if frames / sound.rate > MAX_SECONDS:
        raise AudioError(
            f"{frames / sound.rate:.0f} s is over the limit of {MAX_SECONDS:.0f} s for one stretch (see start, stop)"
        )
    if frames * sound.channels > MAX_SAMPLES:
        raise AudioError(
            f"{frames} frames of {sound.channels} channels are over the limit of {MAX_SAMPLES} samples"
        )


def _blocks(audio: Audio, sound: SoundFile) -> Iterator[NDArray[np.float32]]:
    """Yield float32 blocks [frames, channels] of the stretch. Raises AudioError if it has fewer frames than its header says."""
    first, last = _stretch(audio, sound)
    frames = 0
    for block in sound.blocks(first, last):
        frames += len(block)
        if last is None:
            _hold_limits(frames, sound)
        yield block
    if not frames:
        raise _outside(audio, sound.frames, sound.rate)
