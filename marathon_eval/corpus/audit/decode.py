"""What one audio file really holds: its header, and what decoding it all shows. Read block by block."""

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
#: Below -80 dB of full scale nothing is heard; a stretch of it is digital silence.
SILENCE = 1e-4
#: The last step of 16 bits counts as full scale: a clipped wave stays there.
FULL_SCALE = 0.9999
_UNKNOWN_LENGTH = (0xFFFFFFFF, 0x7FFFFFFF, 0)  # written by programs that stream
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
    """One file. `error` says why nothing is known; with `decoded` None only the header was read.

    `sha256` is that of `Audio.facts`: of the decoded sound, not of the file.
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
        """By the header."""
        return self.frames / self.rate if self.rate else 0.0

    @property
    def suffix_fits(self) -> bool:
        """Whether the name says what the container is; unknown containers always fit."""
        return self.path.suffix.lower() in _SUFFIXES.get(self.container, {self.path.suffix.lower()})


def read_header(path: Path) -> DecodedFile:
    """The header alone, without decoding."""
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
    """The whole file, decoded once."""
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
    """Blocks [frames, channels]; a text instead of a block says where decoding broke."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as file:
            while len(block := file.read(DECODE_BLOCK_FRAMES, dtype="float32", always_2d=True)):
                yield block
    except soundfile.LibsndfileError as error:
        yield f"decoding breaks ({error.error_string})"


class _Measures:
    """Sums over the blocks of one file."""

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

    def _add_silence(self, heard: NDArray[np.bool_]) -> None:
        """The longest run of quiet frames, also across blocks."""
        import numpy as np

        places = np.flatnonzero(heard)
        if not len(places):
            self._silence += len(heard)
        else:
            inner = int(np.diff(places).max(initial=1)) - 1
            self.longest_silence = max(self.longest_silence, self._silence + int(places[0]), inner)
            self._silence = len(heard) - 1 - int(places[-1])
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
    """Why a file holds less than it says; libsndfile itself silently believes a WAV or Ogg that was cut."""
    if decoded < header.frames:
        return f"ends {header.frames - decoded} frames before its header says"
    if header.container in ("WAV", "WAVEX"):
        return _cut_riff(header.path, header.size)
    return _cut_ogg(header.path, header.size) if header.container == "OGG" else None


def _cut_riff(path: Path, size: int) -> str | None:
    """A WAV whose data chunk claims more bytes than the file has (RIFF: little-endian chunks, padded to even)."""
    with path.open("rb") as file:
        order = ">" if file.read(4) == b"RIFX" else "<"
        at = 12
        while at + 8 <= size:
            file.seek(at)
            name, length = struct.unpack(f"{order}4sI", file.read(8))
            if name == b"data":
                missing = at + 8 + length - size
                lost = missing > 0 and length not in _UNKNOWN_LENGTH
                return f"{missing} of its {length} bytes of sound are missing" if lost else None
            at += 8 + length + length % 2
    return None


def _cut_ogg(path: Path, size: int) -> str | None:
    """An Ogg stream whose last page does not carry the end-of-stream flag (RFC 3533)."""
    with path.open("rb") as file:
        file.seek(max(0, size - (1 << 16)))
        tail = file.read()
    last = tail.rfind(b"OggS")
    if last >= 0 and last + 5 < len(tail) and tail[last + 5] & 4:
        return None
    return "its stream has no end"
