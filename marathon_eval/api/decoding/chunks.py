"""Examines WAV, RF64, W64, AIFF, AU and CAF: whether the audio that the header names is in the file.

Chunk layouts: RIFF/WAVE (Microsoft and IBM, Multimedia Programming Interface 1.0), RF64 (EBU Tech 3306), Sony Wave64,
AIFF-C (Apple 1991), AU (Sun), CAF (Apple Core Audio Format 1.0).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

from marathon_eval.api.decoding.promise import UNKNOWN_LENGTHS, Promise

#: Bytes behind the audio that belong to no chunk and are still no second recording: tags, padding.
STRAY_BYTES = 4096
_W64_TAIL = b"\xf3\xac\xd3\x11\x8c\xd1\x00\xc0\x4f\x8e\xdb\x8a"
_FILES = (b"RIFF", b"RIFX", b"RF64", b"riff", b"FORM", b"caff")
_MAX_CHUNKS = 10_000


class Chunk(NamedTuple):
    """Describes a named range of the file; `length` None: up to the end of the file."""

    name: bytes
    at: int
    length: int | None


def examine_chunks(file: BinaryIO, size: int, head: bytes) -> Promise | None:
    """Return what the chunks promise; None if the file is of no format that this module knows."""
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        missing = 8 + int.from_bytes(head[4:8], "little") - size
        return Promise(
            "AVI", f"{missing} of its bytes are missing" if missing > 0 else None, libsndfile=False
        )
    form = _format(head)
    if form is None:
        return None
    if form == "AU":
        return _examined(form, file, size, _au_audio(head))
    for chunk in _chunks(form, file, size):
        if chunk.name in (b"data", b"SSND"):
            return _examined(form, file, size, chunk)
    return Promise(form)


def _format(head: bytes) -> str | None:
    if head[:4] in (b"RIFF", b"RIFX", b"RF64", b"BW64") and head[8:12] == b"WAVE":
        return "WAV"
    if head[:4] == b"riff" and head[4:16] == b"\x2e\x91\xcf\x11\xa5\xd6\x28\xdb\x04\xc1\x00\x00":
        return "W64"
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head[:4] in (b".snd", b"dns."):
        return "AU"
    return "CAF" if head[:4] == b"caff" else None


def _au_audio(head: bytes) -> Chunk | None:
    if len(head) < 12:
        return None
    at, length = struct.unpack(">II" if head[:4] == b".snd" else "<II", head[4:12])
    return Chunk(b"data", at, None if length in UNKNOWN_LENGTHS else length)


def _chunks(form: str, file: BinaryIO, size: int) -> Iterator[Chunk]:
    """Yield the chunks in order; stops at the first that the file does not hold in full."""
    file.seek(0)
    start = file.read(4)
    order = ">" if start in (b"RIFX", b"FORM") else "<"
    at = {"W64": 40, "CAF": 8}.get(form, 12)
    long_data: int | None = None  # RF64 writes the length of `data` into an earlier chunk
    for _ in range(_MAX_CHUNKS):
        if at + 8 > size:  # before seeking: a length of 64 bits leads further than a file can be
            return
        file.seek(at)
        header = file.read(24)
        name, body, length, following = _parsed(form, order, header, at)
        if name == b"ds64":
            file.seek(body)
            sizes = file.read(16)
            long_data = struct.unpack("<8xQ", sizes)[0] if len(sizes) == 16 else None
        if name == b"data" and length in UNKNOWN_LENGTHS:
            yield Chunk(name, body, long_data)
            return
        yield Chunk(name, body, length if length >= 0 else None)
        if length < 0 or following <= at:
            return
        at = following


def _parsed(form: str, order: str, header: bytes, at: int) -> tuple[bytes, int, int, int]:
    """Name, start of the body, length of the body, and the place of the following chunk."""
    header = header.ljust(24, b"\0")
    if form == "W64":
        length = int(struct.unpack("<Q", header[16:24])[0]) - 24
        name = header[:4] if header[4:16] == _W64_TAIL else b""
        return name, at + 24, length, at + 24 + (length + 7) // 8 * 8
    if form == "CAF":
        length = int(struct.unpack(">q", header[4:12])[0])
        return header[:4], at + 12, length, at + 12 + length
    length = int(struct.unpack(f"{order}I", header[4:8])[0])
    return header[:4], at + 8, length, at + 8 + length + length % 2


def _examined(form: str, file: BinaryIO, size: int, audio: Chunk | None) -> Promise:
    if audio is None or audio.length is None:
        return Promise(form)
    missing = audio.at + audio.length - size
    if missing > 0:
        return Promise(form, f"{missing} of its {audio.length} bytes of audio are missing")
    stray = _stray_bytes(form, file, size, audio)
    return Promise(form, stray)


def _stray_bytes(form: str, file: BinaryIO, size: int, audio: Chunk) -> str | None:
    """Say so if more follows the audio than chunks with names and a little padding: a second file, or unnamed audio."""
    assert audio.length is not None
    at = audio.at + audio.length
    at += {"W64": -at % 8, "CAF": 0, "AU": 0}.get(form, at % 2)
    while at + 24 <= size and size - at > STRAY_BYTES:
        file.seek(at)
        header = file.read(24)
        following = _behind_chunk(form, header, at)
        if at < following <= size + 7:
            at = following
            continue
        return None if _zeros(file, at) else f"{size - at} bytes follow the audio that its header names"
    return None


def _behind_chunk(form: str, header: bytes, at: int) -> int:
    """The place behind a chunk that begins here; 0 if these bytes are the beginning of another file, or no chunk."""
    name = header[:4]
    if form == "AU" or name in _FILES or not name.isascii() or not name.decode().isprintable():
        return 0
    return _parsed(form, ">" if form == "AIFF" else "<", header, at)[3]


def _zeros(file: BinaryIO, at: int) -> bool:
    """Whether the file holds only zero bytes from here: padding to a block of a tape or a disk."""
    file.seek(at)
    while block := file.read(1 << 16):
        if block.strip(b"\0"):
            return False
    return True
