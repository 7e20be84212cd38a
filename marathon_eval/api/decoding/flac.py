"""Examines FLAC (RFC 9639): whether the last frame ends where the header says that the audio ends."""

from __future__ import annotations

import mmap
from typing import BinaryIO, NamedTuple

from marathon_eval.api.decoding.promise import Promise

_TAIL_BYTES = 1 << 20
_PROBES, _PROBE_BYTES = 16, 1 << 17
_BLOCK_SIZES = {
    1: 192,
    2: 576,
    3: 1152,
    4: 2304,
    5: 4608,
    **{code: 256 << (code - 8) for code in range(8, 16)},
}
_RATE_BYTES = {12: 1, 13: 2, 14: 2}


class StreamInfo(NamedTuple):
    """Holds the numbers of the first metadata block: smallest block in frames, and frames in all (0: unknown)."""

    smallest_block: int
    frames: int


def examine_flac(file: BinaryIO, size: int, start: int) -> Promise:
    """Hold the header's number of frames against the last frame's own number. `start` is the place of `fLaC`."""
    file.seek(start)
    info = _stream_info(file.read(42))
    if info is None or not info.frames:
        return Promise("FLAC", libsndfile=False)
    ends = _frame_ends(file, size, info)
    whole = info.frames in ends
    if whole and _in_order(file, size, info):
        return Promise("FLAC", frames=info.frames)
    parts = _parts(file, size)
    if len(parts) > 1:
        return Promise("FLAC", None, parts, libsndfile=False)
    if not whole and ends and ends[0] < info.frames:
        missing = info.frames - ends[0]
        return Promise("FLAC", f"ends {missing} frames before its header says", frames=info.frames)
    return Promise("FLAC", libsndfile=whole, frames=info.frames if whole else None)


def _stream_info(head: bytes) -> StreamInfo | None:
    if len(head) < 42 or head[:4] != b"fLaC" or head[4] & 0x7F:
        return None
    return StreamInfo(int.from_bytes(head[8:10], "big"), int.from_bytes(head[18:26], "big") & (1 << 36) - 1)


def _frame_ends(file: BinaryIO, size: int, info: StreamInfo) -> list[int]:
    """Numbers of the frame behind each block whose header stands in the file's tail, the last block first."""
    file.seek(max(0, size - _TAIL_BYTES))
    tail = file.read()
    ends: list[int] = []
    at = len(tail)
    while (at := tail.rfind(b"\xff", 0, at)) >= 0 and len(ends) < 8:
        if at + 1 < len(tail) and tail[at + 1] & 0xFE == 0xF8:
            end = _end_of_frame(tail[at : at + 17], info)
            if end is not None:
                ends.append(end)
    return ends


def _in_order(file: BinaryIO, size: int, info: StreamInfo) -> bool:
    """Whether frame numbers rise from probe to probe; in two joined files they begin again."""
    before = 0
    for probe in range(1, _PROBES):
        file.seek(size * probe // _PROBES)
        content = file.read(min(_PROBE_BYTES, size // _PROBES))
        at, end = -1, None
        while end is None and (at := content.find(b"\xff", at + 1)) >= 0:
            if content[at + 1 : at + 2] in (b"\xf8", b"\xf9"):
                end = _end_of_frame(content[at : at + 17], info)
        if end is not None and end < before:
            return False
        before = before if end is None else end
    return True


def _end_of_frame(header: bytes, info: StreamInfo) -> int | None:
    """Frame number behind a block, from its header; None if these bytes are no header (its CRC-8 differs)."""
    if len(header) < 6 or header[2] >> 4 == 0 or header[3] >> 4 > 10:
        return None
    coded = _coded_number(header[4:])
    if coded is None:
        return None
    number, at = coded[0], 4 + coded[1]
    code = header[2] >> 4
    extra = {6: 1, 7: 2}.get(code, 0)
    block = int.from_bytes(header[at : at + extra], "big") + 1 if extra else _BLOCK_SIZES.get(code, 0)
    at += extra + _RATE_BYTES.get(header[2] & 15, 0)
    if at >= len(header) or _crc8(header[:at]) != header[at]:
        return None
    return (number if header[1] & 1 else number * info.smallest_block) + block


def _coded_number(coded: bytes) -> tuple[int, int] | None:
    """A frame's or sample's number and its length in bytes, coded as UTF-8 codes characters, up to 7 bytes."""
    first = coded[0]
    ones = 8 - (first ^ 0xFF).bit_length()
    if ones == 0:
        return first, 1
    if ones in (1, 8) or len(coded) < ones or any(byte & 0xC0 != 0x80 for byte in coded[1:ones]):
        return None
    number = first & (0x7F >> ones)
    for byte in coded[1:ones]:
        number = number << 6 | byte & 0x3F
    return number, ones


def _crc8(content: bytes) -> int:
    """CRC with the polynomial x^8 + x^2 + x + 1 of FLAC's frame headers."""
    crc = 0
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = (crc << 1 ^ 0x07 if crc & 0x80 else crc << 1) & 0xFF
    return crc


def _parts(file: BinaryIO, size: int) -> tuple[tuple[int, int], ...]:
    """Byte ranges of the FLAC files in this one: each begins with `fLaC` and a STREAMINFO block of 34 bytes."""
    starts: list[int] = []
    with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        at = -1
        while (at := content.find(b"fLaC", at + 1)) >= 0:
            if content[at + 4 : at + 8] in (b"\x00\x00\x00\x22", b"\x80\x00\x00\x22"):
                starts.append(at)
    return tuple(zip(starts, [*starts[1:], size], strict=False))
