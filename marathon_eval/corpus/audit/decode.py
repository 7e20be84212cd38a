"""Reads the header of an audio file, decodes the file block by block, and measures its samples."""

from __future__ import annotations

import hashlib
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

DECODE_BLOCK_FRAMES = 1 << 18
#: Amplitude below which a sample counts as digital silence: -80 dB of full scale.
SILENCE = 1e-4
#: Amplitude from which a sample counts as full scale; it includes the last step of 16 bits, where clipped waves stay.
FULL_SCALE = 0.9999
_UNKNOWN_LENGTH = (0xFFFFFFFF, 0x7FFFFFFF, 0)  # programs that stream write these instead of a length
_SUFFIXES = {
    "WAV": {".wav"},
    "WAVEX": {".wav"},
    "RF64": {".wav"},
    "FLAC": {".flac"},
    "OGG": {".ogg", ".oga", ".opus"},
}
_SUFFIXES |= {"MP3": {".mp3"}, "AU": {".au"}, "AIFF": {".aiff", ".aif"}}


@dataclass(frozen=True)
class DecodedFile:
    """The measurements of one audio file; `error` says why there are none.

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
    sha256: str | None = None
    peak: float = 0.0
    mean: float = 0.0
    clipped: float = 0.0
    finite: bool = True
    silence_seconds: float = 0.0

    @property
    def seconds(self) -> float:
        """Duration by the header."""
        return self.frames / self.rate if self.rate else 0.0

    @property
    def suffix_fits(self) -> bool:
        """Whether the file name's suffix belongs to the container format; unknown formats accept every suffix."""
        return self.path.suffix.lower() in _SUFFIXES.get(self.container, {self.path.suffix.lower()})


def read_header(path: Path) -> DecodedFile:
    """Read the header only, without decoding."""
    import soundfile

    try:
        size = path.stat().st_size
    except OSError as error:
        return DecodedFile(path, error=f"cannot read ({error.strerror})")
    if not size:
        return DecodedFile(path, error="is an empty file")
    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        return DecodedFile(path, size, error=f"not readable as audio ({error.error_string})")
    return DecodedFile(path, size, None, info.samplerate, info.channels, info.frames, info.format)


def hear(path: Path) -> DecodedFile:
    """Decode the whole file once and return its measurements."""
    header = read_header(path)
    if header.error is not None or not header.frames:
        return header
    measured = _Measures(header.rate, header.channels)
    damage = None
    for item in _decoded(path):
        if isinstance(item, str):
            damage = item
        else:
            measured.add(item)
    return DecodedFile(
        path,
        header.size,
        None,
        header.rate,
        header.channels,
        header.frames,
        header.container,
        cut_short=damage or _shortened(header, measured.frames),
        **measured.results(),
    )


def _decoded(path: Path) -> Iterator[NDArray[np.float32] | str]:
    """Yield blocks [frames, channels]; if decoding fails, the last item is a text that says why."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            while len(block := file.read(DECODE_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield block
    except soundfile.LibsndfileError as error:
        yield f"decoding fails ({error.error_string})"


class _Measures:
    """Accumulates the measurements over the blocks of one file."""

    def __init__(self, rate: int, channels: int) -> None:
        self.rate = rate
        self.digest = hashlib.sha256(f"{rate}:{channels}:".encode())
        self.frames = self.clipped = self.longest_silence = self._silence = 0
        self.peak = self.sum = 0.0
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
        }


def _shortened(header: DecodedFile, decoded: int) -> str | None:
    """Return how a file is truncated, or None. libsndfile itself accepts a cut WAV or Ogg without an error."""
    if decoded < header.frames:
        return f"ends {header.frames - decoded} frames before its header says"
    if header.container in ("WAV", "WAVEX"):
        return _cut_riff(header.path, header.size)
    return _cut_ogg(header.path, header.size) if header.container == "OGG" else None


def _cut_riff(path: Path, size: int) -> str | None:
    """Detect a WAV whose data chunk claims more bytes than the file has.

    RIFF chunks are little-endian (RIFX: big-endian) and padded to an even length.
    """
    with path.open("rb") as file:
        order = ">" if file.read(4) == b"RIFX" else "<"
        at = 12
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack(f"{order}4sI", file.read(8))
            if name == b"data":
                missing = at + 8 + length - size
                lost = missing > 0 and length not in _UNKNOWN_LENGTH
                return f"{missing} of its {length} bytes of audio are missing" if lost else None
            at += 8 + length + length % 2
    return None


def _cut_ogg(path: Path, size: int) -> str | None:
    """Detect an Ogg stream whose last page lacks the end-of-stream flag (RFC 3533)."""
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16)))
        tail = file.read()
    last = tail.rfind(b"OggS")
    if last >= 0 and last + 5 < len(tail) and tail[last + 5] & 4:
        return None
    return "the stream lacks its last page"
