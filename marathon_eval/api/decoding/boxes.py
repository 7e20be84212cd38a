"""Examines MP4, Matroska/WebM, ASF (WMA), AMR and ADTS (AAC): whether their last box or frame is there, and joined files.

Layouts: ISO/IEC 14496-12 (boxes), RFC 8794 (EBML), Microsoft's Advanced Systems Format 01.20.03, RFC 4867 (AMR),
ISO/IEC 13818-7 (ADTS).
"""

from __future__ import annotations

from typing import BinaryIO

from marathon_eval.api.decoding.mpeg import tag_bytes
from marathon_eval.api.decoding.promise import Promise

_EBML, _SEGMENT = 0x1A45DFA3, 0x18538067
_ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
_ASF_FILE = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")
#: Bytes of a frame with its header byte, by frame type; types without a number are not speech.
_AMR = {
    b"#!AMR\n": (13, 14, 16, 18, 20, 21, 27, 32, 6),
    b"#!AMR-WB\n": (18, 24, 33, 37, 41, 47, 51, 59, 61, 6),
}
_Parts = tuple[tuple[int, int], ...]


def examine_boxes(file: BinaryIO, size: int, head: bytes, start: int) -> Promise | None:
    """Return what the structure promises; None if the file is of no format that this module knows.

    `head` are the bytes from `start` on, behind a tag.
    """
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"styp"):
        return _mp4(file, size)
    if head[:4] == b"\x1a\x45\xdf\xa3":
        return _matroska(file, size)
    if head[:16] == _ASF_HEADER:
        return _asf(file, size)
    for magic in _AMR:
        if head.startswith(magic):
            return _amr(file, size, magic)
    if head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xF6 == 0xF0:
        return _adts(file, size, start)
    return None


def _bounds(starts: list[int], size: int) -> _Parts:
    return tuple(zip(starts, [*starts[1:], size], strict=False))


def _mp4(file: BinaryIO, size: int) -> Promise:
    at, starts, names = 0, [0], set()
    while at + 8 <= size:
        file.seek(at)
        header = file.read(16)
        length, name = int.from_bytes(header[:4], "big"), header[4:8]
        if length == 1:
            length = int.from_bytes(header[8:16], "big")
        elif length == 0:
            length = size - at
        if length < 8 or not name.isascii():
            break
        if name == b"ftyp" and at:
            starts.append(at)
        if at + length > size and name in (b"mdat", b"moov", b"moof"):
            missing = at + length - size
            return Promise(
                "MP4", f"{missing} bytes of its box '{name.decode()}' are missing", libsndfile=False
            )
        names.add(name)
        at += length
    fault = None if b"moov" in names else "its index (the box 'moov') is missing"
    return Promise("MP4", fault, _bounds(starts, size), libsndfile=False)


def _element(file: BinaryIO, at: int) -> tuple[int, int, int | None]:
    """Id, start of the body and length of an EBML element; length None: unknown, as live streams write it."""
    file.seek(at)
    head = file.read(12)
    if len(head) < 2 or not head[0]:
        return 0, at, 0
    id_bytes = 9 - head[0].bit_length()
    if id_bytes > 4 or len(head) <= id_bytes or not head[id_bytes]:
        return 0, at, 0
    size_bytes = 9 - head[id_bytes].bit_length()
    coded = int.from_bytes(head[id_bytes : id_bytes + size_bytes], "big")
    ones = (1 << 7 * size_bytes) - 1
    length = coded & ones
    name = int.from_bytes(head[:id_bytes], "big")
    return name, at + id_bytes + size_bytes, None if length == ones else length


def _matroska(file: BinaryIO, size: int) -> Promise:
    at, starts = 0, []
    while at < size:
        name, body, length = _element(file, at)
        if name == _EBML:
            starts.append(at)
        elif name != _SEGMENT:
            break
        if length is None:
            break
        if body + length > size:
            missing = body + length - size
            return Promise("MATROSKA", f"{missing} of its {length} bytes are missing", libsndfile=False)
        at = body + length
    return Promise("MATROSKA", None, _bounds(starts or [0], size), libsndfile=False)


def _asf(file: BinaryIO, size: int) -> Promise:
    starts, at = [0], 0
    while True:
        file.seek(at)
        head = file.read(1 << 16)
        place = head.find(_ASF_FILE)
        promised = int.from_bytes(head[place + 40 : place + 48], "little") if place >= 0 else 0
        if promised and at + promised > size:
            missing = at + promised - size
            return Promise("ASF", f"{missing} of its {promised} bytes are missing", libsndfile=False)
        file.seek(at + promised)
        if not promised or file.read(16) != _ASF_HEADER:
            return Promise("ASF", None, _bounds(starts, size), libsndfile=False)
        at += promised
        starts.append(at)


def _amr(file: BinaryIO, size: int, magic: bytes) -> Promise:
    file.seek(0)
    content = file.read()
    starts, at, lengths = [0], len(magic), _AMR[magic]
    while at < size:
        if content.startswith(magic, at):
            starts.append(at)
            at += len(magic)
            continue
        kind = content[at] >> 3 & 15
        at += lengths[kind] if kind < len(lengths) else 1
    fault = f"its last frame lacks {at - size} bytes" if at > size else None
    return Promise("AMR", fault, _bounds(starts, size), libsndfile=False)


def _adts(file: BinaryIO, size: int, at: int) -> Promise:
    """AAC in ADTS frames; joined files need no parts, because every frame stands for itself."""
    while at + 7 <= size:
        file.seek(at)
        head = file.read(7)
        if at and tag_bytes(head.ljust(10)) == 128:
            at = size
            break
        if head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
            break
        length = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        if length < 7:
            break
        if at + length > size:
            missing = at + length - size
            return Promise("ADTS", f"its last frame lacks {missing} of {length} bytes", libsndfile=False)
        at += length
    fault = f"its last frame lacks its header ({size - at} bytes are left)" if 0 < size - at < 7 else None
    return Promise("ADTS", fault, libsndfile=False)
