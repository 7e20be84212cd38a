"""Measures the samples of an audio file, which it opens through the same door as a run does."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from marathon_eval.api.decoding.promise import HOLDS_NONE, NOT_FINITE
from marathon_eval.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from marathon_eval.api.decoding.sound_file import SoundFile

#: Amplitude below which a sample counts as digital silence: -80 dB of full scale.
SILENCE = 1e-4
#: Amplitude from which a sample counts as full scale; it includes the last step of 16 bits, where clipped waves stay.
FULL_SCALE = 0.9999
#: The rate that most models hear, in Hz, and the peak below which no resampling to it exceeds full scale.
MODEL_RATE, NEAR_FULL_SCALE = 16000, 0.7
_SUFFIXES = {
    "WAV": {".wav"},
    "WAVEX": {".wav"},
    "RF64": {".wav"},
    "FLAC": {".flac"},
    "OGG": {".ogg", ".oga", ".opus"},
}
_SUFFIXES |= {"MP3": {".mp3", ".mp2", ".mpga"}, "AU": {".au", ".snd"}, "AIFF": {".aiff", ".aif", ".aifc"}}
_SUFFIXES |= {"MP4": {".m4a", ".mp4", ".m4b", ".mov", ".3gp", ".m4v"}, "MATROSKA": {".webm", ".mka", ".mkv"}}
_SUFFIXES |= {"ASF": {".wma", ".asf", ".wmv"}, "AMR": {".amr", ".awb"}, "ADTS": {".aac"}}


@dataclass(frozen=True)
class DecodedFile:
    """Holds the measurements of one audio file; `error` says why there are none.

    `decoded` counts the decoded frames; it is None if only the header was read.
    `sha256` is the hash of the decoded samples, not of the file: the same hash as in `Audio.facts`.
    """

    path: Path
    size: int = 0
    error: str | None = None
    rate: int = 0
    channels: int = 0
    frames: int = 0
    container: str = ""
    decoded: int | None = None
    cut_short: str | None = None
    note: str | None = None
    sha256: str | None = None
    peak: float = 0.0
    mean: float = 0.0
    clipped: float = 0.0
    finite: bool = True
    silence_seconds: float = 0.0
    mono_share: float = 1.0
    resampled_clipped: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration by the header."""
        return self.frames / self.rate if self.rate else 0.0

    @property
    def suffix_fits(self) -> bool:
        """Whether the file name's suffix belongs to the container format; unknown formats accept every suffix."""
        return self.path.suffix.lower() in _SUFFIXES.get(self.container, {self.path.suffix.lower()})


def read_header(path: Path) -> DecodedFile:
    """Read the header and the structure, without decoding; a file whose length no header states is decoded once."""
    from marathon_eval.api.decoding.sound_file import opened_sound

    try:
        size = path.stat().st_size
    except OSError as error:
        return DecodedFile(path, error=f"cannot read ({error.strerror})")
    if not size:
        return DecodedFile(path, error="is an empty file")
    try:
        with opened_sound(path) as sound:
            if sound.frames is None and sound.fault is None:
                return replace(hear(path), decoded=None)
            return _header_of(path, size, sound)
    except AudioError as error:
        return _unopened(path, size, error)


def _unopened(path: Path, size: int, error: AudioError) -> DecodedFile:
    return DecodedFile(path, size, None if str(error) == HOLDS_NONE else str(error))


def _header_of(path: Path, size: int, sound: SoundFile) -> DecodedFile:
    return DecodedFile(
        path,
        size,
        None,
        sound.rate,
        sound.channels,
        sound.frames or 0,
        sound.container,
        cut_short=sound.fault,
        note=sound.note,
    )


def hear(path: Path) -> DecodedFile:
    """Decode the whole file once and return its measurements."""
    from marathon_eval.api.decoding.sound_file import opened_sound

    try:
        size = path.stat().st_size
        with opened_sound(path) as sound:
            return _measured(_header_of(path, size, sound), sound)
    except OSError as error:
        return DecodedFile(path, error=f"cannot read ({error.strerror})")
    except AudioError as error:
        return _unopened(path, size, error) if size else DecodedFile(path, error="is an empty file")


def _measured(header: DecodedFile, sound: SoundFile) -> DecodedFile:
    measures = _Measures(sound.rate, sound.channels)
    damage, finite = sound.fault, True
    try:
        # what is there of a damaged file is measured too: a user may want to know what it was
        for block in sound.blocks(0, None):
            measures.add(block)
    except AudioError as error:
        finite = str(error) != NOT_FINITE
        damage = damage or (str(error) if finite else None)
    frames = sound.frames if sound.frames is not None else measures.frames
    return replace(header, frames=frames, cut_short=damage, **{**measures.results(), "finite": finite})


class _Measures:
    """Accumulates the measurements over the blocks of one file."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate = rate
        self.digest = hashlib.sha256(f"{rate}:{channels}:".encode())
        self.frames = self.clipped = self.longest_silence = self._silence = 0
        self.peak = self.sum = self._mono_energy = self._energy = 0.0
        self._above = 0
        self.finite = True

    def add(self, block: NDArray[np.float32]) -> None:
        import numpy as np

        self.digest.update(block.tobytes())
        loud = np.abs(block).max(axis=1)
        self.frames += len(block)
        self.finite = self.finite and bool(np.isfinite(loud).all())
        self.clipped += int((loud >= FULL_SCALE).sum())
        self.peak = max(self.peak, float(np.nanmax(loud)))
        self.sum += float(np.nansum(block, dtype=np.float64)) / block.shape[1]
        self._add_silence(loud > SILENCE)
        mono = block.mean(axis=1)
        if block.shape[1] > 1 and self.finite:
            self._energy += float(np.square(block, dtype=np.float64).sum()) / block.shape[1]
            self._mono_energy += float(np.square(mono, dtype=np.float64).sum())
        if self.rate != MODEL_RATE and self.finite and float(np.abs(mono).max()) > NEAR_FULL_SCALE:
            import soxr

            # each block for itself: only loud ones matter, and their edges are a few samples
            self._above += int((np.abs(soxr.resample(mono, self.rate, MODEL_RATE)) > 1.0).sum())

    def _add_silence(self, audible: NDArray[np.bool_]) -> None:
        """Update the longest run of silent frames; a run may cross blocks."""
        import numpy as np

        places = np.flatnonzero(audible)
        if not len(places):
            self._silence += len(audible)
        else:
            inner = int(np.diff(places).max(initial=1)) - 1
            self.longest_silence = max(self.longest_silence, self._silence + int(places[0]), inner)
            self._silence = len(audible) - 1 - int(places[-1])
        self.longest_silence = max(self.longest_silence, self._silence)

    def results(self) -> dict[str, Any]:
        return {
            "decoded": self.frames,
            "sha256": self.digest.hexdigest(),
            "peak": self.peak if math.isfinite(self.peak) else 0.0,
            "mean": self.sum / max(1, self.frames),
            "clipped": self.clipped / max(1, self.frames),
            "finite": self.finite,
            "silence_seconds": self.longest_silence / self.rate,
            "mono_share": self._mono_energy / self._energy if self._energy else 1.0,
            "resampled_clipped": self._above * self.rate / MODEL_RATE / max(1, self.frames),
        }
