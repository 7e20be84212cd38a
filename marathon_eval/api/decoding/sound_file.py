"""Opens an audio file with the decoder that reads the whole of it: libsndfile, or FFmpeg's libraries."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self

from marathon_eval.api.decoding.boxes import examine_boxes
from marathon_eval.api.decoding.chunks import examine_chunks
from marathon_eval.api.decoding.flac import examine_flac
from marathon_eval.api.decoding.mpeg import examine_mpeg, tag_bytes
from marathon_eval.api.decoding.ogg import examine_ogg
from marathon_eval.api.decoding.promise import HOLDS_NONE, NOT_FINITE, Promise
from marathon_eval.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

BLOCK_SAMPLES = 1 << 18
_WITH_NAN = ("FLOAT", "DOUBLE")
#: How far libsndfile's count may differ from the counted MPEG frames: an encoder's delay and padding are left out.
_MPEG_DELAY = 4096


class SoundFile(Protocol):
    """Reads an open audio file.

    `frames` is the number of sample frames, None where only decoding can tell. `fault` says why the file is not
    whole; it is known before anything is decoded. `note` says what the file holds that is not decoded.
    """

    rate: int
    channels: int
    frames: int | None
    container: str
    fault: str | None
    note: str | None

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield float32 blocks [frames, channels] from frame `first` up to `last`, or to the end.

        Memory is bounded by one block. Raises AudioError for damage, and for an end before `last`.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(self, *error: object) -> None: ...


def opened_sound(path: str | os.PathLike[str]) -> SoundFile:
    """Open an audio file. Raises AudioError, whose text does not name the path, if it is no audio or holds none."""
    if not Path(path).is_file():
        raise AudioError("no such audio file")
    promise = examined(path)
    sound = _by_libsndfile(path, promise) if promise.libsndfile else None
    if sound is None:
        from marathon_eval.api.decoding.ffmpeg import FFmpegFile

        sound = FFmpegFile(path, promise)
    return sound


def examined(path: str | os.PathLike[str]) -> Promise:
    """Return what the structure of a file promises, by its first bytes and not by its name. Raises AudioError."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if not size:
                raise AudioError("not readable as audio (the file is empty)")
            return _promise(file, size)
    except OSError as error:
        raise AudioError(f"not readable as audio ({error.strerror})") from None


def _promise(file: BinaryIO, size: int) -> Promise:
    head = file.read(64)
    start = tag_bytes(head) if head[:3] == b"ID3" else 0
    if start < size:
        file.seek(start)
        head = file.read(64) if start else head
    if head[:4] == b"fLaC":
        return examine_flac(file, size, start)
    if head[:4] == b"OggS":
        return examine_ogg(file, size)
    known = examine_chunks(file, size, head) or examine_boxes(file, size, head, start)
    return known or examine_mpeg(file, size) or Promise("")


def _by_libsndfile(path: str | os.PathLike[str], promise: Promise) -> SoundFile | None:
    """Open with libsndfile; None if it can't, or if its length differs from the structure's."""
    import soundfile

    try:
        file = soundfile.SoundFile(os.fspath(path))
    except soundfile.LibsndfileError:
        return None
    counted = promise.frames
    if promise.container == "WAV" and str(file.subtype).startswith("MPEG"):
        file.close()  # its length in a WAV is a guess
        return None
    mpeg = counted is not None and promise.container == "MP3" and not promise.fault
    if mpeg and not (counted or 0) - _MPEG_DELAY <= file.frames <= (counted or 0):
        file.close()
        return None
    if file.frames <= 0:
        file.close()
        raise AudioError(HOLDS_NONE)
    return LibsndfileFile(file, promise)


class LibsndfileFile:
    """Reads a file by libsndfile (https://libsndfile.github.io/libsndfile/)."""

    def __init__(self, file: Any, promise: Promise) -> None:
        self._file = file
        self.rate, self.channels = int(file.samplerate), int(file.channels)
        self.frames: int | None = int(file.frames)
        self.container, self.fault = str(file.format), promise.fault
        self.note: str | None = None
        self._at = 0
        # soundfile seeks behind every block that it reads; libmpg123 then decodes frames without the bits that stand in
        # those before them, and prints errors about a sound file
        file.seekable = lambda: False

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield the stretch's blocks, as `SoundFile` says."""
        import numpy as np
        import soundfile

        left = (self.frames or 0 if last is None else last) - first
        # the whole block is allocated before it is read, and a header may claim a thousand channels
        most = max(1, BLOCK_SAMPLES // self.channels)
        try:
            self._go_to(first, most)
            while left > 0:
                block = self._read(min(left, most))
                if not len(block):
                    raise AudioError(f"ends {left} frames before its header says")
                left -= len(block)
                if self._file.subtype in _WITH_NAN and not np.isfinite(block).all():
                    raise AudioError(NOT_FINITE)
                yield block
        except soundfile.LibsndfileError as error:
            raise AudioError(f"damaged ({error.error_string})") from None

    def _go_to(self, first: int, most: int) -> None:
        """Go to a frame; of MP3 what stands before it is decoded and dropped."""
        self._at = self._file.seek(0 if self.container == "MP3" else first)
        while self._at < first and len(self._read(min(first - self._at, most))):
            pass

    def _read(self, frames: int) -> NDArray[np.float32]:
        block: NDArray[np.float32] = self._file.read(frames, dtype="float32", always_2d=True)
        self._at += len(block)
        return block

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()
