"""Tells whether a file is the one that was hashed before, without reading all of it.

Size and modification time alone do not: reproducible archives give every file the same time. The time of the last
inode change (ctime) cannot be set by programs, so an equal ctime and inode prove on common file systems that nothing
was written since. Images such as squashfs have made-up values for both; there a few blocks of content are compared.
"""

from __future__ import annotations

import hashlib
import os
from typing import NamedTuple

BLOCK_BYTES = 4096
#: Blocks spread evenly from the file's beginning to its end.
BLOCKS = 4
#: The identities that were read, as text, by path; as tuples they would take twice the memory.
_KNOWN: dict[str, str] = {}
_MOST_KNOWN = 1 << 17


class FileIdentity(NamedTuple):
    """Holds a file's size in bytes, its times in nanoseconds, its inode, and the hash of `BLOCKS` of its blocks."""

    size: int
    mtime_ns: int
    inode: int
    ctime_ns: int
    blocks: str

    @property
    def by_time(self) -> str:
        """Return size and modification time, by which earlier versions identified a file."""
        return f"{self.size}|{self.mtime_ns}"

    @property
    def text(self) -> str:
        """Return all parts as a key of the cache holds them; `|` separates only size from the rest, as in `by_time`."""
        return f"{self.size}|{self.mtime_ns}.{self.inode}.{self.ctime_ns}.{self.blocks}"

    @property
    def unchanged_since_written(self) -> bool:
        """Return whether the inode last changed when the content was last written.

        If so, whatever was known of a file with this size and modification time is known of this content: to give
        another file the same modification time afterwards would have changed the inode later.
        """
        return self.ctime_ns == self.mtime_ns


def file_identity(path: str) -> FileIdentity:
    """Return the identity of a file; its blocks are read once per process and state of the file. Raises OSError."""
    found = os.stat(path)
    state = (found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)
    known = _KNOWN.get(path)
    if known is not None and known.startswith(begins := FileIdentity(*state, "").text):
        return FileIdentity(*state, known.removeprefix(begins))
    identity = FileIdentity(*state, _blocks(path, found.st_size))
    if len(_KNOWN) >= _MOST_KNOWN:
        _KNOWN.clear()
    _KNOWN[path] = identity.text
    return identity


def _blocks(path: str, size: int) -> str:
    """Return the hash of a few blocks (16 hex digits)."""
    digest = hashlib.sha256()
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # decoding the file reports why
        return "unreadable"
    try:
        for number in range(BLOCKS):
            digest.update(os.pread(file, BLOCK_BYTES, max(0, size - BLOCK_BYTES) * number // (BLOCKS - 1)))
    except OSError:
        return "unreadable"
    finally:
        os.close(file)
    return digest.hexdigest()[:16]
