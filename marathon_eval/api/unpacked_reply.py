"""Unpacks the compressed body of a server's reply in small parts, so that whoever reads it can stop at a limit."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from typing import Any

#: Encodings that are unpacked here, as a request says.
REPLY_ENCODINGS = "gzip, deflate"


def reply_unpacker(encoding: str) -> Any:
    """Return a decompressor, or None for a plain reply. Raises ValueError for an encoding that was not asked for."""
    if encoding in ("identity", ""):
        return None
    if encoding not in REPLY_ENCODINGS.split(", "):
        raise ValueError(f"the server's reply is encoded as {encoding[:40]!r}; allowed: {REPLY_ENCODINGS}")
    return zlib.decompressobj(zlib.MAX_WBITS | 32)  # reads the headers of both


def unpacked_parts(unpacker: Any, chunk: bytes) -> Iterator[bytes]:
    """Yield a chunk unpacked, in parts of at most 1 MB. Raises ValueError for damaged data."""
    if unpacker is None:
        yield chunk
        return
    try:
        while chunk and not unpacker.eof:
            yield unpacker.decompress(chunk, 1 << 20)
            chunk = unpacker.unconsumed_tail
    except zlib.error as error:
        raise ValueError(f"the server's reply cannot be unpacked ({error})") from None
