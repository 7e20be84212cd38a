"""Decodes audio with FFmpeg's libraries through PyAV (https://pyav.basswood-io.com), packet by packet."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Self, cast

from marathon_eval.api.decoding.promise import HOLDS_NONE, NOT_FINITE, Promise
from marathon_eval.errors import AudioError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

#: Formats that FFmpeg may recognise. Playlists (hls, concat, dash) are left out: they open other files and addresses.
DEMUXERS = (
    "mov,mp4,m4a,3gp,matroska,webm,asf,amr,amrnb,amrwb,aac,loas,mp3,ogg,flac,wav,w64,aiff,au,caf,avi,flv,mpegts,mpeg,"
    "ac3,eac3,dts,ape,wv,tta,mpc,mpc8,tak,dsf,gsm,voc,rm,adx,sox,nut,latm,ircam,nistsphere,g722,oma,bit,xwma"
)
#: Containers whose duration is a promise; others state none, or one that is guessed from the bit rate.
_WITH_DURATION = {"mov", "matroska", "asf"}
_SKIP_MANUAL = 1 << 29  # AV_CODEC_FLAG2_SKIP_MANUAL: the decoder leaves its delay in
BLOCK_FRAMES = 1 << 16
#: How far a duration in a header may differ from the decoded one: headers round, codecs pad their last frame.
DURATION_TOLERANCE = 0.1
_SCALES = {"u8": 1 / 128, "s16": 1 / 32768, "s32": 1 / 2147483648, "s64": 1 / 9223372036854775808}


class FFmpegFile:
    """Reads a file by FFmpeg: one after another the parts that were joined into it."""

    def __init__(self, path: str | os.PathLike[str], promise: Promise) -> None:
        self._path = os.fspath(path)
        self._parts = promise.parts or ((0, os.path.getsize(path)),)
        self.fault = promise.fault
        self.note: str | None = None
        self.frames: int | None = None
        self.container = promise.container
        self.rate = self.channels = 1
        if promise.fault is not None:
            # what is cut can often not be opened, and its fault is the better reason
            return
        with _Part(self._path, *self._parts[0]) as part:
            self.container = promise.container or part.format.upper()
            self.note = part.note
            first = next(iter(part.arrays()), None)
            self.rate, self.channels = part.rate, part.channels
            if first is None:
                raise AudioError(HOLDS_NONE)
            if len(self._parts) == 1:
                self.frames = part.promised_frames

    def blocks(self, first: int, last: int | None) -> Iterator[NDArray[np.float32]]:
        """Yield the stretch's blocks, as `SoundFile` says. What comes before the stretch is decoded and dropped."""
        import numpy as np

        at, held, frames = 0, [], 0
        for array in self._arrays():
            start, stop = max(first - at, 0), len(array) if last is None else min(len(array), last - at)
            at += len(array)
            if start < stop:
                held.append(array[start:stop])
                frames += stop - start
            if frames >= BLOCK_FRAMES:
                yield np.concatenate(held)
                held, frames = [], 0
            if last is not None and at >= last:
                break
        if last is not None and at < last:
            raise AudioError(f"ends {last - at} frames before its header says")
        if held:
            yield np.concatenate(held)

    def _arrays(self) -> Iterator[NDArray[np.float32]]:
        for place, (start, stop) in enumerate(self._parts):
            with _Part(self._path, start, stop) as part:
                for array in part.arrays():
                    if (part.rate, part.channels) != (self.rate, self.channels):
                        raise AudioError(
                            f"part {place + 1} of {len(self._parts)} has {part.rate} Hz and {part.channels} channels,"
                            f" the first {self.rate} Hz and {self.channels}"
                        )
                    yield array

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        return None


class _Part:
    """One container inside the file, decoded from its beginning."""

    def __init__(self, path: str, start: int, stop: int) -> None:
        import av

        # a file object instead of a path: FFmpeg can't take the name for an address
        self._bytes = _Window(path, start, stop)
        try:
            self._container: Any = av.open(
                self._bytes,
                metadata_errors="ignore",
                options={"format_whitelist": DEMUXERS, "protocol_whitelist": ""},
            )
            self._stream = cast("Any", self._container.streams.best("audio"))
        except (av.FFmpegError, ValueError, LookupError) as error:
            self._bytes.close()
            raise AudioError(f"not readable as audio ({_reason(error)})") from None
        if self._stream is None or self._stream.codec_context is None:
            self.__exit__()
            raise AudioError("not readable as audio (it holds no audio track whose codec is known)")
        self._stream.codec_context.thread_count = 1
        self.format = self._container.format.name.partition(",")[0]
        self.rate, self.channels = int(self._stream.rate or 0), int(self._stream.channels or 0)
        self._first: tuple[int, int] | None = None
        self._read = self._damaged = 0
        self._drop = self._wma_delay() if self._stream.codec_context.name.startswith("wmav") else 0

    @property
    def note(self) -> str | None:
        """Say which of several audio tracks is decoded."""
        tracks = self._container.streams.audio
        if len(tracks) < 2:
            return None
        return f"{len(tracks)} audio tracks, of which only number {tracks.index(self._stream) + 1} is decoded"

    @property
    def promised_seconds(self) -> float | None:
        """Duration by the container, None where it states none that can be held against the audio track."""
        import av

        if self.format not in _WITH_DURATION:
            return None
        if self._stream.duration is not None:
            return float(self._stream.duration * self._stream.time_base)
        alone = all(stream.type == "audio" for stream in self._container.streams)
        return self._container.duration / av.time_base if alone and self._container.duration else None

    @property
    def promised_frames(self) -> int | None:
        """Frames by the container where it counts them exactly, as MP4 does."""
        seconds = self.promised_seconds
        exact = self.format == "mov" or self._drop
        return round(seconds * self.rate) if seconds is not None and exact else None

    def _wma_delay(self) -> int:
        """Frames before the sound in WMA: one or two blocks, which the packets and the header's duration tell.

        FFmpeg always drops two, as Microsoft's encoder needs; its own encoder makes one.
        """
        import av

        try:
            times = [
                packet.pts + packet.duration
                for packet in self._container.demux(self._stream)
                if packet.pts is not None
            ]
            self._container.seek(0)
        except av.FFmpegError as error:
            self.__exit__()
            raise AudioError(f"damaged ({_reason(error)})") from None
        block = self._block_frames
        promised = self.promised_seconds
        if not times or promised is None:
            return 2 * block
        self._stream.codec_context.flags2 = int(self._stream.codec_context.flags2) | _SKIP_MANUAL
        held = float(max(times) * self._stream.time_base) * self.rate / block + 1
        return min(2, max(1, round(held - promised * self.rate / block))) * block

    @property
    def _block_frames(self) -> int:
        """Frames of a block of WMA 1 and 2 (FFmpeg's ff_wma_get_frame_len_bits)."""
        if self.rate <= 16000:
            return 512
        return (
            1024
            if self.rate <= 22050 or (self.rate <= 32000 and self._stream.codec_context.name == "wmav1")
            else 2048
        )

    def arrays(self) -> Iterator[NDArray[np.float32]]:
        """Yield float32 arrays [frames, channels]. Raises AudioError for damage and for a broken promise."""
        frames, most = 0, self.promised_frames
        for array in self._without_delay():
            # MP4 says where the audio ends; the codec's last frame is padded
            if (
                most is not None
                and 0 < frames + len(array) - most < len(array) + DURATION_TOLERANCE * self.rate
            ):
                array = array[: max(0, most - frames)]
            frames += len(array)
            if len(array):
                yield array
        if self._damaged:
            raise AudioError(f"damaged ({self._damaged} of {self._read} packets can't be decoded)")
        self._hold_promise(frames / max(1, self.rate))

    def _hold_promise(self, seconds: float) -> None:
        promised = self.promised_seconds
        if promised is None or abs(promised - seconds) <= DURATION_TOLERANCE:
            return
        raise AudioError(f"holds {seconds:.3f} s of audio, its header says {promised:.3f} s")

    def _without_delay(self) -> Iterator[NDArray[np.float32]]:
        left = self._drop
        for array in self._decoded():
            if left < len(array):
                yield array[left:]
            left = max(0, left - len(array))

    def _decoded(self) -> Iterator[NDArray[np.float32]]:
        import av

        try:
            for packet in self._container.demux(self._stream):
                self._read += packet.size > 0
                self._damaged += packet.is_corrupt
                try:
                    frames = packet.decode()
                except av.FFmpegError:
                    self._damaged += not packet.is_corrupt
                    continue
                for frame in frames:
                    self.rate, self.channels = self._same(frame)
                    yield _as_float32(frame)
        except av.FFmpegError as error:
            raise AudioError(f"damaged ({_reason(error)})") from None

    def _same(self, frame: Any) -> tuple[int, int]:
        """Rate and channels of a frame; the first one decides, because headers of AAC state half the rate of its SBR."""
        found = int(frame.sample_rate), len(frame.layout.channels)
        if self._first is not None and self._first != found:
            raise AudioError(
                f"changes from {self._first[0]} Hz, {self._first[1]} channels to {found[0]} Hz, {found[1]}"
            )
        self._first = found
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._container.close()
        self._bytes.close()


def _as_float32(frame: Any) -> NDArray[np.float32]:
    """Samples of a frame as float32 [frames, channels] in -1 to 1. Raises AudioError for samples that are no numbers."""
    import numpy as np

    kind = frame.format.name.removesuffix("p")
    array = frame.to_ndarray()
    array = array.T if frame.format.is_planar else array.reshape(-1, len(frame.layout.channels))
    if kind in _SCALES:
        centred = array.astype(np.float64 if kind in ("s32", "s64") else np.float32) - (
            128 if kind == "u8" else 0
        )
        return np.ascontiguousarray(centred * _SCALES[kind], dtype=np.float32)
    if not np.isfinite(array).all():
        raise AudioError(NOT_FINITE)
    return np.ascontiguousarray(array, dtype=np.float32)


def _reason(error: Exception) -> str:
    return str(getattr(error, "strerror", None) or error).splitlines()[0]


class _Window(io.RawIOBase):
    """A range of a file's bytes as a file of its own."""

    def __init__(self, path: str, start: int, stop: int) -> None:
        self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - close() closes it
        self._start, self._length, self._at = start, stop - start, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        # a damaged header can name any place; behind the end there is nothing to read
        self._at = min(max(0, base + offset), self._length)
        return self._at

    def read(self, size: int = -1) -> bytes:
        left = max(0, self._length - self._at)
        self._file.seek(self._start + self._at)
        content = self._file.read(left if size < 0 else min(size, left))
        self._at += len(content)
        return content

    def close(self) -> None:
        self._file.close()
        super().close()
