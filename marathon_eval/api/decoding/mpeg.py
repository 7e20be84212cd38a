"""Examines MPEG audio (MP3, MP2): counts its frames, finds joined files, and holds a Xing or VBRI header against them.

Frame headers: ISO/IEC 11172-3 and 13818-3. Xing, Info and VBRI: gabriel.mp3-tech.org/mp3infotag.html and
codeproject.com/Articles/8295 (MPEG Audio Frame Header).
"""

from __future__ import annotations

import mmap
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

from marathon_eval.api.decoding.promise import Promise

_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_BITRATES[2, 3] = _BITRATES[2, 2]
_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}


class FrameHeader(NamedTuple):
    """Holds a frame's length in bytes and sample frames, its rate, and the offset of a Xing header inside it."""

    length: int
    samples: int
    rate: int
    xing_at: int


@dataclass
class Part:
    """Describes one file among those joined: its first byte, its frames, and how many its Xing header promises (0: none)."""

    start: int
    rate: int
    promised: int
    frames: int = 0
    samples: int = 0
    stop: int = 0


def frame_header(word: int) -> FrameHeader | None:
    """Parse the 32 bits of a frame header; None if they are none, or of the free format, whose length is unknown."""
    version, layer = word >> 19 & 3, 4 - (word >> 17 & 3)
    bitrate, rate = word >> 12 & 15, word >> 10 & 3
    if word >> 21 != 0x7FF or version == 1 or layer == 4 or bitrate in (0, 15) or rate == 3:
        return None
    hertz = _RATES[version][rate]
    bits = _BITRATES[1 if version == 3 else 2, layer][bitrate - 1] * 1000
    padding = word >> 9 & 1
    xing_at = 4 + ((17 if word >> 6 & 3 == 3 else 32) if version == 3 else (9 if word >> 6 & 3 == 3 else 17))
    if layer == 1:
        return FrameHeader((12 * bits // hertz + padding) * 4, 384, hertz, xing_at)
    samples = 576 if layer == 3 and version != 3 else 1152
    return FrameHeader(samples // 8 * bits // hertz + padding, samples, hertz, xing_at)


def tag_bytes(head: bytes) -> int:
    """Return the length of the tag that these bytes begin: ID3v1, ID3v2 (id3.org) or APEv2; 0 if they begin none."""
    if head[:3] == b"ID3" and len(head) >= 10:
        length = 0
        for byte in head[6:10]:
            length = length << 7 | byte & 0x7F
        return 10 + length + (10 if head[5] & 0x10 else 0)
    if head[:8] == b"APETAGEX" and len(head) == 32:
        # the length covers items and footer; the header stands before them
        return int.from_bytes(head[12:16], "little") + 32 if head[23] & 0x20 else 32
    return 128 if head[:3] == b"TAG" else 0


def examine_mpeg(file: BinaryIO, size: int) -> Promise | None:
    """Return what the frames say; None if the file holds no two MPEG frames in a row."""
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return _Walk(content, size).examined()


class _Walk:
    """Steps from frame to frame and notes parts, lost bytes and a last frame that is cut."""

    def __init__(self, content: mmap.mmap, size: int) -> None:
        self.content, self.size = content, size
        self.parts: list[Part] = []
        self.lost = 0
        self.cut = ""
        self.headers: dict[bytes, FrameHeader | None] = {}

    def examined(self) -> Promise | None:
        at = self._next_frame(self._after_tag(0))
        if at is None:
            return None
        self.parts.append(self._begun(at))
        place: int | None = at if not self.parts[0].promised else at + self._header(at).length
        while place is not None and place < self.size:
            place = self._step(place)
        return self._promise()

    def _header(self, at: int) -> FrameHeader:
        header = self._header_at(at)
        assert header is not None
        return header

    def _header_at(self, at: int) -> FrameHeader | None:
        word = self.content[at : at + 4]
        if word not in self.headers:
            self.headers[word] = frame_header(int.from_bytes(word, "big")) if len(word) == 4 else None
        return self.headers[word]

    def _step(self, at: int) -> int | None:
        """Count the frame at `at` and return the place of the following one; None at the end of the audio."""
        header = self._header_at(at)
        part = self.parts[-1]
        if header is None:
            return self._behind_other_bytes(at)
        if at + header.length > self.size:
            self.cut = f"its last frame lacks {at + header.length - self.size} of {header.length} bytes"
            return None
        if self._promised_at(at, header) or header.rate != part.rate:
            part = self._begun(at)
            self.parts.append(part)
            if part.promised:
                return at + header.length
        elif part.promised and part.frames > part.promised:
            part = Part(at, header.rate, 0)
            self.parts.append(part)
        part.frames += 1
        part.samples += header.samples
        part.stop = at + header.length
        return at + header.length

    def _begun(self, at: int) -> Part:
        header = self._header(at)
        return Part(at, header.rate, self._promised_at(at, header))

    def _promised_at(self, at: int, header: FrameHeader) -> int:
        """The number of frames in a Xing, Info or VBRI header inside this frame; 0 if it holds none."""
        content = self.content
        xing = at + header.xing_at
        if content[xing : xing + 4] in (b"Xing", b"Info"):
            # the flags' lowest bit says that the number is there; without it the header still is no audio
            number = int.from_bytes(content[xing + 8 : xing + 12], "big") if content[xing + 7] & 1 else 0
            return number if number < 1 << 31 else 0
        if content[at + 36 : at + 40] == b"VBRI":
            return int.from_bytes(content[at + 50 : at + 54], "big")
        return 0

    def _behind_other_bytes(self, at: int) -> int | None:
        """Step over tags; anything else before a further frame is counted as lost."""
        behind = self._after_tag(at)
        if behind > at:
            following = self._next_frame(behind)
            if following is not None:
                self.parts.append(self._begun(following))
                promised = self.parts[-1].promised
                return following + self._header(following).length if promised else following
            return None
        following = self._next_frame(at + 1)
        if following is None:
            return None
        self.lost += following - at
        return following

    def _after_tag(self, at: int) -> int:
        """The place behind all tags that stand here, or `at` where none does."""
        while length := tag_bytes(self.content[at : at + 32]):
            at += length
        return at

    def _next_frame(self, at: int) -> int | None:
        """The next place with a frame that another follows, or that ends the file."""
        while 0 <= (at := self.content.find(b"\xff", at)) < self.size - 3:
            header = self._header_at(at)
            if header is not None:
                end = at + header.length
                following = self._header_at(end) if end < self.size else None
                if end == self.size or (following is not None and following.rate == header.rate):
                    return at
            at += 1
        return None

    def _promise(self) -> Promise:
        parts = self.parts
        bounds = tuple((part.start, part.stop) for part in parts if part.frames)
        frames = parts[0].samples if len(parts) == 1 else None
        return Promise("MP3", self._fault(), bounds, libsndfile=len(bounds) == 1, frames=frames)

    def _fault(self) -> str | None:
        if self.cut:
            return self.cut
        if self.lost:
            return f"damaged ({self.lost} bytes between its frames are no MPEG audio)"
        for part in self.parts:
            # some encoders count the frame that holds the number
            if part.promised > part.frames + 1:
                missing = part.promised - part.frames
                return f"{missing} of the {part.promised} frames that its header promises are missing"
        return None
